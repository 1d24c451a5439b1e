"""``datetime`` for scripts: the library's own types, without what leads elsewhere.

- Formats have an allow-list of directives, so that nothing of the C library's own is in reach.
- ``strptime`` is ours: the library's imports a module when it is first called, and asks for the locale. English only.
- What returns other types (``timetuple``) or is deprecated for being ambiguous (``utcnow``) is left out.
- Zones are fixed offsets. ``now()`` and ``astimezone()`` without one know that of the host.
"""

from __future__ import annotations

import datetime as library
import re
from typing import Any

from sandbox.python_proxies import text_of, words

MAX_TEXT_CHARACTERS = 1_000  # of a format, and of a text that is read by one
MAX_KEPT = 50  # formats that are ready to be read by

_WRITTEN = frozenset("aAbBcdfGHIjmMpSuUVwWxXyYzZ%")  # what the library documents

_MONTHS = words("january february march april may june july august september october november december")
_DAYS = words("monday tuesday wednesday thursday friday saturday sunday")
_READ = {
    "Y": r"[0-9]{4}",
    "m": r"1[0-2]|0[1-9]|[1-9]",
    "d": r"3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9]",
    "H": r"2[0-3]|[01][0-9]|[0-9]",
    "I": r"1[0-2]|0[1-9]|[1-9]| [1-9]",
    "M": r"[0-5][0-9]|[0-9]",
    "S": r"[0-5][0-9]|[0-9]",
    "f": r"[0-9]{1,6}",
    "j": r"36[0-6]|3[0-5][0-9]|[12][0-9]{2}|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]",
    "y": r"[0-9]{2}",
    "p": r"am|pm",
    "B": "|".join(_MONTHS),
    "b": "|".join(name[:3] for name in _MONTHS),
    "A": "|".join(_DAYS),
    "a": "|".join(name[:3] for name in _DAYS),
    "z": r"z|[+-][0-9]{2}:?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]{1,6})?)?",
    "Z": r"utc|gmt",
}
_LONG = {"c": "%a %b %d %H:%M:%S %Y", "x": "%m/%d/%y", "X": "%H:%M:%S"}
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?")

_kept: dict[str, re.Pattern[str]] = {}


def strftime(moment: Any, form: str) -> str:
    """Return ``moment`` (datetime, date or time) as text.

    Raises:
        ValueError: A directive is not one that the library documents, or the format is too long.
    """
    _check_length(form, "a format")
    position = form.find("%")
    while position >= 0:
        letter = form[position + 1 : position + 2]
        if letter not in _WRITTEN or not letter:
            raise ValueError(f"'%{letter}' is not available in a format")
        position = form.find("%", position + 2)
    text: str = moment.strftime(form)
    return text


def _check_length(text: str, what: str) -> None:
    if len(text_of(text, what)) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"{what} may have at most {MAX_TEXT_CHARACTERS} characters")


def strptime(text: str, form: str) -> library.datetime:
    """Return the moment that ``text`` tells in the format ``form``; month and day names in English, in any case.

    Raises:
        ValueError: The text is not in that format, the format is not one, or there is no such moment.
    """
    _check_length(text, "a date")
    _check_length(form, "a format")
    if form not in _kept:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[form] = _pattern_of(form)
    match = _kept[form].fullmatch(text)
    if match is None:
        raise ValueError(f"time data {text!r} does not match format {form!r}")
    return _moment(match.groupdict())


def _pattern_of(form: str) -> re.Pattern[str]:
    for letter, long in _LONG.items():
        form = form.replace(f"%{letter}", long)
    parts, used = [], set()
    for piece in re.findall(r"%.?|\s+|[^%\s]+", form, re.DOTALL):
        letter = piece[1:]
        if piece[0] != "%":
            parts.append(r"\s+" if piece[0].isspace() else re.escape(piece))
        elif letter == "%":
            parts.append("%")
        elif letter not in _READ or letter in used:
            raise ValueError(f"{piece!r} is {'twice in' if letter in used else 'not available in'} the format")
        else:
            used.add(letter)
            parts.append(f"(?P<{letter}>{_READ[letter]})")
    return re.compile("".join(parts), re.IGNORECASE | re.ASCII)


def _moment(found: dict[str, str]) -> library.datetime:
    year, month, day = _day(found)
    hour = int(found["H"]) if "H" in found else _hour_of_twelve(found)
    fraction = int(found["f"].ljust(6, "0")) if "f" in found else 0
    minute, second = int(found.get("M", 0)), int(found.get("S", 0))
    zone = _zone(found["z"]) if "z" in found else None
    return library.datetime(year, month, day, hour, minute, second, fraction, zone)


def _day(found: dict[str, str]) -> tuple[int, int, int]:
    year, month, day = int(found.get("Y", 1900)), int(found.get("m", 1)), int(found.get("d", 1))
    if "y" in found:
        year = int(found["y"]) + (2000 if int(found["y"]) <= 68 else 1900)
    for letter, names in (("b", [name[:3] for name in _MONTHS]), ("B", _MONTHS)):
        if letter in found:
            month = names.index(found[letter].lower()) + 1
    if "j" in found:
        date = library.date(year, 1, 1) + library.timedelta(int(found["j"]) - 1)
        year, month, day = date.year, date.month, date.day
    return year, month, day


def _hour_of_twelve(found: dict[str, str]) -> int:
    if "I" not in found:
        return 0
    return int(found["I"]) % 12 + (12 if found.get("p", "").lower() == "pm" else 0)


def _zone(text: str) -> library.timezone:
    if text in ("z", "Z"):
        return library.UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no offset")
    sign, hours, minutes, seconds, fraction = match.groups()
    offset = library.timedelta(
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds or 0),
        microseconds=int((fraction or "").ljust(6, "0")),
    )
    return library.timezone(-offset if sign == "-" else offset)


# What the library's own methods import when they are called, or return in a type of its own


def today() -> library.date:
    """Return the date of the host's clock, in its zone."""
    return library.datetime.now().date()  # noqa: DTZ005 - what a script's author asks for


def now_local() -> library.datetime:
    """Return the host's time, without a zone."""
    return library.datetime.now()  # noqa: DTZ005 - see above


def ctime(moment: Any) -> str:
    """Return date and time as the C library writes them.

    Raises:
        ValueError: The year is not one from 1 to 9999. The types can be made of bytes that nobody looked at, as pickles
            are; of the year 0 the library would look for the name of the weekday before its table of them.
    """
    if not library.MINYEAR <= moment.year <= library.MAXYEAR:
        raise ValueError(f"there is no year {moment.year}")
    text: str = moment.ctime()
    return text


def isocalendar(date: Any) -> tuple[int, int, int]:
    """Return year, week and day of the week as a plain tuple."""
    year, week, day = date.isocalendar()
    return year, week, day


DATETIME: dict[str, Any] = {
    "MAXYEAR": library.MAXYEAR,
    "MINYEAR": library.MINYEAR,
    "UTC": library.UTC,
    "date": library.date,
    "datetime": library.datetime,
    "time": library.time,
    "timedelta": library.timedelta,
    "timezone": library.timezone,
}
