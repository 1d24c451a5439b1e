"""Times convert exactly, and waiting ends with the event."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

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


def test_what_the_host_slept_through_is_lived_through() -> None:
    """The kernel tells a process in a name space of its own that it had slept, which the other clock does not know."""
    program = "from agent.clock import SystemClock, lived_s; print(lived_s() - SystemClock().mono_us() / 1e6)"
    asleep = ["unshare", "--time", "--boottime", "36000", "--fork", sys.executable, "-c", program]
    told = []
    for command in ([sys.executable, "-c", program], asleep):
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"needs a time name space: {done.stderr.strip()[-200:]}")
        told.append(float(done.stdout))
    assert told[1] - told[0] == pytest.approx(36_000, abs=5)
