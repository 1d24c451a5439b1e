"""The launcher on real zygotes and workers: how runs end, whatever a worker or a zygote dies of, and what is left.

That no test leaves a process behind is held for each of them, by the fixtures of all tests.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import select
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from arena import BINDINGS, LIMITS, Entry, Records, Table, gate, lua, native, only, python, table

from protocol.errors import TooLargeError, UnavailableError
from sandbox import nursery, runs
from sandbox.gate import Gate
from sandbox.launch import Options, Program, Sandbox
from sandbox.runs import EXIT_GRACE_S
from sandbox.spares import Kind, start

PATIENCE_S = 60.0


async def run(sandbox: Sandbox, program: Program, limits: Any = LIMITS, calls: Table | None = None) -> Any:
    return await sandbox.run(program, gate(calls, limits=limits), limits)


def children() -> set[int]:
    """Processes whose parent is this one: started zygotes, as workers belong to those."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listed:
        return {int(pid) for pid in listed.read().split()}


def workers_of(zygote: int) -> set[int]:
    with open(f"/proc/{zygote}/task/{zygote}/children", encoding="ascii") as listed:
        return {int(pid) for pid in listed.read().split()}


async def until(is_so: Any, what: str) -> None:
    """Wait for the other side to get there, one turn of the loop at a time."""
    ends = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends, what
        await asyncio.wait_for(asyncio.to_thread(os.sched_yield), PATIENCE_S)


# How a run ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["namereplace", "xmlcharrefreplace", "backslashreplace", "replace", "ignore"])
async def test_what_an_encoding_lacks_is_replaced_in_every_way(sandbox: Sandbox, how: str) -> None:
    """A locked worker cannot import what the names of characters are looked up in."""
    text = "\u00e9\u2022"
    outcome = await run(sandbox, python(f"result = {text!a}.encode('ascii', '{how}').decode()"))
    assert outcome.result == text.encode("ascii", how).decode()


@pytest.mark.parametrize("program", [lua("return 6 * 7"), python("result = 6 * 7")], ids=["lua", "python"])
async def test_a_value_comes_back(sandbox: Sandbox, program: Program) -> None:
    """With what it cost, and which walls stood."""
    outcome = await run(sandbox, program)
    assert (outcome.status, outcome.result, outcome.reason) == ("ok", 42, None)
    assert 0 < outcome.usage.wall_ms < PATIENCE_S * 1000
    assert outcome.usage.peak_bytes > 2**20
    assert [wall.name for wall in outcome.walls if wall.state == "off"] == []


@pytest.mark.parametrize(
    ("program", "where"),
    [(lua("local a = 1\nerror('no')"), "main.lua:2"), (python("a = 1\nraise ValueError('no')"), "main.py:2")],
    ids=["lua", "python"],
)
async def test_an_error_names_its_line(sandbox: Sandbox, program: Program, where: str) -> None:
    """What an author needs first."""
    outcome = await run(sandbox, program)
    assert outcome.status == "error"
    assert outcome.where == where


@pytest.mark.parametrize(
    "program", [lua("while true do end"), python("while True:\n    pass\n")], ids=["lua", "python"]
)
async def test_the_wall_deadline_ends_a_loop(sandbox: Sandbox, program: Program) -> None:
    """By SIGKILL from outside."""
    outcome = await run(sandbox, program, replace(LIMITS, wall_s=0.2, cpu_s=5.0))
    assert outcome.status == "killed"
    assert re.fullmatch(r"wall: [0-9.]+ s used, the limit is 0\.2 s", outcome.reason or "")


async def test_the_cpu_limit_ends_a_loop_before_its_deadline(sandbox: Sandbox) -> None:
    """Looked at from outside, more exactly than the kernel's own limit of whole seconds."""
    began = time.monotonic()
    outcome = await run(sandbox, lua("while true do end"), replace(LIMITS, wall_s=9.0, cpu_s=0.2))
    assert outcome.status == "killed"
    assert re.fullmatch(r"cpu: [0-9.]+ s used, the limit is 0\.2 s", outcome.reason or "")
    assert time.monotonic() - began < 5


async def test_memory_is_bounded(sandbox: Sandbox) -> None:
    """The script hears of it, and no process of the host is in danger."""
    outcome = await run(sandbox, lua("local s = 'x' while true do s = s .. s end"))
    assert outcome.status == "killed"
    assert (outcome.reason or "").startswith("memory: not enough")


FULL_AND_DEEP = """
kept = []
for size in (100000, 10000, 1000, 100, 10, 1):
    try:
        while True:
            kept.append([0] * size)
    except MemoryError:
        pass
kept.pop()
kept.pop()

def deeper(_):
    return sorted([2, 1], key=deeper)

deeper(0)
"""


async def test_what_has_no_memory_left_may_still_call(sandbox: Sandbox) -> None:
    """The stack is not made of what the script may use up: that would be a crash, and a zygote stands only so many."""
    first = sandbox.zygote_pid
    outcome = await run(sandbox, python(FULL_AND_DEEP))
    reason = outcome.reason or ""
    assert (outcome.status, "RecursionError" in reason) == ("error", True) or "memory: not enough" in reason, outcome
    assert (await run(sandbox, lua("return 1"))).status == "ok"
    assert sandbox.zygote_pid == first


#: There CPython does not count calls that leave something to a default (python/cpython#132744).
COUNTS_CALLS = not (3, 13, 0) <= sys.version_info < (3, 13, 8)


async def test_calls_without_end_are_an_error_whatever_is_counted(sandbox: Sandbox) -> None:
    """Of the number of calls, or of the memory that they take; never a crash."""
    first = sandbox.zygote_pid
    outcome = await run(sandbox, python("def f(x=None):\n    return f()\n\nf()"))
    if COUNTS_CALLS:
        assert outcome.status == "error"
        assert "RecursionError" in (outcome.reason or "")
    else:
        assert outcome.status == "killed"
        assert "memory: not enough" in (outcome.reason or "")
    assert (await run(sandbox, lua("return 1"))).status == "ok"
    assert sandbox.zygote_pid == first


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGTERM, signal.SIGBUS])
async def test_a_worker_that_dies_is_one_run_with_a_reason(number: int) -> None:
    """Whatever it dies of, and the next run does not notice."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        outcome = await run(made, native("die", int(number)))
        assert outcome.status == "killed"
        assert signal.Signals(number).name in (outcome.reason or "")
        assert (await run(made, native("host_name"))).status == "ok"
    finally:
        await made.close()


async def test_a_worker_that_leaves_without_a_result_is_told_apart() -> None:
    """It did not end as a script ends."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        outcome = await run(made, native("leave", 3))
        assert outcome.status == "killed"
        assert "3" in (outcome.reason or "")
    finally:
        await made.close()


async def test_a_worker_that_goes_on_after_its_result_is_ended_at_once() -> None:
    """Its run is over and what it used is told; what it does now is neither waited for nor left to go on."""
    made = await Sandbox.start(bindings=[], options=replace(only(), spares=0))
    try:
        began = time.monotonic()
        outcome = await run(made, native("finish_and_spin"))
        took_s = time.monotonic() - began
        assert (outcome.status, outcome.result) == ("ok", "told")
        assert outcome.usage.peak_bytes > 2**20
        assert outcome.usage.wall_ms < (took_s - 0.9 * EXIT_GRACE_S) * 1000, "what it did afterwards is not counted"
        await until(lambda: workers_of(made.zygote_pid or 0) == set(), "it goes on")
    finally:
        await made.close()


async def test_usage_is_what_the_program_used_up_to_its_result(sandbox: Sandbox) -> None:
    """Measured by the kernel from outside, as exactly as at a process's end: nothing is left out and nothing added."""
    idle = (await run(sandbox, lua("return 1"))).usage
    source = "local t = {} for i = 1, 300000 do t[i] = {i} end local s = os.clock() return s * 1000"
    busy = await run(sandbox, lua(source))
    assert busy.usage.peak_bytes > idle.peak_bytes + 10 * 2**20
    assert busy.usage.cpu_ms >= 0.9 * busy.result  # the C library's clock of the same process, read in it just before
    assert busy.usage.cpu_ms < busy.usage.wall_ms + 1000


async def test_a_forbidden_system_call_says_so() -> None:
    """SIGSYS is the wall's own signal."""
    made = await Sandbox.start(bindings=[], options=Options(entry="native", import_path=only().import_path))
    try:
        outcome = await run(made, native("open_file", "/etc/passwd"))
        assert outcome.status == "killed"
        assert "SIGSYS" in (outcome.reason or "")
    finally:
        await made.close()


async def test_a_program_that_is_too_large_starts_nothing(sandbox: Sandbox) -> None:
    """Refused before a worker is taken."""
    big = Program("lua", "main.lua", {"main.lua": b"--" + b"x" * (16 * 2**20)})
    with pytest.raises(TooLargeError):
        await run(sandbox, big)


class Broken(Records):
    """A recorder that fails as none should."""

    def check_room(self) -> None:
        raise RuntimeError("a fault of the agent")


async def test_a_fault_of_the_agent_ends_the_run_at_once(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """Not at its deadline: the worker waits for an answer that nobody will give."""
    began = time.monotonic()
    program = lua("t.add() return t.add()")
    try:
        outcome = await sandbox.run(program, gate(records=Broken()), LIMITS)
    except RuntimeError:  # seen where it was raised, as the run was waiting for this call
        return
    assert outcome.status == "killed"
    assert "log" in (outcome.reason or "")
    assert "a fault of the agent" in caplog.text
    assert time.monotonic() - began < LIMITS.wall_s / 2


async def test_what_must_be_durable_first_is_waited_for(sandbox: Sandbox) -> None:
    """No call is looked at before the beginning of its run is on disk, though the script computes meanwhile."""
    order = []
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def before() -> None:
        await ready
        order.append("durable")

    async def add(*_: Any) -> int:
        order.append("call")
        return 0

    calls = Table({"t.add": Entry(add)})
    running = asyncio.create_task(sandbox.run(lua("return t.add()"), gate(calls), LIMITS, before()))
    zygote = sandbox.zygote_pid
    assert zygote is not None
    await until(lambda: workers_of(zygote), "no worker was made")
    assert order == []
    ready.set_result(None)
    assert (await running).status == "ok"
    assert order == ["durable", "call"]


async def test_early_calls_do_not_wait_and_the_end_does(sandbox: Sandbox) -> None:
    order = []
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def note(what: str = "late") -> str:
        order.append(what)
        return what

    calls = Table({"t.early": Entry(note), "t.add": Entry(note)})
    program = lua('t.early("early") return t.add("late")')
    running = asyncio.create_task(sandbox.run(program, gate(calls), LIMITS, ready, {"t.early"}))
    await until(lambda: order, "the early call was not made")
    # A program that needs no more than that has ended long before the end of another one.
    short = asyncio.create_task(sandbox.run(lua('return t.early("short")'), gate(calls), LIMITS, ready, {"t.early"}))
    await until(lambda: "short" in order, "the early call was not made")
    assert (await run(sandbox, lua("return 1"))).status == "ok"
    assert order == ["early", "short"]
    assert not running.done()
    assert not short.done()
    ready.set_result(None)
    assert [(await each).result for each in (running, short)] == ["late", "short"]


async def test_what_fails_after_early_calls_kills_the_worker(sandbox: Sandbox) -> None:
    """And the error is the caller's, not the program's."""
    zygote = sandbox.zygote_pid
    assert zygote is not None
    made: list[int] = []

    async def early() -> None:
        made.append(1)

    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    calls = Table({"t.early": Entry(early), "t.add": Entry(early)})
    for source in ("t.early() while true do end", "t.early() return t.add()"):
        ready = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(sandbox.run(lua(source), gate(calls), LIMITS, ready, {"t.early"}))
        await until(lambda: made, "the early call was not made")
        ready.set_exception(UnavailableError("the disk is full"))
        with pytest.raises(UnavailableError, match="disk"):
            await running
        assert made == [1], "the other call was never made"
        made.clear()


async def test_what_cannot_be_made_durable_runs_nothing(sandbox: Sandbox) -> None:
    """And the error is the caller's."""

    async def before() -> None:
        raise UnavailableError("the disk is full")

    with pytest.raises(UnavailableError, match="disk"):
        await sandbox.run(lua("return 1"), gate(), LIMITS, before())
    assert (await run(sandbox, lua("return 1"))).status == "ok"


async def test_a_gate_that_cannot_be_made_ends_the_worker() -> None:
    """Its program is on the way to it by then: what it asks for meanwhile is not looked at."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(spares=0))
    zygote = made._zygote
    assert zygote is not None

    def refuse() -> Gate:
        assert zygote.active == 1
        raise UnavailableError("there is no gate")

    try:
        with pytest.raises(UnavailableError, match="no gate"):
            await made.run(lua("while true do t.add(1) end"), refuse, LIMITS)
        await until(lambda: zygote.active == 0, "the worker goes on")
        assert (await run(made, lua("return 1"))).status == "ok"
    finally:
        await made.close()


async def test_cancelling_kills_the_worker(sandbox: Sandbox) -> None:
    """Nobody is left to look at it."""
    assert sandbox.zygote_pid is not None
    running = asyncio.create_task(run(sandbox, lua("while true do end")))
    await until(lambda: workers_of(sandbox.zygote_pid or 0), "no worker was made")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await sandbox.close()


# Zygotes --------------------------------------------------------------------------------------------------------------


async def test_a_time_limit_of_a_calls_first_step_is_one_of_the_call_and_not_of_the_run(sandbox: Sandbox) -> None:
    """It tells the task of the run, which may not have taken the call up by then. That run was cancelled by nobody."""

    async def wait() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    source = "local told = {} for i = 1, 20 do told[t.add()] = true end return told"
    outcome = await sandbox.run(lua(source), gate(Table({"t.add": Entry(wait)})), LIMITS)
    assert (outcome.status, outcome.result) == ("ok", {"late": True}), outcome.reason


async def test_a_call_that_keeps_its_interruption_to_itself_goes_on_no_longer_than_its_run(sandbox: Sandbox) -> None:
    """Nobody looks at the time of a run any more that was stopped."""

    async def wait() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "kept"
        return "never"

    limits = replace(LIMITS, wall_s=0.2)
    door = gate(Table({"t.add": Entry(wait)}), limits=limits)
    async with asyncio.timeout(PATIENCE_S):
        outcome = await sandbox.run(lua("t.add() t.add()"), door, limits)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "nobody else is told"
    assert outcome.status == "killed"
    assert outcome.reason is not None
    assert outcome.reason.startswith("wall: ")


async def test_a_zygote_that_is_killed_takes_its_run_with_it_and_is_replaced(sandbox: Sandbox) -> None:
    """The run in flight is told, and the next one finds a fresh zygote."""
    first = sandbox.zygote_pid
    assert first is not None
    running = asyncio.create_task(run(sandbox, lua("while true do end")))
    await until(lambda: workers_of(first), "no worker was made")
    os.kill(first, signal.SIGKILL)
    lost = await running
    assert lost.status == "killed"
    assert "lost" in (lost.reason or "")
    assert (await run(sandbox, lua("return 1"))).result == 1
    assert sandbox.zygote_pid not in (None, first)


async def test_a_run_that_finds_the_zygote_dead_has_the_next_one_find_another(sandbox: Sandbox) -> None:
    """Also before the loop hears of it, which it never would from a caller that tries again at once."""
    first = sandbox.zygote_pid
    assert first is not None
    pidfd = os.pidfd_open(first)
    try:
        os.kill(first, signal.SIGKILL)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        assert ended.poll(PATIENCE_S * 1000)  # without a turn of the loop
    finally:
        os.close(pidfd)
    with pytest.raises(UnavailableError, match="takes no run now"):
        await run(sandbox, lua("return 1"))
    assert (await run(sandbox, lua("return 1"))).status == "ok"


async def test_a_worn_zygote_is_replaced_and_ends() -> None:
    """All forks of one share their address layout, so there are not too many of them."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(runs_per_zygote=5))
    try:
        first = made.zygote_pid
        for _ in range(8):
            assert (await run(made, lua("return 1"))).status == "ok"
        await until(lambda: made.zygote_pid not in (None, first), "the worn zygote still takes runs")
        assert (await run(made, lua("return 1"))).status == "ok"
        await until(lambda: first not in children(), "the worn zygote did not end, with its spare workers")
    finally:
        await made.close()


async def test_a_required_wall_that_is_missing_means_that_nothing_runs() -> None:
    """Never a run without it."""
    with pytest.raises(UnavailableError, match="seccomp"):
        await Sandbox.start(
            bindings=[], options=Options(walls_off=frozenset({"seccomp"}), required=frozenset({"seccomp"}))
        )


async def test_a_sandbox_that_is_not_ready_in_its_time_is_given_up() -> None:
    """How long that is, is said by whoever starts it; no process is left."""
    before = children()
    with pytest.raises(UnavailableError, match=r"^the sandbox did not start within 0\.25 s$"):
        await Sandbox.start(
            bindings=[], options=Options(entry="asleep", import_path=only().import_path, start_timeout_s=0.25)
        )
    assert children() <= before


@pytest.mark.parametrize("turns", [1, 3, 50])
async def test_a_start_that_is_given_up_leaves_nothing(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zygote proper is put beside the process that was started, and must not be missed by who reaps; not even if it
    does not hear that it is to end, which is waited for so long and no longer.
    """
    monkeypatch.setattr(nursery, "STOP_TIMEOUT_S", 0.3)
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unheard.append(told))
    never_ready = Options(entry="speechless", import_path=only().import_path)  # or it might be ready by then
    starting = asyncio.create_task(Sandbox.start(bindings=BINDINGS, options=never_ready))
    for _ in range(turns):
        await asyncio.to_thread(os.sched_yield)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    gc.collect()  # what nobody retrieved is told when it goes
    assert unheard == []


async def test_closing_while_a_replacement_starts_leaves_nothing() -> None:
    """Both zygotes end, whichever was in use."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(runs_per_zygote=1))
    assert (await run(made, lua("return 1"))).status == "ok"  # the last one of this zygote
    await made.close()


async def test_a_zygote_has_one_thread(sandbox: Sandbox) -> None:
    """It forks without the hooks that repair locks; of a second thread a worker could inherit a lock that is held."""
    await run(sandbox, lua("return 1"))
    await run(sandbox, python("result = 1"))
    assert len(os.listdir(f"/proc/{sandbox.zygote_pid}/task")) == 1


async def test_a_closed_sandbox_runs_nothing() -> None:
    """And says so."""
    made = await Sandbox.start(bindings=[])
    await made.close()
    await made.close()
    with pytest.raises(UnavailableError, match="closed"):
        await run(made, lua("return 1"))


async def test_runs_at_the_same_time_do_not_see_each_other(sandbox: Sandbox) -> None:
    """Each has its own worker, gate and answer."""
    programs = [lua(f"x = (x or 0) + 1 return {number} * 10 + x") for number in range(20)]
    outcomes = await asyncio.gather(*(run(sandbox, program) for program in programs))
    assert [outcome.result for outcome in outcomes] == [number * 10 + 1 for number in range(20)]


async def test_random_numbers_differ_from_run_to_run(sandbox: Sandbox) -> None:
    """All workers are copies of one process, in which the runtime was made."""
    drawn = [(await run(sandbox, lua("return math.random(0)"))).result for _ in range(6)]
    assert len(set(drawn)) == len(drawn)


async def test_many_runs_leave_nothing_behind(sandbox: Sandbox) -> None:
    """No process, no descriptor."""
    assert sandbox.zygote_pid is not None
    await run(sandbox, lua("return 1"))
    await spare_of(sandbox)
    gc.collect()  # what earlier tests left to be closed some time
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        assert (await run(sandbox, lua("return 1"))).status == "ok"
    await spare_of(sandbox)  # and no other worker, neither alive nor yet to be reaped
    assert len(os.listdir("/proc/self/fd")) <= before


# Spare workers --------------------------------------------------------------------------------------------------------


async def spare_of(sandbox: Sandbox, count: int = 1) -> set[int]:
    """Return the workers that wait, when there are ``count`` of them."""
    zygote = sandbox.zygote_pid
    assert zygote is not None
    made, spares = sandbox._zygote, sandbox._spares
    assert made is not None
    assert spares is not None
    # Neither before the next spare is asked for, nor before it is told of, nor while one that has ended is yet to be
    # reaped.
    await until(
        lambda: (
            len(spares._waiting) == len(workers_of(zygote)) == made.active == count
            and all(spare.worker.cpu_s() is not None for spare in spares._waiting.values())
        ),
        f"there are not {count} spare workers",
    )
    return workers_of(zygote)


async def test_a_worker_waits_for_the_next_run_of_its_kind(sandbox: Sandbox) -> None:
    """And the next run is its one run; then another one waits."""
    await run(sandbox, lua("return 1"))
    (first,) = await spare_of(sandbox)
    running = asyncio.create_task(run(sandbox, lua("return t.slow()"), calls=table()))
    assert (await running).status == "ok"
    (second,) = await spare_of(sandbox)
    assert second != first
    assert first not in workers_of(sandbox.zygote_pid or 0)


async def test_a_spare_is_locked_in(sandbox: Sandbox) -> None:
    """It is no weaker while it waits: the same walls, before it knows any program."""
    await run(sandbox, lua("return 1"))
    (pid,) = await spare_of(sandbox)

    def is_shut() -> bool:
        with open(f"/proc/{pid}/status", encoding="ascii") as lines:
            told = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
        return (told["Seccomp"], told["NoNewPrivs"], told["CapEff"]) == ("2", "1", "0000000000000000")

    await until(is_shut, "a spare worker was not shut in")


async def test_a_spare_of_another_kind_is_not_used(sandbox: Sandbox) -> None:
    """Its memory limit is another one; the least used kind makes room."""
    await run(sandbox, lua("return 1"))
    (first,) = await spare_of(sandbox)
    smaller = replace(LIMITS, memory_bytes=LIMITS.memory_bytes // 2)
    assert (await run(sandbox, lua("return 1"), smaller)).status == "ok"
    assert first in await spare_of(sandbox, 2)
    assert (await run(sandbox, python("result = 1"))).status == "ok"
    await until(lambda: first not in workers_of(sandbox.zygote_pid or 0), "the oldest spare did not make room")
    await spare_of(sandbox, 2)


async def test_a_spare_that_has_died_costs_no_run(sandbox: Sandbox) -> None:
    """It is found dead, and a fresh one is made."""
    await run(sandbox, lua("return 1"))
    (first,) = await spare_of(sandbox)
    os.kill(first, signal.SIGKILL)
    await until(lambda: first not in workers_of(sandbox.zygote_pid or 0), "it was not reaped")
    assert (await run(sandbox, lua("return 1"))).status == "ok"


async def test_a_spare_that_dies_unseen_is_a_run_lost_not_a_hang(sandbox: Sandbox) -> None:
    """Killed at the very moment that it is given its program."""
    await run(sandbox, lua("return 1"))
    (first,) = await spare_of(sandbox)
    os.kill(first, signal.SIGKILL)
    outcome = await run(sandbox, lua("return 1"))
    assert outcome.status in ("ok", "killed")


async def test_what_a_worker_has_used_is_told_until_it_is_reaped(sandbox: Sandbox) -> None:
    """Never of one whose number may be another process's; also before anybody says that it has ended."""
    await run(sandbox, lua("return 1"))
    (pid,) = await spare_of(sandbox)
    assert sandbox._spares is not None
    ((worker, *_),) = sandbox._spares._waiting.values()
    await until(lambda: (worker.cpu_s() or 0.0) > 0, "it has not begun")
    os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + PATIENCE_S
    while worker.cpu_s() is not None:  # without a turn of the loop
        assert time.monotonic() < ends
        os.sched_yield()
    assert not worker.ended.done()
    await asyncio.wait_for(asyncio.shield(worker.ended), PATIENCE_S)
    assert worker.cpu_s() is None


async def test_a_zygote_that_does_not_tell_of_an_end_is_given_up(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for ever; the run has its outcome all the same, and the next one another zygote."""
    await run(sandbox, lua("return 1"))
    await spare_of(sandbox)
    stopped = sandbox.zygote_pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(runs, "EXIT_GRACE_S", 0.01)
    monkeypatch.setattr(runs, "REAP_TIMEOUT_S", 0.01)
    assert (await asyncio.wait_for(run(sandbox, lua("return 2")), PATIENCE_S)).result == 2
    monkeypatch.undo()
    assert (await run(sandbox, lua("return 3"))).result == 3
    assert sandbox.zygote_pid not in (None, stopped)


async def test_a_cancelled_run_keeps_no_zygote_that_was_replaced() -> None:
    """Its worker may be the last one there, and is killed only after the other zygote has come."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(spares=0, runs_per_zygote=2))
    try:
        assert made._zygote is not None
        first = made._zygote
        running = asyncio.create_task(run(made, lua("while true do end")))
        await until(lambda: first.active == 1, "it does not run")
        assert (await run(made, lua("return 1"))).status == "ok"
        await until(lambda: made._zygote is not first, "the worn zygote is not replaced")
        running.cancel()
        await asyncio.wait([running])
        await until(lambda: not made._retired and not first.is_alive, "the old zygote stays")
    finally:
        await made.close()


async def test_without_spares_nothing_waits() -> None:
    """It is a choice."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(spares=0))
    try:
        for _ in range(3):
            assert (await run(made, lua("return 1"))).status == "ok"
        await until(lambda: workers_of(made.zygote_pid or 0) == set(), "a worker stayed")
    finally:
        await made.close()


async def test_a_worker_that_leaves_as_it_is_killed_costs_no_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its zygote has no birth to tell any more when it is asked, and all other runs go on."""
    monkeypatch.setattr(nursery, "TELL_TIMEOUT_S", 0.05)
    made = await Sandbox.start(bindings=[], options=replace(only(), spares=0))
    try:
        assert made._zygote is not None
        zygote, pid = made._zygote, made.zygote_pid or 0
        started = start(zygote, Kind("native", LIMITS.memory_bytes, LIMITS.cpu_s), ahead=False)
        started.sock.close()  # it leaves, and is reaped, and we have not heard of it
        assert select.select([zygote._control], [], [], PATIENCE_S)[0]
        started.worker.kill()
        assert zygote._is_listening
        await asyncio.wait_for(asyncio.shield(started.worker.ended), PATIENCE_S)
        looked = asyncio.Event()
        asyncio.get_running_loop().call_later(2 * nursery.TELL_TIMEOUT_S, looked.set)
        await asyncio.wait_for(looked.wait(), PATIENCE_S)
        assert zygote.is_alive
        assert made.zygote_pid == pid
    finally:
        await made.close()
