"""Strict shapes: what a peer sends is named, typed and bounded before anybody uses it."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import shapes
from protocol.errors import ArgumentError

DIGEST = "sha256:" + "0" * 64

GOOD: list[tuple[shapes.Check, Any, Any]] = [
    (shapes.text(3), "", ""),
    (shapes.text(3, min_chars=1), "äöü", "äöü"),
    (shapes.integer(0, 5), 5, 5),
    (shapes.number(0, 5), 5, 5.0),
    (shapes.number(0, 5), 0.5, 0.5),
    (shapes.boolean, False, False),
    (shapes.octets(1, 2), b"ab", b"ab"),
    (shapes.mapping, {"a": 1}, {"a": 1}),
    (shapes.listing(shapes.integer(0, 5), 2), [1, 2], (1, 2)),
    (shapes.choice("skip", "queue"), "skip", "skip"),
    (shapes.nullable(shapes.boolean), None, None),
    (shapes.nullable(shapes.boolean), True, True),
    (shapes.digest, DIGEST, DIGEST),
    (shapes.identity, "web-1.example:22", "web-1.example:22"),
]

BAD: list[tuple[shapes.Check, Any]] = [
    (shapes.text(3), "abcd"),
    (shapes.text(3), None),
    (shapes.text(3), b"a"),
    (shapes.text(3), "\ud800"),
    (shapes.text(3, min_chars=1), ""),
    (shapes.integer(0, 5), 6),
    (shapes.integer(0, 5), -1),
    (shapes.integer(0, 5), True),
    (shapes.integer(0, 5), 1.0),
    (shapes.integer(0, 5), "1"),
    (shapes.number(0, 5), 5.1),
    (shapes.number(0, 5), True),
    (shapes.number(0, 5), math.nan),
    (shapes.number(0, 5), math.inf),
    (shapes.number(0, 5), -math.inf),
    (shapes.number(0, 5), 10**400),  # JSON has such numbers, and no float holds them
    (shapes.number(0, 5), "1"),
    (shapes.boolean, 1),
    (shapes.boolean, None),
    (shapes.octets(1, 2), b""),
    (shapes.octets(1, 2), b"abc"),
    (shapes.octets(1, 2), "ab"),
    (shapes.mapping, {1: 2}),
    (shapes.mapping, [("a", 1)]),
    (shapes.listing(shapes.boolean, 1), [True, False]),
    (shapes.listing(shapes.boolean, 1), [1]),
    (shapes.listing(shapes.boolean, 1), (True,)),
    (shapes.choice("skip"), "Skip"),
    (shapes.choice("skip"), ["skip"]),
    (shapes.nullable(shapes.boolean), 0),
    (shapes.digest, DIGEST.upper()),
    (shapes.digest, DIGEST + "\n"),
    (shapes.digest, DIGEST[:-1]),
    (shapes.identity, ""),
    (shapes.identity, "-a"),
    (shapes.identity, ".."),
    (shapes.identity, "a/b"),
    (shapes.identity, "a\n"),
    (shapes.identity, "ä"),
    (shapes.identity, "a" * 129),
    (shapes.identity, 7),
]


@pytest.mark.parametrize(("check", "value", "result"), GOOD)
def test_what_fits_is_returned(check: shapes.Check, value: Any, result: Any) -> None:
    found = shapes.read_fields({"x": value}, "thing", {"x": check})["x"]
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(("check", "value"), BAD)
def test_what_does_not_fit_names_the_field(check: shapes.Check, value: Any) -> None:
    """An operator must be told which field of which request it was."""
    with pytest.raises(ArgumentError, match=r"^thing: x must ") as caught:
        shapes.read_fields({"x": value}, "thing", {"x": check})
    assert caught.value.parameter == "x"


def test_missing_unknown_and_optional_fields() -> None:
    required, optional = {"a": shapes.boolean}, {"b": shapes.boolean}
    assert shapes.read_fields({"a": True}, "thing", required, optional) == {"a": True}
    with pytest.raises(ArgumentError, match="the field 'a' is missing"):
        shapes.read_fields({"b": True}, "thing", required, optional)
    with pytest.raises(ArgumentError, match=r"unknown field 'c' \(known: a, b\)"):
        shapes.read_fields({"a": True, "c": 1}, "thing", required, optional)
    with pytest.raises(ArgumentError, match="must be a map of fields"):
        shapes.read_fields([("a", True)], "thing", required)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(anything, st.sampled_from([check for check, _ in BAD]))
def test_hostile_values_raise_only_the_documented_error(value: Any, check: shapes.Check) -> None:
    with contextlib.suppress(ArgumentError):
        shapes.read_fields({"x": value}, "thing", {"x": check})
