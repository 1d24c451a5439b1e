"""Values of a Python script as text, without the addresses that ``str`` and ``repr`` show.

An address tells where this worker's memory lies, and all workers of one zygote share that layout. So every way from a
value to text that a script has (``str``, ``repr``, ``format``, f-strings, ``%``, ``print``, exception texts) ends here.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections import Counter, deque
from typing import Any

from sandbox import python_dates
from sandbox.python_collections import DefaultDict, OrderedDict, RecordType
from sandbox.python_proxies import Module

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
#: Types of modules whose own text shows no address: no script can put a value of its own into them.
_TOLD = frozenset(
    {
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
        re.Match,
    }
)
_DATES = (datetime.datetime, datetime.date, datetime.time)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{5,}")
_MAX_DEPTH = 32


def text(value: Any) -> str:
    """Return what ``str(value)`` would say, without addresses."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return] # checked on the line above
    if kind in PLAIN or kind in _TOLD:
        return str(value)
    if isinstance(value, BaseException):
        return _exception_text(value)
    return shown(value)


def shown(value: Any, depth: int = 0, inside: frozenset[int] = frozenset()) -> str:
    """Return what ``repr(value)`` would say, without addresses."""
    kind = type(value)
    if kind in PLAIN or kind in _TOLD:
        return repr(value)
    if isinstance(value, Module):
        return f"<module {kind.__name__!r}>"
    if isinstance(value, type):
        return f"<class '{value.__name__}'>"
    if isinstance(value, BaseException):
        told = ", ".join(shown(item, depth + 1, inside) for item in value.args)
        return f"{kind.__name__}({without_addresses(told)})"
    if kind not in _DICTS and kind not in _BRACKETS and kind is not deque and type(kind) is not RecordType:
        return f"<{kind.__name__}>"
    if depth >= _MAX_DEPTH or id(value) in inside:
        return "..."
    inside = inside | {id(value)}
    if kind in _DICTS:
        return _dict(value, depth + 1, inside)
    parts = [shown(item, depth + 1, inside) for item in value]
    if type(kind) is RecordType:
        return f"{kind.__name__}({', '.join(map('='.join, zip(kind._fields, parts, strict=True)))})"
    if kind is deque:
        return f"deque([{', '.join(parts)}]{'' if value.maxlen is None else f', maxlen={value.maxlen}'})"
    return _sequence(kind, parts)


_DICTS = frozenset({dict, Counter, OrderedDict, DefaultDict})


def _dict(value: dict[Any, Any], depth: int, inside: frozenset[int]) -> str:
    kind = type(value)
    pairs = (f"{shown(key, depth, inside)}: {shown(item, depth, inside)}" for key, item in value.items())
    told = "{" + ", ".join(pairs) + "}"
    if isinstance(value, DefaultDict):
        return f"defaultdict({shown(value.default_factory, depth, inside)}, {told})"
    return told if kind is dict else f"{kind.__name__}({told if value else ''})"


def _sequence(kind: type, listed: list[str]) -> str:
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


def show(value: Any, conversion: int, specification: str | None = None) -> Any:
    """Return the value of one ``{...}`` of an f-string after its conversion (-1 for none, else the code of s, r or a).

    Without a specification, plain values stay as they are; the f-string makes the same text of them.
    """
    if conversion == ord("r"):
        value = shown(value)
    elif conversion == ord("a"):
        value = ascii(shown(value))[1:-1]
    elif conversion == ord("s"):
        value = text(value)
    if specification is not None:
        return format_value(value, specification)
    return value if type(value) in PLAIN else text(value)


def format_value(value: Any, specification: str = "") -> str:
    """Return what ``format(value, specification)`` would say, without addresses."""
    if type(value) in _DATES and specification:
        return python_dates.strftime(value, specification)
    return format(value if type(value) in PLAIN else text(value), specification)


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
