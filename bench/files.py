"""Files through the gate: small calls beside the same work done directly, a long stream, and a walk."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.measure import Better, Measure, Peer, quantile, spread
from bench.memory import pss_bytes
from bench.workers import Bench
from protocol.tiers import Tier
from stdlib.catalogue import Catalogue, load
from stdlib.fs import described
from stdlib.host import Host, RunContext

CALLS = 500  # of one run
RUNS = 5  # of a walk
TURNS = 30  # of a small call, of the gate alone and of the same work directly
TIMES = 2.0  # the same work done directly, at most, beside what the gate costs
READ_BYTES = 4096

STREAM_BYTES = 1 << 30
STREAM_TARGET_MB_S = 300.0
STREAM = """\
local began, size = time.mono(), 0
for chunk in fs.read_stream("{path}") do size = size + #chunk end
return {{size, time.mono() - began}}
"""

DIRECTORIES, FILES = 1000, 99  # 100,000 entries
WALK_TARGET = 3.0
WALK = """\
local began, count = time.mono(), 0
for entry in fs.walk("{path}", {{stat = {stat}}}) do count = count + 1 end
return {{count, time.mono() - began}}
"""
LOOP = """\
local began = time.mono()
for _ = 1, {calls} do {call} end
return time.mono() - began
"""


async def measure() -> list[Measure]:
    """Take all of them."""
    with _place() as place:
        (place / "file").write_bytes(b"x" * READ_BYTES)
        async with Bench.opened(tier=Tier.ADMIN) as bench:
            measures = await _small(bench, place)
            measures.append(await _stream(bench, place))
            measures += await _walks(bench, place)
    return measures


@contextmanager
def _place() -> Iterator[Path]:
    """Yield a directory in memory where there is such a file system, so that no disk is measured."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="outrider-bench-", dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


# Small calls ----------------------------------------------------------------------------------------------------------


class Answered(Catalogue):
    """The catalogue, but for one call that does no work: it gives an answer that was made before.

    All else is as it is for that call: its path is opened and decided on, on the loop or on a thread; its answer goes
    to the script; it is on record. That is what the gate costs. The answer is a new object each time, as that of every
    call is: what a thread made lies in the cache of its processor, and the loop fetches it from there. One object for
    all of them would stay in the loop's own cache, where no such answer is: 4 KiB of text then cost 7 us less.
    """

    def __init__(self, name: str, answer: Any) -> None:
        spec = load().find(name)
        if spec is None or spec.implementation is None:
            raise RuntimeError(f"there is no call {name}")

        def given(*_: Any, **__: Any) -> Any:
            return answer[:1] + answer[1:] if isinstance(answer, str) else answer.copy()

        async def given_later(*_: Any, **__: Any) -> Any:
            return given()

        is_async = asyncio.iscoroutinefunction(spec.implementation)
        answered = replace(spec, implementation=given_later if is_async else given)
        super().__init__({**{each.name: each for each in load()}, name: answered})


async def _small(bench: Bench, place: Path) -> list[Measure]:
    file = str(place / "file")
    processes = _process_list()
    works: list[tuple[str, str, str, Callable[[], Any], int]] = [
        ("fs.stat", "", f'fs.stat("{file}")', lambda: described(os.stat(file)), CALLS),
        ("fs.read", " of 4 KiB", f'fs.read("{file}")', lambda: Path(file).read_bytes().decode(), CALLS),
        ("proc.list", "", "proc.list()", processes, 20),
    ]
    measures = []
    for name, what, call, directly, calls in works:
        answered = Answered(name, await bench.run("lua", f"return {call}"))
        turns: list[_Turn] = []
        for number in range(TURNS + 1):  # in turns, as the machine has slow and quick moments
            turn = await _turn(bench, call, calls, answered, directly, is_gate_first=number % 2 == 0)
            if number:  # the first only warms up
                turns.append(turn)
        whole = [turn.whole_us for turn in turns]
        gate_us = quantile([turn.gate_us for turn in turns], 0.5)
        direct_us = quantile([turn.direct_us for turn in turns], 0.5)
        target = TIMES * direct_us + gate_us
        note = f"p50 of {TURNS} runs; target: {TIMES:g} x {direct_us:.1f} us directly, and {gate_us:.1f} us of gate"
        measures.append(Measure(
            f"{name}{what} from Lua", quantile(whole, 0.5), "us", target, spread=spread(whole),
            peers=(Peer("the same in Python", direct_us), Peer("the gate, for the same answer without work", gate_us)),
            note=note,
        ))  # fmt: skip
    return measures


class _Turn(NamedTuple):
    """One call, in microseconds, measured in three ways within a second."""

    whole_us: float
    gate_us: float
    direct_us: float


async def _turn(
    bench: Bench, call: str, calls: int, answered: Answered, directly: Callable[[], Any], *, is_gate_first: bool
) -> _Turn:
    """Return one turn; whichever comes second finds the machine as the first has left it, so they take turns too."""
    took = {}
    for table in (answered, None) if is_gate_first else (None, answered):
        took[table] = await _call_us(bench, call, calls, table)
    return _Turn(took[None], took[answered], await asyncio.to_thread(_direct_us, directly, calls))


def _process_list() -> Callable[[], Any]:
    """Return what lists processes as the call does, with no gate around it."""
    spec = load().find("proc.list")
    if spec is None or spec.implementation is None:
        raise RuntimeError("there is no call proc.list")
    implementation = spec.implementation
    given = {"host": Host(), "run": RunContext()}
    injected = [given[want] for want in spec.wants]
    defaults = {item.name: item.default for item in spec.parameters}

    def work() -> Any:
        value = implementation(*injected, **defaults)
        return asyncio.run(value) if asyncio.iscoroutine(value) else value

    return work


async def _call_us(bench: Bench, call: str, calls: int, table: Answered | None = None) -> float:
    elapsed_s: float = await bench.run("lua", LOOP.format(calls=calls, call=call), table)
    await bench.settle()
    return elapsed_s / calls * 1e6


def _direct_us(work: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls * 1e6


# A long stream --------------------------------------------------------------------------------------------------------


async def _stream(bench: Bench, place: Path) -> Measure:
    path = place / "large"
    with path.open("wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(STREAM_BYTES >> 20):
            file.write(block)
    text = STREAM.format(path=path)
    own = os.getpid()
    await bench.run("lua", STREAM.format(path=place / "file"))
    before, samples = pss_bytes(own), []
    for _ in range(3):
        size, elapsed_s = await bench.run("lua", text)
        if size != STREAM_BYTES:
            raise RuntimeError(f"{size} bytes came of {STREAM_BYTES}")
        samples.append(size / elapsed_s / 1e6)
    grown_mb = (pss_bytes(own) - before) / 1e6
    path.unlink()
    note = f"1 GiB in memory, p50 of 3; the agent's memory grew by {grown_mb:.1f} MB, a worker has 64 MiB at most"
    return Measure(
        "stream of a file to Lua", quantile(samples, 0.5), "MB/s", STREAM_TARGET_MB_S, Better.HIGHER, note=note
    )


# A walk ---------------------------------------------------------------------------------------------------------------


async def _walks(bench: Bench, place: Path) -> list[Measure]:
    root = place / "tree"
    await asyncio.to_thread(_plant, root)
    measures = []
    for stat, looks, name in ((False, False, "walk, names and types"), (True, True, "walk, with sizes and times")):
        ratios = []
        text = WALK.format(path=root, stat=str(stat).lower())
        for number in range(RUNS):
            count, elapsed_s = await bench.run("lua", text)
            expected, direct_s = await asyncio.to_thread(_direct_walk, root, looks)
            if count != expected:
                raise RuntimeError(f"the walk gave {count} entries of {expected}")
            if number:
                ratios.append(elapsed_s / direct_s)
        beside = "os.walk and os.lstat of each" if looks else "os.walk"
        note = f"{expected:,} entries from Lua, time over that of {beside} in Python, p50 of {len(ratios)} pairs"
        measures.append(Measure(name, quantile(ratios, 0.5), "x", WALK_TARGET, spread=spread(ratios), note=note))
    return measures


def _plant(root: Path) -> None:
    for number in range(DIRECTORIES):
        directory = root / f"{number // 100}" / f"{number}"
        directory.mkdir(parents=True)
        for name in range(FILES):
            (directory / f"file-{name}").touch()


def _direct_walk(root: Path, looks: bool) -> tuple[int, float]:
    began, count = time.perf_counter(), 0
    for base, directories, files in os.walk(root):
        count += len(directories) + len(files)
        if looks:
            for name in (*directories, *files):
                os.lstat(os.path.join(base, name))
    return count, time.perf_counter() - began
