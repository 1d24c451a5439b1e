"""Programs that are started, and the table of processes: what the way round them costs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import psutil

from bench.measure import Measure, Peer, quantile, spread
from stdlib.host import Host
from stdlib.proc import processes as table
from stdlib.processes.start import Processes, Program

PROGRAM = "/bin/true"
ROUNDS = 200
LISTINGS = 30
NULL = asyncio.subprocess.DEVNULL


async def measure() -> list[Measure]:
    """Take both."""
    return [await _starting(), _listing()]


async def _starting() -> Measure:
    """Start-to-exit of a program that does nothing, in turns with what asyncio itself starts."""
    async with Processes() as processes:

        async def ours() -> None:
            process = await processes.start(Program(PROGRAM, ("true",)))
            await process.wait()
            await process.close()

        async def theirs() -> None:
            process = await asyncio.create_subprocess_exec(
                PROGRAM, stdin=NULL, stdout=NULL, stderr=NULL, start_new_session=True
            )
            await process.wait()

        for way in (ours, theirs):
            await way()
        mine, other = await _in_turns(ours, theirs)
    return Measure(
        "program: start to exit", quantile(mine, 0.5) * 1000, "ms", spread=spread([each * 1000 for each in mine]),
        peers=(Peer("asyncio.create_subprocess_exec, which limits nothing", quantile(other, 0.5) * 1000),),
        note="limits, a reaper of its own for the tree, a control group where there is one",
    )  # fmt: skip


async def _in_turns(*ways: Callable[[], Awaitable[None]]) -> tuple[list[float], ...]:
    taken: tuple[list[float], ...] = tuple([] for _ in ways)
    for _ in range(ROUNDS):
        for samples, way in zip(taken, ways, strict=True):
            began = time.perf_counter()
            await way()
            samples.append(time.perf_counter() - began)
    return taken


def _listing() -> Measure:
    """The table of processes as proc.list makes it, beside a bare reading of the same files, and psutil."""
    names = [
        "pid", "ppid", "name", "username", "status", "nice", "num_threads", "create_time", "memory_info", "cpu_times",
    ]  # fmt: skip
    host = Host()
    ways: dict[str, Callable[[], object]] = {
        "proc.list": lambda: table(host),
        "bare": _bare,
        "psutil": lambda: list(psutil.process_iter(names)),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(LISTINGS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append((time.perf_counter() - began) * 1000)
    medians = {name: quantile(samples, 0.5) for name, samples in taken.items()}
    return Measure(
        "proc.list, without the gate", medians["proc.list"], "ms", target=2 * medians["bare"],
        spread=spread(taken["proc.list"]),
        peers=(
            Peer("the same files read and parsed in plain Python", medians["bare"]), Peer("psutil", medians["psutil"]),
        ),
        note=f"{len(table(host))} processes",
    )  # fmt: skip


def _bare() -> list[list[bytes]]:
    """The same work done directly: stat, owner and statm of each process, split into fields."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            os.stat(f"/proc/{name}")
            with open(f"/proc/{name}/stat", "rb") as stat, open(f"/proc/{name}/statm", "rb") as memory:
                head, _, rest = stat.read().rpartition(b")")
                found.append([head, *rest.split(), *memory.read().split()])
                [int(each) for each in rest.split()[1:24]]
        except OSError:
            continue
    return found
