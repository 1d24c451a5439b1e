"""Strict shapes of plain values that came over a wire: every field named, typed and bounded, no other field allowed.

A check takes a value and returns it, or raises ``ValueError`` with the half sentence that follows the field's name.
Booleans are never numbers here, and a number is finite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from protocol.errors import ArgumentError

Check = Callable[[Any], Any]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,127}")
_NONE: Mapping[str, Check] = {}


def read_fields(
    body: object, what: str, required: Mapping[str, Check], optional: Mapping[str, Check] = _NONE
) -> dict[str, Any]:
    """Return the checked fields of ``body``; an optional field that is absent is absent in the result.

    Args:
        body: What came in.
        what: Names the body in errors, such as ``run.start``.
        required: Field name to check; all of them must be there.
        optional: The same for fields that may be missing.

    Raises:
        ArgumentError: Names the first field that is wrong, missing or unknown.
    """
    if not isinstance(body, Mapping):
        raise ArgumentError("must be a map of fields", where=what)
    for name in body:
        if name not in required and name not in optional:
            known = ", ".join(sorted([*required, *optional]))
            raise ArgumentError(f"unknown field {str(name)[:60]!r} (known: {known})", parameter=str(name), where=what)
    for name in required:
        if name not in body:
            raise ArgumentError(f"the field {name!r} is missing", parameter=name, where=what)
    return {name: _checked(name, value, what, required.get(name) or optional[name]) for name, value in body.items()}


def _checked(name: str, value: Any, what: str, check: Check) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ArgumentError(f"{name} {error}", parameter=name, where=what) from None


def text(max_chars: int, *, min_chars: int = 0) -> Check:
    """Text of ``min_chars`` to ``max_chars`` characters that can be written as UTF-8."""

    def check(value: Any) -> Any:
        if type(value) is not str or not min_chars <= len(value) <= max_chars:
            raise ValueError(f"must be text of {min_chars} to {max_chars} characters")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError("must be text without lone surrogates")
        return value

    return check


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any) -> Any:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a whole number, {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``, which are finite; always returned as a float."""

    def check(value: Any) -> Any:
        if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no range
            raise ValueError(f"must be a number, {low:g} to {high:g}")
        return float(value)

    return check


def boolean(value: Any) -> Any:
    """True or false."""
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def octets(min_bytes: int, max_bytes: int) -> Check:
    """Bytes, ``min_bytes`` to ``max_bytes`` of them."""

    def check(value: Any) -> Any:
        if type(value) is not bytes or not min_bytes <= len(value) <= max_bytes:
            raise ValueError(f"must be {min_bytes} to {max_bytes} bytes")
        return value

    return check


def mapping(value: Any) -> Any:
    """A map with text keys; what is inside is bounded by the frame that carried it."""
    if type(value) is not dict or any(type(key) is not str for key in value):
        raise ValueError("must be a map")
    return value


def listing(item: Check, max_items: int) -> Check:
    """A list of at most ``max_items``, each of which passes ``item``; returned as a tuple."""

    def check(value: Any) -> Any:
        if type(value) is not list or len(value) > max_items:
            raise ValueError(f"must be a list of at most {max_items}")
        return tuple(item(entry) for entry in value)

    return check


def choice(*words: str) -> Check:
    """One of ``words``."""

    def check(value: Any) -> Any:
        if type(value) is not str or value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return check


def nullable(check: Check) -> Check:
    """None, or what passes ``check``."""
    return lambda value: None if value is None else check(value)


def digest(value: Any) -> Any:
    """The digest of a bundle: ``sha256:`` and 64 hexadecimal digits."""
    if type(value) is not str or not _DIGEST.fullmatch(value):
        raise ValueError("must be a digest (sha256: and 64 hexadecimal digits)")
    return value


def identity(value: Any) -> Any:
    """The id of an agent, run, schedule or token: 1 to 128 letters, digits and ``_ . : @ + -``."""
    if type(value) is not str or not _ID.fullmatch(value):
        raise ValueError("must be an id (1 to 128 letters, digits and _.:@+-)")
    return value
