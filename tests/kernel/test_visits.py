"""What may block is carried out on threads; one that never comes back takes nothing else with it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kernel.visits import MAX_THREADS, Account, Visits, count_for, stuck


class Gate:
    """Visits that stay until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = threading.Semaphore(0)

    def stay(self) -> int:
        self.inside.release()
        assert self.go.wait(60)
        return threading.get_ident()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.go.set()


async def test_values_and_errors_come_back() -> None:
    """From another thread."""
    visits, loop_thread = Visits(), threading.get_ident()
    assert await visits.begin(threading.get_ident) != loop_thread
    with pytest.raises(ZeroDivisionError):
        await visits.begin(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await visits.begin(partial(next, iter(())))
    with pytest.raises(SystemExit):
        await visits.begin(partial(sys.exit, 3))
    assert await visits.begin(lambda: "still there") == "still there"


async def test_where_the_system_has_no_thread_to_give_the_next_visit_waits_for_one(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody's command has taken all processes that there may be: nobody else's visit fails for that."""
    patient, other = Visits(), Visits(waits_for_system=False)
    staying = [patient.begin(gate.stay), other.begin(gate.stay)]
    for _ in staying:
        await asyncio.to_thread(gate.inside.acquire)

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    account = Account("somebody", 2)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refused)
        waiting = patient.begin(lambda: "done", (account,))
        assert (patient.threads, account.held) == (1, 0)
        for none_to_wait_for in (other, Visits()):
            with pytest.raises(RuntimeError, match="new thread"):
                none_to_wait_for.begin(lambda: None, (account,))
    gate.go.set()
    assert await waiting == "done"
    await asyncio.gather(*staying)
    assert (patient.threads, account.held) == (1, 0)


async def test_one_thread_after_the_other_is_the_same_one() -> None:
    """The one that was free last, as who is told of an end may begin the next visit."""
    visits = Visits()
    assert len({await visits.begin(threading.get_ident) for _ in range(50)}) == 1
    assert visits.threads == 1


async def test_what_never_comes_back_keeps_a_thread_and_nothing_else(gate: Gate) -> None:
    """Far more of them than asyncio's own executor has threads."""
    visits = Visits()
    stuck = [visits.begin(gate.stay) for _ in range(MAX_THREADS - 1)]
    assert [await visits.begin(lambda: 1) for _ in range(10)] == [1] * 10
    assert visits.threads == MAX_THREADS
    gate.go.set()
    assert len({await each for each in stuck}) == MAX_THREADS - 1


async def test_what_waits_for_a_thread_goes_in_order_and_not_if_it_was_cancelled(gate: Gate) -> None:
    """And threads that are not needed any more end."""
    visits, done = Visits(max_threads=3, kept_threads=1), []
    stuck = [visits.begin(gate.stay) for _ in range(3)]
    waiting = [visits.begin(partial(done.append, number)) for number in range(6)]
    waiting[2].cancel()
    await asyncio.sleep(0)
    assert (done, visits.threads) == ([], 3)
    gate.go.set()
    await asyncio.gather(*stuck, *waiting, return_exceptions=True)
    assert sorted(done) == [0, 1, 3, 4, 5]
    assert waiting[2].cancelled()
    assert visits.threads <= 3
    for _ in range(1000):
        await visits.begin(lambda: None)
        if visits.threads == 1:
            break
    assert visits.threads == 1


async def on_account(visits: Visits, function: Callable[[], Any], *accounts: Account) -> asyncio.Future[Any]:
    """Begin a visit in a task of its own, for these accounts."""

    async def begin() -> list[asyncio.Future[Any]]:
        count_for(*accounts)
        return [visits.begin(function)]

    (begun,) = await asyncio.create_task(begin())
    return begun


async def test_who_visits_what_never_answers_holds_up_nobody_else(gate: Gate) -> None:
    """Beyond their share they wait while others go by; what comes back lets the next of them begin."""
    visits, done = Visits(max_threads=4, kept_threads=1), []
    run, script = Account("run", 3), Account("script", 2)
    away = [await on_account(visits, gate.stay, run, script) for _ in range(2)]
    late = [await on_account(visits, partial(done.append, number), run, script) for number in range(4)]
    late[1].cancel()
    assert (run.held, script.held, visits.threads) == (2, 2, 2)
    assert [await visits.begin(lambda: 1) for _ in range(10)] == [1] * 10
    assert [await await_it for await_it in [await on_account(visits, lambda: 2, run) for _ in range(3)]] == [2] * 3
    assert done == []
    gate.go.set()
    await asyncio.gather(*away, *late, return_exceptions=True)
    assert sorted(done) == [0, 2, 3]
    assert (run.held, script.held) == (0, 0)


async def test_an_account_is_told_as_stuck_once_it_is_full_for_a_while(gate: Gate) -> None:
    """And no longer than that: what moves is not stuck."""
    visits, mine, others = Visits(), Account("mine", 1), Account("others", 1)

    async def told(account: Account, longer_than_s: float) -> Account | None:
        count_for(account)
        return stuck(longer_than_s)

    away = await on_account(visits, gate.stay, mine)
    assert await asyncio.create_task(told(mine, 0.0)) is mine
    assert await asyncio.create_task(told(mine, 60.0)) is None
    assert await asyncio.create_task(told(others, 0.0)) is None
    assert stuck(0.0) is None
    gate.go.set()
    await away
    assert await asyncio.create_task(told(mine, 0.0)) is None


async def test_what_fails_gives_back_what_it_counted_for() -> None:
    visits, mine = Visits(), Account("mine", 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await (await on_account(visits, lambda: 1 // 0, mine))
    assert mine.held == 0


async def test_a_visit_that_nobody_waits_for_goes_on_to_its_end(gate: Gate) -> None:
    """What comes of it is dropped."""
    visits = Visits()
    for end in (lambda: None, lambda: 1 // 0):
        gate.go.clear()
        future = visits.begin(lambda end=end: (gate.stay(), end()))  # type: ignore[misc]  # mypy knows no default here
        future.cancel()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await future
    assert await visits.begin(lambda: 2) == 2


async def test_nothing_lives_on_in_a_free_thread() -> None:
    """Neither what was called nor what came of it."""

    class Thing:
        pass

    visits = Visits()
    thing = Thing()
    gone = weakref.ref(thing)
    assert await visits.begin(partial(lambda it: it, thing)) is thing
    del thing
    for _ in range(1000):
        await asyncio.sleep(0)
        gc.collect()
        if gone() is None:
            break
    assert gone() is None


def test_another_loop_may_use_them_and_one_that_is_gone_is_not_missed(gate: Gate) -> None:
    """A thread that comes back when its loop is closed goes on to the next visit."""
    visits = Visits()

    async def leave() -> None:
        visits.begin(gate.stay)
        await asyncio.get_running_loop().run_in_executor(None, gate.inside.acquire)

    asyncio.run(leave())
    gate.go.set()
    assert asyncio.run(_once(visits)) == 7


def test_what_wakes_a_loop_goes_with_it() -> None:
    """Each loop has a descriptor, for as long as no other has come after it."""
    visits, bells = Visits(), list[weakref.ref[Any]]()
    for _ in range(20):
        assert asyncio.run(_once(visits)) == 7
        bells.append(weakref.ref(visits._bell))
        assert os.readlink(f"/proc/self/fd/{visits._bell._fd}") == "anon_inode:[eventfd]"
        gc.collect()
        deadline = time.monotonic() + 60.0
        while any(bell() is not None for bell in bells[:-1]):  # a thread lets go of it a moment after it has rung
            assert time.monotonic() < deadline
            os.sched_yield()


async def _once(visits: Visits) -> int:
    return await visits.begin(lambda: 7)


STUCK = """
import asyncio, atexit, threading
from kernel.visits import VISITS

atexit.unregister(VISITS.wait)
atexit.register(VISITS.wait, 0.1)  # in place of the grace

async def main():
    inside = threading.Event()
    VISITS.begin(lambda: (inside.set(), threading.Event().wait()))
    await asyncio.get_running_loop().run_in_executor(None, inside.wait)
    print("left", flush=True)

asyncio.run(main())
"""


async def test_all_of_them_can_be_waited_for(gate: Gate) -> None:
    """As a program does at its end, for changes that are under way."""
    visits = Visits()
    assert visits.wait(0)
    future = visits.begin(gate.stay)
    assert not await asyncio.to_thread(visits.wait, 0.001)
    gate.go.set()
    assert await asyncio.to_thread(visits.wait, 60)
    await future


CHANGING = """
import asyncio, sys, threading
from pathlib import Path
from typing import Any
from kernel.visits import VISITS

def change(inside, left):
    inside.set()
    left.wait()
    Path(sys.argv[1]).write_text("whole")

async def main():
    inside, left = threading.Event(), threading.Event()
    VISITS.begin(lambda: change(inside, left))
    await asyncio.get_running_loop().run_in_executor(None, inside.wait)
    return left

left = asyncio.run(main())
threading.Thread(target=lambda: (threading.main_thread().join(), left.set())).start()
"""


def test_a_program_that_ends_waits_for_what_is_under_way(tmp_path: Path) -> None:
    """A change that was begun is not left half done."""
    subprocess.run([sys.executable, "-c", CHANGING, str(tmp_path / "file")], check=True, timeout=60)
    assert (tmp_path / "file").read_text() == "whole"


def test_one_that_never_comes_back_does_not_keep_the_program() -> None:
    """An agent can be stopped while a server of files is away."""
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
