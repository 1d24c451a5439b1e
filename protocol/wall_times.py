"""Cron lines in the wall time of a zone: which moments they stand for, and whether they are good.

Apart from :mod:`protocol.firetimes`, which loads it for schedules with a cron line or a zone of their own: croniter,
dateutil and the zones are 1.3 MB, and a host whose schedules are intervals has no use for them.
"""

from __future__ import annotations

import difflib
import heapq
import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from croniter import croniter
from croniter.croniter import CroniterError

from protocol import limits
from protocol.errors import ArgumentError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(hours=25)  # no zone has moved by more than 24 hours at once (Apia left out 2011-12-30)
_HOUR_FIELD = 1
_FIELDS = (
    ("minute", "0-59"), ("hour", "0-23"), ("day of month", "1-31"), ("month", "1-12 or jan-dec"),
    ("day of week", "0-7 or sun-sat"),
)  # fmt: skip
_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
# croniter also reads H and R, hashed and random values; a random fire time could not be computed twice alike.
_CRON_WORD = re.compile(r"[0-9*/,#?-]|[a-z]+", re.IGNORECASE)
_CRON_NAMES = frozenset({
    "l", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    "sun", "mon", "tue", "wed", "thu", "fri", "sat",
})  # fmt: skip


def in_order(cron: str, zone: zoneinfo.ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Turn wall times into moments, each once and in the order of the moments.

    In a repeated hour a wall time can stand for two moments, the second of which comes after later wall times: it
    waits in a heap until the wall times have passed it.
    """
    waiting: list[datetime] = []
    newest = after
    for wall in _walls(cron, zone, after):
        moments = _moments(wall, zone, is_hourly=_is_hourly(cron))
        while waiting and waiting[0] < _first_moment(wall, zone):
            fire = heapq.heappop(waiting)
            if fire > newest:
                newest = fire
                yield fire
        for moment in moments:
            heapq.heappush(waiting, moment)
    while waiting:
        fire = heapq.heappop(waiting)
        if fire > newest:
            newest = fire
            yield fire


def _walls(cron: str, zone: zoneinfo.ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield wall times, without a zone, from early enough that none after ``after`` is missed."""
    offsets = [(after + step).astimezone(zone).utcoffset() or timedelta() for step in (-_DAY, timedelta(), _DAY)]
    start = after.astimezone(zone).replace(tzinfo=None) - (max(offsets) - min(offsets))
    # croniter counts in UTC, where no hour is missing or repeated; the zone is applied here.
    source = croniter(cron, start.replace(tzinfo=UTC), ret_type=datetime)
    while True:
        try:
            found = source.get_next()
        except (CroniterError, ValueError, OverflowError):  # no further day in its horizon, or in the calendar
            return
        if not isinstance(found, datetime):
            raise ArgumentError("the cron line does not lead to times", parameter="cron")
        yield found.replace(tzinfo=None)


def _moments(wall: datetime, zone: zoneinfo.ZoneInfo, *, is_hourly: bool) -> list[datetime]:
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return [first]
    if first < second:  # the hour is repeated
        return [first, second] if is_hourly else [first]
    return [] if is_hourly else [_after_gap(second, zone)]  # PEP 495: in a gap, fold=0 is the later of the two


def _first_moment(wall: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the earliest moment that ``wall`` or a later wall time can stand for."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first if first <= second else _after_gap(second, zone)


def _after_gap(before: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the moment of the clock change that comes after ``before`` within a day, to the second."""
    low, high = before, before + _DAY
    offset = before.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


# what people type ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _is_hourly(cron: str) -> bool:
    return bool(croniter.expand(cron)[0][_HOUR_FIELD] == ["*"])


@lru_cache(maxsize=256)
def time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone called ``name`` in the IANA data.

    Raises:
        ArgumentError: There is none; says which was probably meant.
    """
    if _ZONE.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder such as "Europe"
            pass
    close = difflib.get_close_matches(name[: limits.MAX_ZONE_CHARACTERS], sorted(zoneinfo.available_timezones()), 1)
    hint = f"did you mean {close[0]!r}?" if close else "examples: UTC, Europe/Berlin"
    raise ArgumentError(f"{name[: limits.MAX_ZONE_CHARACTERS]!r} is not a time zone ({hint})", parameter="zone")


@lru_cache(maxsize=256)
def check_cron(cron: str) -> None:
    """Refuse a line that is not five good fields or one of the ``@`` words.

    Raises:
        ArgumentError: Names the bad field, its text and what is allowed there.
    """
    if cron.startswith("@"):
        if cron not in _ALIASES:
            raise ArgumentError(f"{cron[:60]!r} is none of {', '.join(sorted(_ALIASES))}", parameter="cron")
        return
    fields = cron.split()
    if len(cron) > limits.MAX_CRON_CHARACTERS or len(fields) != len(_FIELDS):
        names = ", ".join(name for name, _ in _FIELDS)
        raise ArgumentError(f"{cron[:60]!r} has {len(fields)} fields, not five ({names})", parameter="cron")
    for index, written in enumerate(fields):
        if not _is_good_field(index, written):
            name, allowed = _FIELDS[index]
            raise ArgumentError(f"{cron!r}: the {name} {written!r} is not valid ({allowed})", parameter="cron")
    if next(_walls(" ".join(fields), time_zone("UTC"), _EPOCH), None) is None:
        raise ArgumentError(
            f"{cron!r} names a day that never comes ({fields[2]} of month {fields[3]})", parameter="cron"
        )


def _is_good_field(index: int, written: str) -> bool:
    words = _CRON_WORD.findall(written)
    if "".join(words) != written or any(word.isalpha() and word.lower() not in _CRON_NAMES for word in words):
        return False
    line = ["*"] * len(_FIELDS)
    line[index] = written
    try:
        croniter.expand(" ".join(line))
    except (CroniterError, ValueError, KeyError, IndexError):  # croniter leaks the latter for some odd fields
        return False
    return True
