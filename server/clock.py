"""The server's clocks, in one place so that tests can pass another.

``now`` and ``now_us`` are what the server believes: never before what it has believed for long, so that what has
expired stays expired when the host's clock is set back (:mod:`server.believed`). What the host says is for those who
hold it against clocks of their own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from server.believed import Believed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
believed = Believed()  # of this process: a server, or a command that makes something that expires


def now() -> datetime:
    """Return the present in UTC."""
    return _EPOCH + timedelta(microseconds=now_us())


def now_us() -> int:
    """Return the present in microseconds since 1970 UTC."""
    return believed.at(host_us(), lived_us())


def host_us() -> int:
    """Return what the host's clock says, in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def lived_us() -> int:
    """Return the microseconds since the host started, those in which it slept included: a clock that nobody sets."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def mono_us() -> int:
    """Return microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1000


def until_s(time_us: int | None, most_s: float) -> float:
    """Return the seconds until just after a moment, above 0 and at most ``most_s``; None is no moment."""
    left_s = most_s if time_us is None else (time_us - now_us()) / 1e6 + 0.001
    return min(max(left_s, 0.001), most_s)


def text(time_us: int | None) -> str | None:
    """Return a moment as RFC 3339 text with microseconds, None for None."""
    if time_us is None:
        return None
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # exact, unlike a float
