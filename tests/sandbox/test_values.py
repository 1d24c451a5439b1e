"""Which values cross, and how much of them."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.values import Caps, ValueRefused, to_plain

CAPS = Caps(depth=3, items=5, size_bytes=10)


def plain(value: Any) -> Any:
    return to_plain(value, CAPS.budget("it"))


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**63 - 1, 1.5, "é", b"\xff", [], {}, [[[]]], {"a": {"b": 1}}]
)
def test_plain_values_are_copied(value: Any) -> None:
    """A fresh copy: nobody changes it afterwards."""
    copy = plain(value)
    assert copy == value
    assert type(copy) is type(value)
    assert copy is not value or not isinstance(value, list | dict)


def test_tuples_become_lists() -> None:
    """Python scripts return them often; the wire has one sequence."""
    assert plain((1, (2,))) == [1, [2]]


@pytest.mark.parametrize(
    "value",
    [
        *(Text("x"), Number(1), {1}, object(), print, 1j, 2**63, float("inf"), float("nan"), "\ud800", {1: 2}),
        *({Text("x"): 1}, [[[[]]]], [1] * 6, {"a": 1, "b": [1, 2, 3, 4]}, "x" * 11, "é" * 6, ["xxxx", b"xxxxxxx"]),
        {"x" * 11: 1},
    ],
)
def test_everything_else_is_refused(value: Any) -> None:
    """By exact type, depth, number of items and bytes."""
    with pytest.raises(ValueRefused, match=r"^it "):
        plain(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """Depth ends it."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueRefused, match="nested more than 3 deep"):
        plain(loop)
