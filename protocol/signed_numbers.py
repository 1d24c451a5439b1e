"""Numbers with a fraction in what is signed: canonical JSON holds none, so they stand there as text.

``0.5`` is ``{"$number": "0.5"}``, the shortest text that reads as this number again; there is no other way to write it.
It is looked for only where a parameter, an item of one, or a field of a schedule stands, none of which is ever a map
by itself, so nothing else can be taken for it. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from protocol.errors import ArgumentError

_TAG: Final = "$number"
_MAX_CHARACTERS: Final = 32  # of the longest float there is, and some


def to_signed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values, or lists of values, by name, with each float as a signed statement has it."""
    return {name: _each(value, _tagged) for name, value in values.items()}


def from_signed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`to_signed` was given.

    Raises:
        ArgumentError: A map that is not exactly one number so written.
    """
    return {name: _each(value, partial(_number, name)) for name, value in values.items()}


def _each(value: Any, made: Callable[[Any], Any]) -> Any:
    return [made(item) for item in value] if isinstance(value, list) else made(value)


def _tagged(value: Any) -> Any:
    return {_TAG: repr(value)} if isinstance(value, float) else value


def _number(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    text = value.get(_TAG)
    if len(value) == 1 and isinstance(text, str) and len(text) <= _MAX_CHARACTERS:
        try:
            number = float(text)
        except ValueError:
            pass
        else:
            if math.isfinite(number) and repr(number) == text:
                return number
    raise ArgumentError("is a map, and not a number as signed statements have it", parameter=name)
