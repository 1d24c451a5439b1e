"""Classes that Python warns of are found, and nearly none besides."""

from __future__ import annotations

import contextlib
import re
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.character_classes import class_problem


@settings(max_examples=500)
@given(st.text("a[]^\\-&~|(", max_size=14))
@example("[")
@example("[[")
@example("[]--a]")
@example("\\")
def test_what_is_not_found_makes_nothing_warn(pattern: str) -> None:
    """Also what is no pattern at all: the warning comes before the error."""
    re.purge()  # a pattern that is known already warns of nothing
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with contextlib.suppress(re.error):
            re.compile(pattern)
    assert class_problem(pattern) is not None or told == []


@pytest.mark.parametrize("pattern", ["a||b", "--", r"[\[\-]", "[a-z&]", "[^[]", r"[\]]||"])
def test_what_is_clear_is_not_found(pattern: str) -> None:
    assert class_problem(pattern) is None


def test_the_class_is_told() -> None:
    assert (class_problem("x[a--b]y") or "").startswith("'[a--b' holds [[ -- && ~~ or ||")
