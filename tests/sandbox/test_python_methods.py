"""Own methods in the place of the library's."""

from __future__ import annotations

import datetime
import re
from collections import Counter

import pytest

from sandbox import python_methods


@pytest.mark.parametrize("target", [5, "x", Counter, Counter(), datetime.datetime, datetime.timedelta(1)])
def test_only_what_is_listed_is_ours(target: object) -> None:
    """Everything else is the library's, after the guards."""
    assert python_methods.own(target, "nosuch") is None


def test_ours_is_bound_to_its_value() -> None:
    """As a method is."""
    assert python_methods.own(Counter("aab"), "most_common")(1) == [("a", 2)]
    assert python_methods.own(datetime.date(2024, 1, 1), "isocalendar")() == (2024, 1, 1)
    assert python_methods.own(re.match("(a)", "a"), "expand")(r"\1\1") == "aa"
    assert python_methods.own(datetime.datetime, "strptime")("2024", "%Y") == datetime.datetime(2024, 1, 1)


def test_a_type_does_not_give_the_methods_of_its_values() -> None:
    """Unbound, they would take any value."""
    assert python_methods.own(Counter, "most_common") is None
    assert python_methods.own(datetime.datetime, "strftime") is None
