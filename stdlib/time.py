"""``time.*``: the clock of the host."""

from __future__ import annotations

import asyncio
from typing import Annotated

from protocol.tiers import Tier
from stdlib.catalogue import call
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
