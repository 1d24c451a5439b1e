"""``make soak``: many runs of all kinds on one sandbox, and then a look at what is left of them.

Most runs are honest and short; some fail, use up a limit, break the rules, crash or are cancelled. Each must end with
one outcome, the one that its kind is to have.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from arena import ALLOW, BINDINGS, DENY, HERE, LIMITS, Records, Table, gate, lua, native, python, table

from policies.model import Facts, Limits, Verdict
from sandbox.launch import SPARES, Options, Program, Sandbox
from sandbox.nursery import Zygote

RUNS = 10_000
AT_ONCE = 2
WARM_RUNS = 150  # of all kinds, before the first look
LOOK_EVERY = 250
MAX_AGENT_GROWTH_BYTES = 16 << 20
MAX_ZYGOTE_GROWTH_BYTES = 8 << 20
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Kind:
    """One kind of run, and how it is to end."""

    name: str
    weight: int
    program: Callable[[int], Program]
    status: str
    reason: str = ""  # a part of it
    limits: Limits = LIMITS
    is_cancelled: bool = False


def _result(number: int) -> Program:
    return lua(f"print({number}) return {{n = t.add({number}, 1), s = ('x'):rep(100)}}", p=number)


KINDS = (
    Kind("lua", 300, _result, "ok"),
    Kind("python", 250, lambda n: python("print('x')\nresult = [t.add(1, 2)] * 10"), "ok"),
    Kind("luajit", 30, lambda n: Program("luajit", "main.lua", {"main.lua": b"return t.add(1, 2)"}), "ok"),
    Kind("a large result", 20, lambda n: lua("return ('x'):rep(500000)"), "ok"),
    Kind("many calls", 20, lambda n: lua("for i = 1, 100 do t.add(i) end return 1"), "ok"),
    Kind("a call on a thread", 20, lambda n: lua("return t.slow()"), "ok"),
    Kind("much output", 20, lambda n: python("for n in range(3000):\n    print('x' * 200)"), "ok"),
    Kind("lua fails", 60, lambda n: lua("local a = 1\nerror('no')"), "error", "main.lua:2"),
    Kind("python fails", 60, lambda n: python("a = 1\nraise ValueError('no')"), "error", "main.py:2"),
    Kind("does not parse", 20, lambda n: lua("return ("), "error"),
    Kind("denied", 40, lambda n: lua("return t.denied()"), "denied", "test denies it"),
    Kind("wall", 10, lambda n: lua("while true do end"), "killed", "wall: ", replace(LIMITS, wall_s=0.03)),
    Kind("cpu", 10, lambda n: python("while True:\n    pass"), "killed", "cpu: ", replace(LIMITS, cpu_s=0.05)),
    Kind("memory", 10, lambda n: lua("local s = 'x' while true do s = s .. s end"), "killed", "memory: "),
    Kind("calls", 5, lambda n: lua("while true do t.add(1) end"), "killed", "calls: ", replace(LIMITS, calls=20)),
    Kind("a forbidden system call", 4, lambda n: native("fork"), "killed", "SIGSYS"),
    Kind("a crash", 4, lambda n: native("die", int(signal.SIGSEGV)), "killed", ""),
    Kind("breaks the rules", 4, lambda n: native("send", b"\xff" * 8), "killed", "over the limit"),
    Kind("leaves", 4, lambda n: native("leave", 3), "killed", "exit status 3"),
    Kind("cancelled", 5, lambda n: lua("while true do end"), "cancelled", is_cancelled=True),
)  # fmt: skip


@dataclass
class Report:
    """What was seen."""

    runs: int = 0
    elapsed_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    agent_bytes: list[int] = field(default_factory=list)  # resident sets, at each look
    zygote_bytes: list[int] = field(default_factory=list)
    zygotes: set[int] = field(default_factory=set)
    descriptors: list[int] = field(default_factory=list)

    @property
    def agent_growth_bytes(self) -> int:
        """From the first look to the last."""
        return self.agent_bytes[-1] - self.agent_bytes[0]

    @property
    def zygote_growth_bytes(self) -> int:
        """Of the largest that was seen over the first."""
        return max(self.zygote_bytes) - self.zygote_bytes[0]

    def lines(self) -> list[str]:
        """Return it for people."""
        kinds = ", ".join(f"{name} {number:,}" for name, number in sorted(self.outcomes.items()))
        mib = 2**20
        return [
            f"{self.runs:,} runs in {self.elapsed_s:.0f} s, {self.runs / self.elapsed_s:.0f} runs/s, "
            f"load {os.getloadavg()[0]:.1f}: {kinds}",
            f"agent: {self.agent_bytes[0] / mib:.1f} MiB resident before, {self.agent_bytes[-1] / mib:.1f} after "
            f"(may grow by {MAX_AGENT_GROWTH_BYTES // mib})",
            f"zygotes: {self.zygote_bytes[0] / mib:.1f} MiB resident first, at most {max(self.zygote_bytes) / mib:.1f} "
            f"(may grow by {MAX_ZYGOTE_GROWTH_BYTES // mib}); {len(self.zygotes)} of them were seen",
            f"descriptors: {self.descriptors[0]} before, {self.descriptors[-1]} after",
        ]


def resident_bytes(process: int | str) -> int:
    """Return the resident set of a process."""
    with open(f"/proc/{process}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children_of(process: int) -> set[int]:
    """Return the processes whose parent it is."""
    found: set[int] = set()
    for task in os.listdir(f"/proc/{process}/task"):
        with (
            suppress(FileNotFoundError, ProcessLookupError),  # a thread that ended meanwhile has none
            open(f"/proc/{process}/task/{task}/children", encoding="ascii") as listed,
        ):
            found |= {int(pid) for pid in listed.read().split()}
    return found


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for the other side to get there."""
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > ends:
            raise AssertionError(what)
        await asyncio.to_thread(os.sched_yield)


def _calls() -> Table:
    """Return a fresh table: the calls of a double remember what was done with them."""
    made = table()
    made["t.denied"] = made["t.add"]
    return made


def _decide(name: str, _facts: Facts) -> Verdict:
    return DENY if name == "t.denied" else ALLOW


class Soak:
    """Runs on one sandbox.

    Args:
        sandbox: Started with :func:`options`.
        seed: Chooses the kinds.
    """

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._sandbox = sandbox
        self._random = random.Random(seed)
        self._own = children_of(os.getpid()) - {sandbox.zygote_pid}
        self.report = Report()

    async def many(self, runs: int) -> None:
        """Run so many, a few at a time."""
        weights = [kind.weight for kind in KINDS]
        numbers = iter(list(enumerate(self._random.choices(KINDS, weights, k=runs))))

        async def work() -> None:
            for number, kind in numbers:
                await self._one(number, kind)
                if number % LOOK_EVERY == 0:
                    self._look_at_zygote()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def every_kind(self) -> None:
        """Run one of each."""
        for number, kind in enumerate(KINDS):
            await self._one(number, kind)

    async def _one(self, number: int, kind: Kind) -> None:
        records = Records()
        calls = gate(records=records, limits=kind.limits, decide=_decide, calls=_calls())
        running = asyncio.ensure_future(self._sandbox.run(kind.program(number), calls, kind.limits))
        if kind.is_cancelled:
            for _ in range(self._random.randrange(4)):
                await asyncio.to_thread(os.sched_yield)
            running.cancel()
        try:
            outcome = await running
        except asyncio.CancelledError:
            if not kind.is_cancelled:
                raise
            status, reason, seen = "cancelled", "", len(records.of("call"))
        else:
            status, reason, seen = outcome.status, outcome.reason or "", len(outcome.calls)
        self.report.runs += 1
        self.report.outcomes[status] += 1
        if status != kind.status or kind.reason not in reason:
            self.report.wrong.append(f"{kind.name}: {status}: {reason}")
        if len(records.of("call")) != seen:
            self.report.wrong.append(f"{kind.name}: {seen} calls gave {len(records.of('call'))} records")

    def _look_at_zygote(self) -> None:
        pid = self._sandbox.zygote_pid
        if pid is not None:
            self.report.zygotes.add(pid)
            self.report.zygote_bytes.append(resident_bytes(pid))

    async def _settled(self) -> Zygote:
        """Return the one zygote, when it is the only one, after runs that give it all its spare workers."""
        for kind in KINDS[:SPARES]:
            await self._one(0, kind)
        sandbox = self._sandbox
        await until(lambda: children_of(os.getpid()) - self._own == {sandbox.zygote_pid}, "zygotes were left behind")
        if sandbox._zygote is None:
            raise AssertionError("there is no zygote")
        return sandbox._zygote

    async def look(self) -> None:
        """Wait until nothing is under way, and note what there is."""
        report = self.report
        zygote = await self._settled()
        if zygote.active < SPARES:  # it has only just taken over
            zygote = await self._settled()
        spares = self._sandbox._spares
        if spares is None:
            raise AssertionError("there are no spare workers")
        # A worker that is yet to be reaped counts too: only when all of them wait is nothing else there.
        await until(
            lambda: len(spares._waiting) == zygote.active == SPARES, "the agent does not know that workers have ended"
        )
        await until(lambda: len(children_of(zygote.pid)) == SPARES, "workers were left behind")
        # Of one that waits the pidfd may be here or not, which counts too.
        await until(
            lambda: all(started.worker.cpu_s() is not None for started in spares._waiting.values()), "nobody was born"
        )
        gc.collect()
        self._look_at_zygote()
        report.agent_bytes.append(resident_bytes("self"))
        if report.descriptors:  # a worker that compiles ahead may have begun meanwhile; what is left for good stays
            with suppress(AssertionError, TimeoutError):
                await until(lambda: len(os.listdir("/proc/self/fd")) <= report.descriptors[0], "descriptors are left")
        report.descriptors.append(len(os.listdir("/proc/self/fd")))


def options() -> Options:
    """Return the options of a sandbox that knows all kinds."""
    return Options(entry="unruly", import_path=(HERE,))


async def soak(runs: int, seed: int = 0) -> Report:
    """Run so many and return what was seen; ``AssertionError`` if something is left of them."""
    sandbox = await Sandbox.start(bindings=BINDINGS, options=options())
    try:
        one = Soak(sandbox, seed)
        await one.every_kind()
        await one.many(min(WARM_RUNS, runs // 3))
        await one.look()
        began = time.monotonic()
        before = one.report.runs
        await one.many(runs)
        one.report.elapsed_s = time.monotonic() - began
        done = one.report.runs - before
        await one.look()
        one.report.runs = done
    finally:
        await sandbox.close()
    left = children_of(os.getpid()) - one._own
    if left:
        raise AssertionError(f"processes are left after the end: {left}")
    return one.report


def problems(report: Report) -> list[str]:
    """Return what does not hold."""
    found = list(report.wrong)
    if report.agent_growth_bytes > MAX_AGENT_GROWTH_BYTES:
        found.append(f"the agent grew by {report.agent_growth_bytes / 2**20:.1f} MiB")
    if report.zygote_growth_bytes > MAX_ZYGOTE_GROWTH_BYTES:
        found.append(f"a zygote grew by {report.zygote_growth_bytes / 2**20:.1f} MiB")
    if report.descriptors[-1] > report.descriptors[0]:
        found.append(f"descriptors are left: {report.descriptors[0]} before, {report.descriptors[-1]} after")
    return found


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=0)
    chosen: Any = parser.parse_args(arguments)
    report = asyncio.run(soak(chosen.runs, chosen.seed))
    print("\n".join(report.lines()))
    found = problems(report)
    for problem in found[:20]:
        print(f"FAILED: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
