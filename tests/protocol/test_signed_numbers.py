"""Numbers with a fraction in signed statements: one way to write each, and nothing else that reads as one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ArgumentError
from protocol.signed_numbers import from_signed, to_signed
from protocol.signing import canonical_json

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.dictionaries(st.text(st.characters(codec="utf-8")), SCALARS | FLOATS | st.lists(SCALARS | FLOATS))


@given(VALUES)
def test_what_is_signed_reads_back(values: dict[str, Any]) -> None:
    """The sign of zero too: what the host compares is what was meant."""
    read = from_signed(json.loads(canonical_json(to_signed(values))))
    assert read == values
    assert repr(sorted(read.items())) == repr(sorted(values.items()))


def test_what_has_no_fraction_to_lose_stands_as_it_is() -> None:
    assert to_signed({"n": 1, "on": True, "to": ["a", 2]}) == {"n": 1, "on": True, "to": ["a", 2]}
    assert to_signed({"n": 0.5, "of": [1.0]}) == {"n": {"$number": "0.5"}, "of": [{"$number": "1.0"}]}


@pytest.mark.parametrize(
    "value",
    [
        {}, {"$number": 0.5}, {"$number": "0.50"}, {"$number": ".5"}, {"$number": "5e-1"}, {"$number": " 0.5"},
        {"$number": "1"},
        {"$number": "nan"}, {"$number": "inf"}, {"$number": "1e999"}, {"$number": "0.5", "more": 1}, {"number": "0.5"},
        {"$number": "0." + "5" * 40}, {"$number": {"$number": "0.5"}}, {"$number": ["0.5"]}, {"$number": "1_0.5"},
    ],
)  # fmt: skip
def test_nothing_else_is_a_number(value: dict[str, Any]) -> None:
    """Two texts for one number would be two statements that say the same; a map is no parameter."""
    for values in ({"n": value}, {"n": [1, value]}):
        with pytest.raises(ArgumentError) as caught:
            from_signed(values)
        assert caught.value.parameter == "n"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_does_not_read_back(value: float) -> None:
    with pytest.raises(ArgumentError):
        from_signed(to_signed({"n": value}))
