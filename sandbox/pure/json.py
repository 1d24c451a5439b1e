"""``json.*``: RFC 8259. Numbers are 64-bit integers and finite floats; larger integers are read as floats, as Lua does.

Of names that stand twice in one object the last counts.
"""

from __future__ import annotations

import json
import math
from typing import Any

from sandbox.pure.declared import Refused, anything, integer, pure, text
from sandbox.values import INT_MAX, INT_MIN

_SHORT = 18  # digits, the sign included, that always fit into 64 bits
_UNHELD = "holds a number that cannot be held"


@pure("json.encode", value=anything, indent=integer(0, 8))
def encode(value: Any, indent: int = 0) -> str:
    """Return the JSON text of ``value``; keys sorted, so that equal values give equal texts."""
    separators = (",", ": ") if indent else (",", ":")
    try:
        return json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=separators, sort_keys=True, indent=indent or None
        )
    except TypeError:
        raise Refused("value", "holds bytes that are not valid UTF-8; JSON has only text") from None
    except ValueError:
        raise Refused("value", "holds a number that is not finite") from None


@pure("json.decode", text=text)
def decode(text: str) -> Any:
    """Return the value of a JSON text; NaN and Infinity are not JSON."""
    try:
        return json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise Refused("text", f"line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Refused("text", "is nested too deeply") from None


def _integer(digits: str) -> int | float:
    if len(digits) <= _SHORT:
        return int(digits)
    number = _number(digits)
    if abs(number) < float(1 << 64):
        exact = int(digits)
        if INT_MIN <= exact <= INT_MAX:
            return exact
    return number


def _number(digits: str) -> float:
    number = float(digits)
    if math.isfinite(number):
        return number
    raise Refused("text", _UNHELD)


def _constant(word: str) -> Any:
    raise Refused("text", f"{word} is not JSON")
