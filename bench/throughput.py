"""Many short runs at once, how much slower a loop is behind the walls, and what a worker that waits holds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from lupa import lua54

from bench.measure import Better, Measure, quantile, spread
from bench.memory import children, pss_bytes
from bench.workers import Bench
from policies.model import Effect, Facts, Limits, Verdict
from protocol.tiers import Tier
from sandbox import python_runtime
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import Program, Sandbox
from sandbox.parties import Session
from sandbox.runtimes import Binding, RuntimeLimits, Taken

SHORT = {"lua": "return 1", "python": "result = 1"}
RUNS = 2_000
WARM_RUNS = 100
AT_ONCE = 8  # runs under way, so that no core waits for a round trip
RUNS_TARGET_PER_S = 200.0

LOOP_PAIRS = 11  # one run bare and one jailed, in turn, so that both meet the same machine
LOOP_TARGET = 1.05
#: Each times itself, so that neither the start of a worker nor compiling is in the figure.
LOOPS = {
    "lua": """
local began, sum, kept = time.mono(), 0, {{}}
for n = 1, {count} do
  sum = (sum + n * n) % 1000003
  kept[n % 100 + 1] = sum
end
return {{time.mono() - began, sum}}
""",
    "python": """
def main():
    began, total, kept = time.mono(), 0, [0] * 100
    for n in range({count}):
        total = (total + n * n) % 1000003
        kept[n % 100] = total
    return [time.mono() - began, total]
""",
}
COUNTS = {"lua": 5_000_000, "python": 400_000}  # about 0.2 s each

PSS_TARGET_MB = 16.0
WAITS = {"lua": "return bench.wait()", "python": "result = bench.wait()"}
WAIT_BINDINGS = [{"name": "bench.wait", "parameters": [], "local": False}]


async def measure() -> list[Measure]:
    """Take all of them."""
    async with Bench.opened() as bench:
        measures = [await _runs_per_s(bench, language) for language in SHORT]
        measures += [await _loop(bench, language) for language in LOOPS]
    return measures + [await _pss(language) for language in WAITS]


# Short runs -----------------------------------------------------------------------------------------------------------


async def _runs_per_s(bench: Bench, language: str) -> Measure:
    await _many(bench, language, WARM_RUNS)
    began = time.perf_counter()
    await _many(bench, language, RUNS)
    per_s = RUNS / (time.perf_counter() - began)
    cores = len(os.sched_getaffinity(0))
    note = f"one line, {AT_ONCE} at once, {RUNS} runs in workers of their own; {cores} cores, the agent's loop on one"
    return Measure(f"short runs, {language}", per_s, "1/s", RUNS_TARGET_PER_S, Better.HIGHER, note=note)


async def _many(bench: Bench, language: str, runs: int) -> None:
    waiting = iter(range(runs))

    async def work() -> None:
        for _ in waiting:
            await bench.run(language, SHORT[language])

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


# A loop ---------------------------------------------------------------------------------------------------------------


async def _loop(bench: Bench, language: str) -> Measure:
    text = LOOPS[language].format(count=COUNTS[language])
    ratios = []
    for number in range(LOOP_PAIRS + 1):
        bare_s, bare_sum = BARE[language](text)
        jailed_s, jailed_sum = await bench.run(language, text)
        if bare_sum != jailed_sum:
            raise RuntimeError(f"the loop in {language} gives {jailed_sum} in the jail and {bare_sum} bare")
        if number:  # the first only warms up
            ratios.append(jailed_s / bare_s)
    note = f"time of a loop in a worker over its time {BARE_TOLD[language]}, p50 of {LOOP_PAIRS} pairs"
    name = f"loop behind the walls, {language}"
    return Measure(name, quantile(ratios, 0.5), "x", LOOP_TARGET, spread=spread(ratios), note=note)


def bare_lua(text: str) -> tuple[float, int]:
    """Run the loop in the same Lua, with nothing around it but a clock."""
    state = lua54.LuaRuntime(unpack_returned_tuples=True)
    state.globals()["time"] = state.table_from({"mono": time.perf_counter})
    told = state.execute(text)
    return float(told[1]), int(told[2])


class _Clock:
    """A channel that knows the time and nothing else."""

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> float:
        del name, args, named
        return time.perf_counter()

    def pull(self, stream: int) -> Taken:
        raise OSError(f"there is no stream {stream}")

    def release(self, handle: int) -> None:
        del handle

    def output(self, data: bytes) -> None:
        del data


def bare_python(text: str) -> tuple[float, int]:
    """Run the loop, compiled by RestrictedPython and with the guards of scripts, in this process."""
    runtime = python_runtime.create([Binding("time.mono", ())], _Clock(), RuntimeLimits(64 << 20))
    result = runtime.execute("main.py", {"main.py": text.encode()}, {})
    if not result.ok:
        raise RuntimeError(f"the loop fails: {result.error_message}")
    return float(result.value[0]), int(result.value[1])


BARE: dict[str, Callable[[str], tuple[float, int]]] = {"lua": bare_lua, "python": bare_python}
BARE_TOLD = {"lua": "in a bare lupa state", "python": "as RestrictedPython compiled it, without a jail"}


# A worker that waits --------------------------------------------------------------------------------------------------


class _Waiting:
    """A catalogue of one call, which waits until it is told to go on."""

    tier = Tier.COMPUTE
    changes = False
    is_blocking = False
    prepare_at_once = None
    looks_up = ()
    lists = ()
    gives = "value"
    facts = (Facts(),)

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    def find(self, _name: str) -> _Waiting:
        return self

    def bind(self, args: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        return {"args": args, **named}

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[_Waiting]:
        del host, run, bound, passage
        yield self

    async def perform(self) -> bool:
        self.begun.set()
        return await self.go_on.wait()


class _Unrecorded:
    """A recorder for a call that is no effect and that nobody will ask about."""

    def check_room(self) -> None: ...

    def record(self, **fields: Any) -> None: ...

    async def intend(self, **fields: Any) -> None: ...


@asynccontextmanager
async def _waiting_worker(language: str) -> AsyncIterator[int]:
    """Give the process of a worker whose script waits for its call."""
    sandbox = await Sandbox.start(bindings=WAIT_BINDINGS)
    try:
        call, limits = _Waiting(), Limits()
        gate = Gate(
            call, lambda *_: Verdict(Effect.ALLOW, "bench"), _Unrecorded(), Session("s", "r", "bench"), Budget(limits)
        )
        name = {"lua": "main.lua", "python": "main.py"}[language]
        program = Program(language, name, {name: WAITS[language].encode()}, {})
        running = asyncio.create_task(sandbox.run(program, gate, limits))
        await call.begun.wait()
        (worker,) = children(sandbox.zygote_pid or 0)
        yield worker
        call.go_on.set()
        await running
    finally:
        await sandbox.close()


async def _pss(language: str) -> Measure:
    async with _waiting_worker(language) as worker:
        held = pss_bytes(worker) / 1e6
    note = "one worker and its zygote, so that each counts half of what they share"
    return Measure(f"worker that waits for a call, {language}, PSS", held, "MB", PSS_TARGET_MB, note=note)
