"""Times convert exactly, and waiting ends with the event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from agent.clock import SystemClock, to_datetime, to_us


@pytest.mark.parametrize("time_us", [0, 1, 1_800_000_000_123_457, 4_102_444_799_999_999])
def test_microseconds_survive_the_way_there_and_back(time_us: int) -> None:
    assert to_us(to_datetime(time_us)) == time_us


def test_the_clocks_of_the_host() -> None:
    clock = SystemClock()
    assert abs(to_us(datetime.now(UTC)) - clock.time_us()) < 5_000_000
    assert clock.mono_us() <= clock.mono_us()


async def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    event = asyncio.Event()
    assert not await SystemClock().wait(event, 0.0)
    event.set()
    assert await SystemClock().wait(event, 60.0)
