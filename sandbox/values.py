"""The plain values that may cross between a script and the outside, and how much of them.

A value is checked by its exact type, so that no method of a script's own class ever runs while it is copied. Depth,
number of items and bytes are counted on the way, never afterwards: a value that is too much is refused before it is
built. Everything refused raises ``ValueRefused`` with a text that names what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

ARGUMENT = "an argument"  # what refusals call one whose parameter is not known
INT_MIN, INT_MAX = -(2**63), 2**63 - 1  # what Lua and MessagePack both hold without loss


class ValueRefused(Exception):
    """A value may not cross.

    Args:
        message: Names what it was.
        parameter: The one that it was given for; None where it is for none, or it is not known which.
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of a value may cross at once. Chosen without measurement, below the channel's frame of 1 MiB."""

    depth: int  # nesting of lists and dicts; frames allow 16 with the frame's own
    items: int  # elements of all lists and dicts together; MessagePack needs at most 9 bytes for each
    size_bytes: int  # of all strings together

    def budget(self, what: str) -> Budget:
        """Return a fresh count against these caps; ``what`` names the value in refusals."""
        return Budget(self, what)


CALL_CAPS = Caps(depth=12, items=25_000, size_bytes=768 * 1024)
RESULT_CAPS = Caps(depth=12, items=25_000, size_bytes=768 * 1024)
LOCAL_CAPS = Caps(depth=64, items=500_000, size_bytes=8 * 1024 * 1024)  # json and the like: never leaves the worker


class Budget:
    """Counts one value while it is copied."""

    __slots__ = ("_caps", "_items", "_size_bytes", "_what")

    def __init__(self, caps: Caps, what: str) -> None:
        self._caps = caps
        self._what = what
        self._items = 0
        self._size_bytes = 0

    def enter(self, depth: int, items: int = 0) -> None:
        """Count one list or dict at ``depth`` (1 is the outermost) with ``items`` elements."""
        if depth > self._caps.depth:
            raise ValueRefused(f"{self._what} is nested more than {self._caps.depth} deep")
        self.count(items)

    def count(self, items: int) -> None:
        """Count elements."""
        self._items += items
        if self._items > self._caps.items:
            raise ValueRefused(f"{self._what} has more than {self._caps.items} elements")

    def string(self, size_bytes: int) -> None:
        """Count one string."""
        self._size_bytes += size_bytes
        if self._size_bytes > self._caps.size_bytes:
            raise ValueRefused(f"{self._what} is larger than {self._caps.size_bytes} bytes")

    def integer(self, value: int) -> int:
        """Return ``value`` if it has at most 64 bits."""
        if INT_MIN <= value <= INT_MAX:
            return value
        raise ValueRefused(f"{self._what} holds an integer of more than 64 bits")

    def number(self, value: float) -> float:
        """Return ``value`` if it is finite."""
        if math.isfinite(value):
            return value
        raise ValueRefused(f"{self._what} holds a number that is not finite")

    def other(self, kind: str) -> ValueRefused:
        """Return the refusal of a value of type ``kind``."""
        return ValueRefused(f"{self._what} holds a {kind}; only plain values can cross")


def in_the_name_of(
    refused: ValueRefused, each: Iterable[tuple[str | None, Callable[[Budget], Any]]], caps: Caps
) -> ValueRefused:
    """Return the refusal of the first of several arguments that is refused by itself, in its own name.

    Args:
        refused: The refusal of all of them together; returned if none is too much by itself.
        each: The parameter that each is for, None where that is not known, and what copies it.
        caps: Of each.
    """
    for parameter, copy in each:
        try:
            copy(caps.budget(parameter or ARGUMENT))
        except ValueRefused as error:
            return ValueRefused(str(error), parameter)
    return refused


def _as_it_is(value: Any) -> Any:
    return value


def to_plain(value: Any, budget: Budget, depth: int = 0, simpler: Callable[[Any], Any] = _as_it_is) -> Any:
    """Return a fresh copy of the Python value ``value``, made of plain types only; tuples become lists.

    Args:
        value: What is copied.
        budget: Counts it.
        depth: How deep it lies in what is copied.
        simpler: Makes an exact list, tuple or dict of a value of another type that is one in all but its type; returns
            the value itself if it is none.

    Raises:
        ValueRefused: Not plain, or over a cap.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return budget.integer(value)
    if kind is float:
        return budget.number(value)
    if kind is str:
        return _text(value, budget)
    if kind is bytes:
        budget.string(len(value))
        return value
    if kind is list or kind is tuple:
        budget.enter(depth + 1, len(value))
        return [to_plain(item, budget, depth + 1, simpler) for item in value]
    if kind is dict:
        budget.enter(depth + 1, len(value))
        return {_key(key, budget): to_plain(item, budget, depth + 1, simpler) for key, item in value.items()}
    simple = simpler(value)
    if type(simple) in (list, tuple, dict):
        return to_plain(simple, budget, depth, simpler)
    raise budget.other(kind.__name__)


def arguments(
    parameters: Sequence[str],
    args: Sequence[Any],
    named: Mapping[str, Any],
    caps: Caps,
    simpler: Callable[[Any], Any] = _as_it_is,
) -> tuple[list[Any], dict[str, Any]]:
    """Return fresh copies of the arguments of one call, as of :func:`to_plain`.

    Args:
        parameters: Their names, in positional order, as far as they are known.
        args: Given by place.
        named: Given by name.
        caps: Of all of them together.
        simpler: See :func:`to_plain`.

    Raises:
        ValueRefused: Names the parameter of the one that is refused by itself.
    """
    budget = caps.budget(ARGUMENT)
    try:
        return to_plain(args, budget, simpler=simpler), to_plain(named, budget, simpler=simpler)
    except ValueRefused as refused:
        each = [*zip_longest(parameters[: len(args)], args), *named.items()]
        copies = [(parameter, partial(_copied, value, simpler)) for parameter, value in each]
        raise in_the_name_of(refused, copies, caps) from None


def _copied(value: Any, simpler: Callable[[Any], Any], budget: Budget) -> Any:
    return to_plain(value, budget, simpler=simpler)


def _key(key: Any, budget: Budget) -> str:
    if type(key) is not str:
        raise budget.other(f"key of type {type(key).__name__}")
    return _text(key, budget)


def _text(value: str, budget: Budget) -> str:
    budget.string(len(value))  # characters first: encoding a huge string only to refuse it would double it
    try:
        budget.string(len(value.encode("utf-8")) - len(value))
    except UnicodeEncodeError:
        raise budget.other("string that is not valid Unicode") from None
    return value
