"""Plain values of calls in JSON: bytes stand as ``{"$bytes": "<base64>"}``, both ways."""

from __future__ import annotations

import base64
from typing import Any, Final

from protocol.errors import ArgumentError

KEY: Final = "$bytes"
_MAX_DEPTH: Final = 16  # protocol.limits.MAX_DEPTH, which is checked again where the value is encoded


def to_json(value: Any) -> Any:
    """Return a plain value as JSON can hold it."""
    if isinstance(value, bytes):
        return {KEY: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any, where: str, depth: int = 0) -> Any:
    """Return the plain value that a JSON value stands for.

    Args:
        value: As it was parsed.
        where: Names it in errors.
        depth: Of nesting so far.

    Raises:
        ArgumentError: Too deep, or bytes that are no base64.
    """
    if depth > _MAX_DEPTH:
        raise ArgumentError(f"is nested deeper than {_MAX_DEPTH} levels", parameter=where, where=where)
    if isinstance(value, dict):
        if set(value) == {KEY}:
            return _bytes(value[KEY], where)
        return {name: from_json(item, f"{where}.{name:.40}", depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [from_json(item, where, depth + 1) for item in value]
    return value


def _bytes(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ArgumentError(f"{KEY} must be base64", parameter=where, where=where) from None
