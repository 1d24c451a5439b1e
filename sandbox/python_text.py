"""Values of a Python script as text, without the addresses that ``str`` and ``repr`` show.

An address tells where this worker's memory lies, and all workers of one zygote share that layout. So every way from a
value to text that a script has (``str``, ``repr``, ``format``, f-strings, ``%``, ``print``, exception texts) ends here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented)})

_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    type({}.keys()): ("dict_keys([", "])"),
    type({}.values()): ("dict_values([", "])"),
    type({}.items()): ("dict_items([", "])"),
}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{5,}")
_MAX_DEPTH = 32


def text(value: Any) -> str:
    """Return what ``str(value)`` would say, without addresses."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return] # checked on the line above
    if kind in PLAIN:
        return str(value)
    if isinstance(value, BaseException):
        return _exception_text(value)
    return shown(value)


def shown(value: Any, depth: int = 0, inside: frozenset[int] = frozenset()) -> str:
    """Return what ``repr(value)`` would say, without addresses."""
    kind = type(value)
    if kind in PLAIN:
        return repr(value)
    if isinstance(value, type):
        return f"<class '{value.__name__}'>"
    if isinstance(value, BaseException):
        return f"{kind.__name__}({', '.join(shown(item, depth + 1, inside) for item in value.args)})"
    if kind is not dict and kind not in _BRACKETS:
        return f"<{kind.__name__}>"
    if depth >= _MAX_DEPTH or id(value) in inside:
        return "..."
    inside = inside | {id(value)}
    if kind is dict:
        pairs = (f"{shown(key, depth + 1, inside)}: {shown(item, depth + 1, inside)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return _sequence(kind, (shown(item, depth + 1, inside) for item in value))


def _sequence(kind: type, parts: Iterable[str]) -> str:
    listed = list(parts)
    if not listed and kind in (set, frozenset):
        return f"{kind.__name__}()"
    if kind is tuple and len(listed) == 1:
        return f"({listed[0]},)"
    opening, closing = _BRACKETS[kind]
    return opening + ", ".join(listed) + closing


def _exception_text(error: BaseException) -> str:
    if not error.args:
        return ""
    if len(error.args) > 1:
        return shown(error.args)
    return without_addresses(shown(error.args[0]) if isinstance(error, KeyError) else text(error.args[0]))


def without_addresses(message: str) -> str:
    """Return ``message`` with what looks like an address taken out; some built-in errors quote a ``repr``."""
    return _ADDRESS.sub("0x", message)


def show(value: Any, conversion: int) -> Any:
    """Return the value of one ``{...}`` of an f-string after its conversion (-1 for none, else the code of s, r or a).

    Plain values without a conversion stay as they are, so that format specifications for numbers work.
    """
    if conversion == ord("r"):
        return shown(value)
    if conversion == ord("a"):
        return ascii(shown(value))[1:-1]
    if conversion == -1 and type(value) in PLAIN:
        return value
    return text(value)


def format_value(value: Any, specification: str = "") -> str:
    """Return what ``format(value, specification)`` would say, without addresses."""
    return format(show(value, -1), specification)


class _Shown:
    """Stands in for an argument of ``%``: the same text whatever the conversion asks for."""

    __slots__ = ("_plain", "_quoted")

    def __init__(self, value: Any) -> None:
        self._plain = text(value)
        self._quoted = shown(value)

    def __str__(self) -> str:
        return self._plain

    def __repr__(self) -> str:
        return self._quoted


def modulo(left: Any, right: Any) -> Any:
    """Return ``left % right``; what it formats shows no address."""
    if isinstance(left, (str, bytes)):
        return left % _arguments(right)
    return left % right


def _arguments(value: Any) -> Any:
    kind = type(value)
    if kind is tuple:
        return tuple(_argument(item) for item in value)
    if kind is dict:
        return {key: _argument(item) for key, item in value.items()}
    return _argument(value)


def _argument(value: Any) -> Any:
    return value if type(value) in PLAIN else _Shown(value)
