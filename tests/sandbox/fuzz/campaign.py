"""Many attacks, a few at a time, and what is said of them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fuzz.rig import attacked
from fuzz.streams import attack

AT_ONCE = 32  # so that the runs could get into each other's way


@dataclass
class Tally:
    """What came of the attacks so far."""

    streams: int = 0
    frames: int = 0
    calls: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)  # seed -> what did not hold

    def add(self, other: Tally) -> None:
        self.streams += other.streams
        self.frames += other.frames
        self.calls += other.calls
        self.statuses += other.statuses
        self.failed |= other.failed


async def campaign(seeds: Iterable[int]) -> Tally:
    """Run the attacks of these seeds. Nothing is raised: what did not hold is in the tally, with its seed."""
    tally, waiting = Tally(), iter(seeds)

    async def work() -> None:
        for seed in waiting:
            one = attack(seed)
            tally.streams += 1
            tally.frames += one.frames
            try:
                came = await attacked(one)
            except Exception as error:  # noqa: BLE001 - told with its seed
                tally.failed[seed] = f"{type(error).__name__}: {error}"
            else:
                tally.calls += came.asked
                tally.statuses[came.outcome.status] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return tally


def resident_bytes() -> int:
    """Return the resident set of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
