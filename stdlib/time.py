"""``time.*``: the clock of the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds


@call("time.now", tier=Tier.COMPUTE, lua="local seconds = time.now()", python="seconds = time.now()")
async def now(host: Host) -> float:
    """Return the wall clock, in seconds since 1970 UTC."""
    return host.clock()


@call("time.mono", tier=Tier.COMPUTE, lua="local seconds = time.mono()", python="seconds = time.mono()")
async def mono(host: Host) -> float:
    """Return a clock that never steps, in seconds; only differences mean anything."""
    return host.monotonic()


@call("time.sleep", tier=Tier.COMPUTE, lua="time.sleep(0.1)")
async def sleep(seconds: Annotated[float, Bounds(0, 3600, "seconds")]) -> None:
    """Wait. The wall limit of the run goes on counting."""
    await asyncio.sleep(seconds)


@call(
    "time.every",
    tier=Tier.COMPUTE,
    lua="for number in time.every(0.01, {times = 2}) do end",
    python="for number in time.every(0.01, times=2):\n    pass",
)
async def every(
    host: Host,
    seconds: Annotated[float, Bounds(0.01, 3600, "seconds")],
    times: Annotated[int, Bounds(1, 1_000_000)] | None = None,
) -> AsyncIterator[int]:
    """Give 1, 2, 3 and so on, one each ``seconds``, ``times`` times or until the run ends; the first after one wait.

    Beats that pass while the script is busy are left out, and so are their numbers: the beat stays even.
    """
    began = host.monotonic()
    beat, given = 0, 0
    while times is None or given < times:
        beat = max(beat + 1, int((host.monotonic() - began) / seconds))
        await asyncio.sleep(max(0.0, began + beat * seconds - host.monotonic()))
        given += 1
        yield beat


@call(
    "time.after",
    tier=Tier.COMPUTE,
    lua="for waited in time.after(0.01) do end",
    python="for waited in time.after(0.01):\n    pass",
)
async def after(host: Host, seconds: Annotated[float, Bounds(0, 3600, "seconds")]) -> AsyncIterator[float]:
    """Give how many seconds have passed, once, when it is ``seconds`` or more."""
    began = host.monotonic()
    await asyncio.sleep(seconds)
    yield host.monotonic() - began
