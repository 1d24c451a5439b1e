"""The server's clocks, in one place so that tests can pass another."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


def now_us() -> int:
    """Return microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def mono_us() -> int:
    """Return microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1000


def text(time_us: int | None) -> str | None:
    """Return a moment as RFC 3339 text with microseconds, None for None."""
    if time_us is None:
        return None
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # exact, unlike a float
