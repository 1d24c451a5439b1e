"""When a schedule fires: a pure function of the schedule, a moment and the host's id.

- Cron lines are read in the wall time of the schedule's zone (:mod:`protocol.wall_times`). In the hour that an autumn
  clock change repeats, a line that names hours fires once, at the first passing; one for every hour (``*``) goes on
  through both.
- A wall time that a spring clock change leaves out fires once, at the first moment after the gap; a line for every
  hour just goes on.
- ``every_s`` fires at the multiples since 1970, so that it does not drift and a restart does not move it.
- The splay is a constant of host and schedule, between zero and ``splay_s``: the same after every restart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from protocol import limits
from protocol.errors import ArgumentError
from protocol.schedules import ScheduleSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UTC = "UTC"  # the one zone that needs no looking up


def next_fires(spec: ScheduleSpec, after: datetime, count: int, *, agent_id: str | None = None) -> list[datetime]:
    """Return the first ``count`` fire times strictly after ``after``, ascending, in UTC.

    Args:
        spec: The schedule; ``enabled`` is not looked at.
        after: A moment that knows its zone.
        count: 1 to ``limits.MAX_FIRES``.
        agent_id: The host whose splay is added; None adds none, for a preview that is right for all hosts.

    Returns:
        Fewer than ``count`` only where the calendar ends.

    Raises:
        ArgumentError: The cron line or the time zone is wrong; names which field of it and what is allowed there.
    """
    if after.tzinfo is None:
        raise ArgumentError("a moment without a time zone is not enough to tell fire times", parameter="after")
    if not 1 <= count <= limits.MAX_FIRES:
        raise ArgumentError(f"must be 1 to {limits.MAX_FIRES}", parameter="count")
    shift = timedelta() if agent_id is None else splay(spec, agent_id)
    fires: list[datetime] = []
    try:
        for fire in _fires(spec, after.astimezone(UTC) - shift):
            fires.append(fire + shift)
            if len(fires) == count:
                break
    except OverflowError:  # the calendar ends in the year 9999
        return fires
    return fires


def splay(spec: ScheduleSpec, agent_id: str) -> timedelta:
    """Return the part of ``spec.splay_s`` that this host adds to every fire time: whole microseconds, never random."""
    seed = hashlib.sha256(f"outrider.v1/splay\0{agent_id}\0{spec.id}".encode()).digest()
    share_us = int.from_bytes(seed[:8], "big") * round(spec.splay_s * 1_000_000) >> 64
    return timedelta(microseconds=share_us)


def check_times(spec: ScheduleSpec) -> None:
    """Refuse a schedule whose cron line or time zone is wrong; ArgumentError as in :func:`next_fires`."""
    from protocol import wall_times  # only for schedules that need it; it is large

    wall_times.time_zone(spec.zone)
    if spec.cron is not None:
        wall_times.check_cron(spec.cron)


def _fires(spec: ScheduleSpec, after: datetime) -> Iterator[datetime]:
    if spec.every_s is not None and spec.zone == _UTC:
        return _every(spec.every_s, after)
    from protocol import wall_times  # as above

    zone = wall_times.time_zone(spec.zone)
    if spec.every_s is not None:
        return _every(spec.every_s, after)
    if spec.cron is None:
        raise ArgumentError("exactly one of cron and every_s must be given", parameter="cron")
    wall_times.check_cron(spec.cron)
    return wall_times.in_order(spec.cron, zone, after)


def _every(every_s: float, after: datetime) -> Iterator[datetime]:
    step_us = round(every_s * 1_000_000)
    number = (after - EPOCH) // _MICROSECOND // step_us + 1
    while True:
        yield EPOCH + timedelta(microseconds=number * step_us)
        number += 1
