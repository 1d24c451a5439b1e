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

CALLS = 500  # of one turn
RUNS = 5  # of a walk
TURNS = 20  # of a small call and its gate, and of the same work directly
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
ALTERNATELY = """\
for _ = 1, {calls} do
    {call}{arguments}
    {under}{arguments}
end
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


class Beside(Catalogue):
    """The catalogue, with a call that does no work under the name of another: it gives an answer that was made before.

    All else is as it is for the call that does: its path is opened and decided on, on the loop or on a thread; its
    answer goes to the script; it is on record. That is what the gate costs. The answer is a new object each time, as
    that of every call is: what a thread made lies in the cache of its processor, and the loop fetches it from there.
    One object for all would stay in the loop's own cache, where no such answer is: 4 KiB of text then cost 7 us less.

    Args:
        name: Of the call.
        answer: What it gives.
        under: The other name, of a call that takes what it takes, first of all.
    """

    def __init__(self, name: str, answer: Any, under: str) -> None:
        spec = load().find(name)
        if spec is None or spec.implementation is None:
            raise RuntimeError(f"there is no call {name}")

        anew: Callable[[], Any] = answer.encode().decode if isinstance(answer, str) else answer.copy

        def given(*_: Any, **__: Any) -> Any:
            return anew()

        async def given_later(*_: Any, **__: Any) -> Any:
            return given()

        is_async = asyncio.iscoroutinefunction(spec.implementation)
        answered = replace(spec, name=under, implementation=given_later if is_async else given)
        super().__init__({**{each.name: each for each in load()}, under: answered})


class _Work(NamedTuple):
    """One call, the same work done directly, and how often both are done in one turn."""

    name: str
    what: str  # of it, in the table
    arguments: str  # as in Lua
    under: str  # see ``Beside``
    directly: Callable[[], Any]
    calls: int


async def _small(bench: Bench, place: Path) -> list[Measure]:
    file = str(place / "file")
    works = [
        _Work("fs.stat", "", f'("{file}")', "fs.lstat", lambda: described(os.stat(file)), CALLS),
        _Work("fs.read", " of 4 KiB", f'("{file}")', "fs.lstat", lambda: Path(file).read_bytes().decode(), CALLS),
        _Work("proc.list", "", "()", "proc.self", _process_list(), 20),
    ]
    return [await _beside_its_gate(bench, work) for work in works]


async def _beside_its_gate(bench: Bench, work: _Work) -> Measure:
    """Measure a call and its gate alone, one after the other in one script, so that they share every slow moment."""
    table = Beside(work.name, await bench.run("lua", f"return {work.name}{work.arguments}"), work.under)
    text = ALTERNATELY.format(calls=work.calls, call=work.name, under=work.under, arguments=work.arguments)
    whole: list[float] = []
    beyond: list[float] = []
    direct: list[float] = []
    for number in range(TURNS + 1):
        await bench.run("lua", text, table)
        periods_us = bench.periods_us()  # from one record to the next: the first is that of a gate
        await bench.settle()
        direct_us = await asyncio.to_thread(_direct_us, work.directly, work.calls)
        if number:  # the first only warms up
            whole += periods_us[1::2]
            beyond += [whole_us - gate_us for gate_us, whole_us in zip(periods_us[::2], periods_us[1::2], strict=False)]
            direct.append(direct_us)
    whole_us, direct_us = quantile(whole, 0.5), quantile(direct, 0.5)
    gate_us = whole_us - quantile(beyond, 0.5)
    note = f"p50 of {len(whole)}; target: {TIMES:g} x {direct_us:.1f} us directly, and {gate_us:.1f} us of gate"
    return Measure(
        f"{work.name}{work.what} from Lua", whole_us, "us", TIMES * direct_us + gate_us, spread=spread(whole),
        peers=(Peer("the same in Python", direct_us), Peer("the gate, for the same answer without work", gate_us)),
        note=note,
    )  # fmt: skip


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
