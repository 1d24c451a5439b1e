"""``toml.decode``: TOML 1.0. Dates and times become their text. The standard library has no writer, so neither have we.

Source:
    TOML 1.0, Integer: what cannot be held without loss is an error; here that is what needs more than 64 bits.
"""

from __future__ import annotations

import datetime
import math
import tomllib
from typing import Any

from protocol.regex import Regex
from sandbox.pure.declared import MAX_DEPTH, Refused, bounded, pure, text, whole

MAX_CHARACTERS = 1 << 20
_TIMES = (datetime.datetime, datetime.date, datetime.time)
#: A dotted key costs the library the square of its parts, and could not be that deep in the result anyway.
_LONG_KEY = Regex(rf"(?:[0-9A-Za-z_'\"-][ \t]*\.[ \t]*[0-9A-Za-z_'\"-]*){{{MAX_DEPTH}}}")


@pure("toml.decode", text=text)
def decode(text: str) -> dict[str, Any]:
    """Return the tables of a TOML document."""
    if _LONG_KEY.search(bounded("text", text, MAX_CHARACTERS)):
        raise Refused("text", f"holds a key of more than {MAX_DEPTH} parts")
    try:
        return {key: _plain(item, key) for key, item in tomllib.loads(text, parse_float=_number).items()}
    except tomllib.TOMLDecodeError as error:
        raise Refused("text", _place(str(error))) from None
    except RecursionError:
        raise Refused("text", "is nested too deeply") from None
    except ValueError:  # int() of more digits than it takes; a date that is none
        raise Refused("text", "holds a number or a date that cannot be held") from None


def _number(digits: str) -> float:
    number = float(digits)
    if math.isfinite(number):
        return number
    raise Refused("text", f"{digits[:20]} is not finite")


def _plain(value: Any, key: str) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _plain(item, name) for name, item in value.items()}
    if kind is list:
        return [_plain(item, key) for item in value]
    if kind in _TIMES:
        return str(value.isoformat())
    return whole("text", value) if kind is int else value


def _place(told: str) -> str:
    """Turn ``Expected '=' (at line 1, column 4)`` round, so that the place stands first as everywhere."""
    message, found, place = told.rpartition(" (at ")
    return f"{place.rstrip(')').replace(',', '')}: {message}" if found else told
