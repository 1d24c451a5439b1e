"""A worker from request to outcome, and one gated call: the real jail, gate and policy, the agent's recorder."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.memory import keep_what_is_loaded
from agent.recorder import Recorder
from agent.spool import Spool
from bench import first, lived, peers
from bench.measure import Measure, Peer, spread
from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.load import builtin
from policies.model import Facts, Verdict
from protocol.signing import PrivateKey
from protocol.tiers import Tier
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.launch import DEFAULT_ENTRY, SPARES, Options, Program, Sandbox
from sandbox.parties import CallTable, Session
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.kept_objects import KeptObjects

WARM_RUNS = 20
COLD_RUNS = 200
COLD_TARGET_MS = 1.8
TIMES_BWRAP = 2.5
COLD = {"lua": "return 1", "python": "result = 1"}

SPARE_RUNS = 100
SPARE_TARGET_MS = 0.6
SPARE_PAUSE_S = 0.04  # for the next spare to be made and locked in, as it is between the runs of a schedule

CALLS = 2_000  # of one run; well below the tier's limit of 10,000
CALL_RUNS = 15
CALL_TARGET_US = 60.0
LOOPS = {
    "lua": "for _ = 1, {calls} do {call}() end\n",
    "python": "for _ in range({calls}):\n    {call}()\n",
}
#: Called in the measure -> what to say of it. Both are answered on the event loop.
CALLED = {"time.now": "answered on the event loop", "sys.uptime": "reads a small file of /proc"}


class TimedRecorder(Recorder):
    """The agent's recorder, which also notes when each call came to its record."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.at_ns: list[int] = []

    def record(self, **fields: Any) -> None:
        """Append one record."""
        super().record(**fields)
        self.at_ns.append(time.perf_counter_ns())


class Bench:
    """A sandbox with the agent's own gate, the policy of a tier and a ledger on disk."""

    def __init__(self, sandbox: Sandbox, recorder: TimedRecorder, tier: Tier) -> None:
        policy = builtin(tier)
        self._allowed = Effective((Layer(policy.name, policy.rules, policy.limits),))
        self._sandbox = sandbox
        self._recorder = recorder
        self._host = Host(kept=KeptObjects("/var/lib/outrider"))  # looked at as an agent's is
        self._number = 0

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, spares: int = SPARES, tier: Tier = Tier.OBSERVE, entry: str = DEFAULT_ENTRY
    ) -> AsyncIterator[Bench]:
        """Start it, with a spool in a temporary directory and so many workers that wait, at one tier.

        Args:
            spares: Workers that wait.
            tier: Of the policy.
            entry: The module that says what a worker does.
        """
        with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory:
            spool = Spool.open(Path(directory) / "spool.sqlite", on_broken=_broken)
            sandbox = await Sandbox.start(bindings=load().bindings(), options=Options(spares=spares, entry=entry))
            recorder = TimedRecorder(spool, SystemClock(), agent_id="a" * 64, key=PrivateKey.generate())
            load()
            keep_what_is_loaded()
            try:
                yield cls(sandbox, recorder, tier)
            finally:
                await sandbox.close()
                spool.close()

    async def run(self, language: str, text: str, table: CallTable | None = None) -> Any:
        """Run one script and return its result; anything but ``ok`` is a failure of the measurement.

        Args:
            language: Of the script.
            text: Of the script.
            table: Its calls; the catalogue if that is None.
        """
        return (await self.timed(language, text, table))[1]

    async def timed(self, language: str, text: str, table: CallTable | None = None) -> tuple[int, Any]:
        """Do as :meth:`run`; return also when the sandbox was asked, in nanoseconds of the performance counter."""
        self._number += 1
        session = Session(f"s{self._number}", f"r{self._number}", "bench")
        limits = self._allowed.limits

        def gate() -> Gate:
            return Gate(
                table or load(), self._decide, self._recorder, session, Budget(limits), self._host,
                RunContext(limits=limits), decide_below=partial(decide_below, self._allowed),
            )  # fmt: skip

        name = {"lua": "main.lua", "python": "main.py"}[language]
        program = Program(language, name, {name: text.encode()}, {})
        asked_ns = time.perf_counter_ns()
        outcome = await self._sandbox.run(program, gate, limits)
        if outcome.status != "ok":
            raise RuntimeError(f"a {language} script ended {outcome.status}: {outcome.reason}")
        return asked_ns, outcome.result

    def periods_us(self) -> list[float]:
        """Return the time from each call's record to the next one's since the last look."""
        at_ns, self._recorder.at_ns = self._recorder.at_ns, []
        return [(after - before) / 1000 for before, after in pairwise(at_ns)]

    async def settle(self) -> None:
        """Wait until what was recorded is on disk, so that no run pays for the one before."""
        await self._recorder.commit([])

    def _decide(self, call: str, facts: Facts) -> Verdict:
        return decide_effective(self._allowed, call, facts)


def _broken(error: Exception) -> None:
    raise error


async def measure_cold() -> list[Measure]:
    """Run one line in a fresh worker many times."""
    async with Bench.opened(spares=0) as bench:
        lua = await _cold(bench, "lua")
        python = await _cold(bench, "python")
    alive = await _lived()
    bwrap = await asyncio.to_thread(peers.bubblewrap)
    with on_one_processor():
        async with Bench.opened(spares=0) as bench:
            bound = await _cold(bench, "lua")
        alive_bound = await _lived()
        bwrap_bound = await asyncio.to_thread(peers.bubblewrap)
    async with Bench.opened(spares=0, entry="bench.bare") as bench:
        bare = Peer("a fork of the zygote that does nothing, reaped", await bench.run("lua", COLD["lua"]))
    async with Bench.opened(entry="bench.first") as bench:
        warm = {language: await _from_spare(bench, language) for language in first.SCRIPTS}
    others = (bwrap, bare)
    told = "from request to the reaped end, heard by the agent, p50"
    return [
        Measure("cold jailed worker, Lua", lua["p50"], "ms", COLD_TARGET_MS, spread=lua, peers=others, note=told),
        _alive("the same from its fork until it is reaped", alive, bwrap),
        Measure(
            "the same on one processor, Lua",
            bound["p50"],
            "ms",
            COLD_TARGET_MS,
            spread=bound,
            peers=(bwrap_bound,),
            note="as bwrap beside it: how soon other processors wake is the host's",
        ),
        _alive("that from its fork until it is reaped", alive_bound, bwrap_bound),
        Measure("cold jailed worker, Python", python["p50"], "ms", spread=python, peers=others, note=told),
        *(
            Measure(
                f"spare jailed worker, {language}",
                found["p50"],
                "ms",
                SPARE_TARGET_MS,
                spread=found,
                note="from request to the script's first instruction, which tells the time, p50",
            )
            for language, found in warm.items()
        ),
    ]


@contextmanager
def on_one_processor() -> Iterator[None]:
    """Bind this thread, and what is started from it, to one processor meanwhile.

    On a virtual machine a processor that has nothing to do sleeps until the host wakes it, which takes as long as a
    fork or nothing, by the minute. ``bwrap`` stays on one by itself; agent, zygote and worker wake each other.
    """
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def _alive(name: str, found: dict[str, float], bwrap: Peer) -> Measure:
    target = None if bwrap.value is None else bwrap.value / TIMES_BWRAP
    note = f"target: {TIMES_BWRAP:g} x as quick as bwrap"
    return Measure(name, found["p50"], "ms", target, spread=found, peers=(bwrap,), note=note)


async def _lived() -> dict[str, float]:
    """Return how long workers lived, as their zygote saw it; it notes them in the order in which they end."""
    async with Bench.opened(spares=0, entry="bench.lived") as bench:
        await _cold(bench, "lua")
        return spread([ns / 1_000_000 for ns in (await bench.run("lua", lived.SCRIPT))[-COLD_RUNS:]])


async def _cold(bench: Bench, language: str) -> dict[str, float]:
    samples = []
    for number in range(WARM_RUNS + COLD_RUNS):
        asked_ns, _ = await bench.timed(language, COLD[language])
        if number >= WARM_RUNS:
            samples.append((time.perf_counter_ns() - asked_ns) / 1_000_000)
    return spread(samples)


async def _from_spare(bench: Bench, language: str) -> dict[str, float]:
    samples = []
    for number in range(WARM_RUNS + SPARE_RUNS):
        await asyncio.sleep(SPARE_PAUSE_S)
        asked_ns, began_ns = await bench.timed(language, first.SCRIPTS[language])
        if number >= WARM_RUNS:
            samples.append((began_ns - asked_ns) / 1_000_000)
    return spread(samples)


async def measure_calls() -> list[Measure]:
    """Make many calls from one script; each is decided and recorded."""
    peer = Peer("bare socketpair round trip", await asyncio.to_thread(peers.socketpair_us))
    measures = []
    async with Bench.opened() as bench:
        for call, told in CALLED.items():
            for language, title in (("lua", "Lua"), ("python", "Python")):
                found = await _calls(bench, language, call)
                target = CALL_TARGET_US if language == "lua" else None
                note = f"{told}; from one to the next, p50 of {CALL_RUNS} runs of {CALLS} (mean {found['mean']:.0f})"
                name = f"gated call from {title}, {call}"
                measures.append(Measure(name, found["p50"], "us", target, spread=found, peers=(peer,), note=note))
    return measures


async def _calls(bench: Bench, language: str, call: str) -> dict[str, float]:
    text = LOOPS[language].format(calls=CALLS, call=call)
    samples: list[float] = []
    for number in range(CALL_RUNS + 1):
        await bench.run(language, text)
        periods_us = bench.periods_us()
        await bench.settle()
        if number:  # the first only warms up
            samples += periods_us
    return {**spread(samples), "mean": sum(samples) / len(samples)}
