"""Time as the agent sees it, so that a test can move it.

Wall time decides when a schedule fires and whether a signature still holds; monotonic time measures durations. What
people may do for a while goes on while the host sleeps.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What the agent asks of time."""

    def time_us(self) -> int:
        """Wall time, microseconds since 1970 in UTC; may step in either direction."""

    def mono_us(self) -> int:
        """Monotonic time in microseconds from an arbitrary start."""

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        """Wait until ``event`` is set or ``timeout_s`` seconds have passed; True if it was set."""


class SystemClock:
    """The host's own clocks."""

    def time_us(self) -> int:
        """Return the host's wall time in microseconds."""
        return time.time_ns() // 1000

    def mono_us(self) -> int:
        """Return the host's monotonic time in microseconds."""
        return time.monotonic_ns() // 1000

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        """Wait for the event, at most ``timeout_s`` seconds of the event loop's clock."""
        try:
            async with asyncio.timeout(timeout_s):
                return await event.wait()
        except TimeoutError:
            return False


def lived_s() -> float:
    """Return the seconds since the host started, those in which it slept included.

    For how long somebody may do something: who closes a computer for the night has used the night up.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def to_datetime(time_us: int) -> datetime:
    """Return ``time_us`` (microseconds since 1970, UTC) as a datetime, exactly."""
    return _EPOCH + timedelta(microseconds=time_us)


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970, UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND
