"""``make fuzz``: attacks until a million frames were sent. ``SEED=`` begins at the seed that a failure told."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count

from fuzz.campaign import Tally, campaign, resident_bytes

BLOCK = 500  # seeds of one piece of work, about 7,000 frames
MAX_GROWTH_BYTES = 32 << 20  # from the first third of the blocks to the last; what a run held is given back


def block(first: int) -> tuple[Tally, int]:
    """Run one block of seeds; return what came of it and the resident set after it."""
    logging.disable(logging.CRITICAL)  # the gate logs each fault that the rig makes it meet
    return asyncio.run(campaign(range(first, first + BLOCK))), resident_bytes()


def main(arguments: Sequence[str]) -> int:
    """Attack; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args(arguments)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**48))
    print(f"seed {seed}, at least {chosen.frames:,} frames, {chosen.jobs} at a time", flush=True)
    began, tally, sizes, firsts = time.monotonic(), Tally(), [], count(seed, BLOCK)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        while tally.frames < chosen.frames and not tally.failed:
            for done, resident in pool.map(block, [next(firsts) for _ in range(4 * chosen.jobs)]):
                tally.add(done)
                sizes.append(resident)
    elapsed_s = time.monotonic() - began
    statuses = ", ".join(f"{name} {number:,}" for name, number in sorted(tally.statuses.items()))
    print(f"{tally.frames:,} frames in {tally.streams:,} streams, {tally.calls:,} calls; runs: {statuses}")
    print(f"{elapsed_s:.0f} s, {tally.frames / elapsed_s:,.0f} frames/s, load {os.getloadavg()[0]:.1f}")
    growth_bytes = max(sizes[-len(sizes) // 3 :]) - max(sizes[: len(sizes) // 3])
    print(f"resident at most {max(sizes) / 2**20:.0f} MiB, grown by {growth_bytes / 2**20:.0f} MiB")
    for failed, told in sorted(tally.failed.items()):
        print(f"FAILED: {told}\n    again: make fuzz SEED={failed}")
    if growth_bytes > MAX_GROWTH_BYTES:
        print(f"FAILED: memory has grown by more than {MAX_GROWTH_BYTES / 2**20:.0f} MiB")
        return 1
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
