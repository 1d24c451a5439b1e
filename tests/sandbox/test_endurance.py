"""Many runs of all kinds leave nothing behind, and a zygote that dies at any moment loses no run without a word."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from arena import BINDINGS, LIMITS, Entry, Records, Table, gate, lua, python
from soak import children_of, problems, soak, until

from protocol.errors import UnavailableError
from sandbox.launch import Options, Sandbox
from sandbox.outcome import LOST

RUNS = 300
KILLS = 12
RUNS_BETWEEN = 12  # kills, about


async def test_runs_of_all_kinds_leave_nothing_behind() -> None:
    """The small version of ``make soak``: each run ends as its kind is to end; no process, descriptor or memory."""
    report = await soak(RUNS, seed=1)
    print(*report.lines(), sep="\n")
    assert problems(report) == []
    assert report.runs >= RUNS
    assert set(report.outcomes) == {"ok", "error", "denied", "killed", "cancelled"}


class Log:
    """What the runs beside a dying zygote did."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.reasons: set[str] = set()
        self.finished = asyncio.Condition()

    async def note(self, what: str) -> None:
        async with self.finished:
            self.done[what] += 1
            self.finished.notify_all()

    async def wait_for(self, runs: int) -> None:
        async with self.finished:
            await self.finished.wait_for(lambda: self.done.total() >= runs)


@pytest.mark.parametrize("seed", range(3))
async def test_a_zygote_that_dies_at_any_moment_loses_no_run_without_a_word(seed: int) -> None:
    """Each run in flight is told once: as ended, as lost, or as one that never began. Its calls are whole on record."""
    chance, log, is_over = random.Random(seed), Log(), asyncio.Event()
    performed = 0

    async def add(*_: Any) -> int:
        nonlocal performed
        performed += 1
        return performed

    programs = (
        lua("return t.add(1)"),
        python("result = [t.add(n) for n in range(5)]"),
        lua("for n = 1, 20 do t.add(n) end return 1"),
        lua("return t.slow()"),
    )
    calls = Table({"t.add": Entry(add), "t.slow": Entry(lambda *_: 1, is_blocking=True)})
    recorded = 0

    async def work(sandbox: Sandbox, own: random.Random) -> None:
        nonlocal recorded
        while not is_over.is_set():
            records = Records()
            one = gate(calls, records)
            try:
                outcome = await sandbox.run(own.choice(programs), one, LIMITS)
            except UnavailableError as error:
                assert records.kept == [], "it is said that nothing ran"
                log.reasons.add(str(error))
                await log.note("never began")
                continue
            assert len(outcome.calls) == len(records.of("call"))
            recorded += sum(kept["call"] == "t.add" for kept in records.of("call"))
            if outcome.status != "ok":
                assert (outcome.status, outcome.reason) == ("killed", LOST)
            await log.note(outcome.status)

    before = children_of(os.getpid())
    sandbox = await Sandbox.start(bindings=BINDINGS, options=Options(runs_per_zygote=40))
    try:
        async with asyncio.TaskGroup() as working:  # one that finds a fault ends the test, which else waited for it
            for n in range(6):
                working.create_task(work(sandbox, random.Random(seed * 100 + n)))
            for number in range(KILLS):
                await log.wait_for(number * RUNS_BETWEEN + chance.randrange(RUNS_BETWEEN))
                for _ in range(chance.randrange(40)):  # turns of the loop: any moment of a run
                    await asyncio.sleep(0)
                pid = sandbox.zygote_pid
                if pid is not None:
                    with suppress(ProcessLookupError):  # it was worn and has just ended by itself
                        os.kill(pid, signal.SIGKILL)
            await until(lambda: sandbox.zygote_pid != pid, "nobody heard that the last one died")
            await log.wait_for(log.done.total() + 20)
            is_over.set()
        for _ in range(10):
            assert (await sandbox.run(lua("return 1"), gate(), LIMITS)).status == "ok"
        await until(lambda: len(children_of(os.getpid()) - before) == 1, "zygotes were left behind")
    finally:
        await sandbox.close()
    print(dict(log.done), log.reasons)
    assert log.done["ok"] > KILLS
    assert set(log.done) <= {"ok", "killed", "never began"}
    assert recorded == performed
