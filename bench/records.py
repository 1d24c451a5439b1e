"""Durable records a second: the agent's own chain and spool, fsync included, beside bare SQLite rows of that size."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from agent.clock import SystemClock
from agent.recorder import Recorder
from agent.spool import Spool
from bench.measure import Better, Measure, Peer
from protocol.signing import PrivateKey

RECORDS = 20_000
GROUP = 256  # records that callers hand over before they wait; about what one busy run makes between two effects
TARGET_PER_S = 5_000.0


async def measure() -> list[Measure]:
    """Write records through the recorder and wait until each group is durable."""
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory:
        elapsed_s, size = await _records(Path(directory))
        bare_per_s = await asyncio.to_thread(rows_per_s, Path(directory), size)
    value = RECORDS / elapsed_s
    peer = Peer("bare SQLite rows, same size and groups", bare_per_s)
    note = f"groups of {GROUP}, {size} bytes each"
    return [
        Measure("durable records", value, "records/s", TARGET_PER_S, Better.HIGHER, {"samples": RECORDS}, (peer,), note)
    ]


async def _records(directory: Path) -> tuple[float, int]:
    """Return the seconds for all records, and the size of one in bytes."""

    def broken(error: Exception) -> None:
        raise error

    spool = Spool.open(directory / "spool.sqlite", on_broken=broken)
    try:
        recorder = Recorder(spool, SystemClock(), agent_id="a" * 64, key=PrivateKey.generate())
        began = time.perf_counter()
        for number in range(0, RECORDS, GROUP):
            await recorder.commit([fields(number + index) for index in range(min(GROUP, RECORDS - number))])
        elapsed_s = time.perf_counter() - began
        return elapsed_s, len(spool.read(0, 1, 1)[0])
    finally:
        spool.close()


def fields(number: int) -> dict[str, object]:
    """Return the fields of a record like those of a check's calls."""
    return {
        "session": "s1", "run": f"r{number // 8}", "principal": "schedule:c1", "kind": "call", "call": "fs.space",
        "arguments": {"path": "/var/lib"}, "verdict": "allow", "rule": "observe.yaml:14 allow fs.space",
        "outcome": "ok", "duration_us": 42, "bytes": 0, "data": {},
    }  # fmt: skip


def rows_per_s(directory: Path, size: int, group: int = GROUP) -> float:
    """Return rows a second: one writer, the same groups, each durable before the next, no other work."""
    connection = sqlite3.connect(directory / "rows.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (sequence INTEGER PRIMARY KEY, blob BLOB NOT NULL, hash BLOB NOT NULL)")
    blob, digest = os.urandom(size), os.urandom(32)
    began = time.perf_counter()
    for number in range(0, RECORDS, group):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(number + index + 1, blob, digest) for index in range(min(group, RECORDS - number))]
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    elapsed_s = time.perf_counter() - began
    connection.close()
    return RECORDS / elapsed_s
