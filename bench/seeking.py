"""How soon an hour of a busy terminal begins in its middle: the page of events that a player asks for first."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.listing import server_in
from bench.measure import Measure
from server.core import Core
from server.services import recordings
from server.sessions.recording import Recording

HOUR_US = 3_600_000_000
EVENTS = 72_000  # twenty a second
SEEKS = 60
TARGET_MS = 1000.0


async def measure() -> list[Measure]:
    """Record an hour, and begin all over it."""
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory:
        server = server_in(Path(directory) / "server")
        made = Recording(server.config.recordings / "s_hour", {"session": "s_hour", "size": [80, 24]})
        for number in range(EVENTS):
            made.output(made.us + HOUR_US // EVENTS, made.offset, _line(number))
        size = made.offset
        await made.close()
        times = sorted(_seek_ms(server, seek * 3600.0 / SEEKS) for seek in range(SEEKS))
    spread = {"p50": statistics.median(times), "p99": times[-1], "samples": float(SEEKS)}
    note = f"{size / 1e6:.0f} MB of output, {EVENTS:,} events; as JSON, without the way to the client"
    return [Measure("begin anywhere in an hour's recording", times[-1], "ms", TARGET_MS, spread=spread, note=note)]


def _seek_ms(server: Core, from_s: float) -> float:
    began = time.perf_counter()
    recordings.events(server, "s_hour", from_s, None)
    return (time.perf_counter() - began) * 1000


def _line(number: int) -> bytes:
    return b"\x1b[3%dm%08d\x1b[0m %s\r\n" % (number % 8, number, b"%x" % (number * 0x9E3779B97F4A7C15) * 10)
