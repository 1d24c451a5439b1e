"""Nests so deep that the interpreter's own stack overflows: each ends one run, and costs the others nothing.

CPython counts calls and comparisons, but not what hashes and frees. Which nests crash which release is not told here;
where they do not, they end as an error or well. That they crash nothing but their own worker is what is held.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest
from arena import BINDINGS, LIMITS, lua, native, only, python
from test_launch import PATIENCE_S, run, until, workers_of

from sandbox.launch import Options, Outcome, Sandbox
from sandbox.nursery import MAX_CRASHES, WEARING_CRASHES, Zygote
from sandbox.spares import Kind, start

DEEP = 300_000
PROBES = [signal.SIGSEGV, signal.SIGSYS, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE]
ROOMY = replace(LIMITS, memory_bytes=256 << 20)  # the deeper a nest is, the more memory it takes


def nest(first: str, more: str, then: str, before: str = "") -> str:
    """Return a script that makes ``t`` of ``first``, then ``more`` of it many times, and does ``then``."""
    return f"{before}\nt = {first}\nfor _ in range({DEEP}):\n    {more}\n{then}\nresult = 'unhurt'\n"


CHAINED = """
def g():
    while True:
        yield 1

def h(t):
    yield 0
    yield from t

def held(t):
    yield t
    yield t

def sentinel(t):
    return iter(lambda: next(t), None)
"""
PAIRS = "from collections import namedtuple\nPair = namedtuple('Pair', 'left right')"
NESTS = {
    "a tuple as a key": nest("()", "t = (t,)", "{}.get(t)"),
    "a tuple in a display": nest("()", "t = (t,)", "d = {t: 1}"),
    "a tuple in a set": nest("()", "t = (t,)", "d = {1, t}"),
    "a tuple made of hash": nest("()", "t = (t,)", "hash(t)"),
    "a tuple counted": nest("()", "t = (t,)", "collections.Counter([t])", "import collections"),
    "a named tuple as a key": nest("Pair(1, 2)", "t = Pair(t, 2)", "{}.get(t)", PAIRS),
    "tuples compared": nest("u = ()", "t, u = (t,), (u,)", "t == u"),
    "tuples in order": nest("u = ()", "t, u = (t,), (u,)", "sorted([t, u])"),
    "a tuple shown": nest("()", "t = (t,)", "repr(t)"),
    "a tuple in a text": nest("()", "t = (t,)", "f'{t}%s' % (t,)"),
    "a tuple freed": nest("()", "t = (t,)", "t = None"),
    "lists compared": nest("u = []", "t, u = [t], [u]", "t == u"),
    "a dict freed": nest("{}", "t = {1: t}", "t = None"),
    "a frozenset as a key": nest("frozenset()", "t = frozenset([t])", "{}.get(t)"),
    "a frozenset freed": nest("frozenset()", "t = frozenset([t])", "t = None"),
    "slices compared": nest("u = None", "t, u = slice(t), slice(u)", "t == u"),
    "a slice freed": nest("None", "t = slice(t)", "t = None"),
    "expressions that give": nest("g()", "t = (x for x in t)", "next(t)", CHAINED),
    "expressions by the thousand": nest("g()", "t = (x for x in t)", "next(t)", CHAINED).replace(str(DEEP), "5000"),
    "expressions freed": nest("g()", "t = (x for x in t)", "t = None", CHAINED),
    "delegations": nest("g()", "t = h(t)", "next(t)", CHAINED),
    "delegations by the thousand": nest("g()", "t = h(t); next(t)", "next(t)", CHAINED).replace(str(DEEP), "5000"),
    "delegations begun": nest("g()", "t = h(t); next(t)", "next(t)", CHAINED),
    "delegations closed": nest("g()", "t = h(t); next(t)", "t.close()", CHAINED),
    "generators freed": nest("g()", "t = held(t); next(t)", "t = None", CHAINED),
    "iterators of lists": nest("iter([])", "t = iter([t])", "t = None"),
    "iterators of tuples": nest("iter(())", "t = iter((t,))", "t = None"),
    "iterators of sets": nest("iter(())", "t = iter({t})", "t = None"),
    "iterators of dicts": nest("iter(())", "t = iter({1: t}.values())", "t = None"),
    "views of dicts": nest("{}.values()", "t = {1: t}.values()", "t = None"),
    "iterators of deques": nest("iter(())", "t = iter(deque([t]))", "t = None", "from collections import deque"),
    "iterators with an end": nest("g()", "t = sentinel(t)", "next(t)", CHAINED),
    "chains": nest("[1]", "t = itertools.chain(t)", "t = None", "import itertools"),
    "maps": nest("[1]", "t = map(str, t)", "t = None"),
    "zips": nest("[1]", "t = zip(t)", "t = None"),
    "numbered": nest("[1]", "t = enumerate(t)", "t = None"),
    "functions": nest("None", "t = (lambda t: lambda: t)(t)", "t = None"),
    "methods": nest("A()", "u = A(); u.m = t.f; t = u", "t = None", "class A:\n    def f(self):\n        pass\n"),
    "exceptions": nest("None", "t = ValueError(t)", "t = None"),
    "an exception raised": nest("None", "t = ValueError(t)", "raise t"),
    "classes of an exception": nest("ValueError", "t = (t,)", "isinstance(1, t)"),
}


def crashed(outcome: Outcome) -> bool:
    """Of an abort the worker gets no further than to a system call that it may not make."""
    return "SIGSEGV" in (outcome.reason or "") or "SIGSYS" in (outcome.reason or "")


@pytest.mark.parametrize("name", NESTS)
async def test_a_nest_ends_its_own_run_and_no_other(sandbox: Sandbox, name: str) -> None:
    """Well, with an error, or with the one worker; and the zygote is the same, for which nobody waits."""
    first = sandbox.zygote_pid
    outcome = await run(sandbox, python(NESTS[name]), ROOMY)
    is_told = outcome.status in ("ok", "error") or "the limit is" in (outcome.reason or "")
    assert is_told or crashed(outcome), outcome.reason
    assert (await run(sandbox, lua("return 1"))).status == "ok"
    assert sandbox.zygote_pid == first


async def test_a_script_that_always_crashes_costs_a_zygote_now_and_then() -> None:
    """And whoever runs something else meanwhile is served as before, by a zygote that is there."""
    made = await Sandbox.start(bindings=BINDINGS, options=Options(spares=0))
    try:
        served: Counter[int | None] = Counter()
        for _ in range(3 * WEARING_CRASHES):
            outcome = await run(made, python(NESTS["a tuple as a key"]), ROOMY)
            served[made.zygote_pid] += crashed(outcome)
            assert (await run(made, lua("return 1"))).status == "ok"
        assert served.total() in (0, 3 * WEARING_CRASHES)  # not all interpreters crash of it
        assert all(crashes <= MAX_CRASHES for crashes in served.values())
        assert len(served) <= 1 + served.total() // WEARING_CRASHES
    finally:
        await made.close()


@pytest.mark.parametrize("number", PROBES)
async def test_the_next_zygote_is_started_beside_the_runs(number: int) -> None:
    """Those that come before it is there are served by the old one, and those after it by the new one."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        first = made.zygote_pid
        for _ in range(WEARING_CRASHES):
            assert made.zygote_pid == first
            await run(made, native("die", int(number)))
        assert (await run(made, native("host_name"))).status == "ok"
        await until(lambda: made.zygote_pid not in (None, first), "the zygote that is worn still takes runs")
        assert (await run(made, native("host_name"))).status == "ok"
    finally:
        await made.close()


@pytest.mark.parametrize("number", PROBES)
async def test_a_crash_after_the_result_is_on_record(number: int) -> None:
    """A worker that was taken over would send a good one first; its zygote counts it, and so must people."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        outcome = await run(made, native("finish_and_die", int(number)))
        assert (outcome.status, outcome.result) == ("killed", None)
        assert signal.Signals(number).name in (outcome.reason or "")
    finally:
        await made.close()


async def test_a_crash_of_no_run_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of a worker that was made ahead, or that compiles: no run ends by it, and somebody must hear of it."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        assert made._zygote is not None
        first = start(made._zygote, Kind("native", LIMITS.memory_bytes, LIMITS.cpu_s), ahead=True)
        pid = await asyncio.to_thread(born_of, made.zygote_pid)
        os.kill(pid, signal.SIGSEGV)
        ended = await asyncio.wait_for(first.worker.ended, PATIENCE_S)
        assert ended is not None
        assert os.WTERMSIG(ended.status) == signal.SIGSEGV
        (told,) = [each.getMessage() for each in caplog.records if each.name == "outrider.sandbox.zygote"]
        assert "SIGSEGV" in told
        first.drop()
    finally:
        await made.close()


def born_of(zygote: int | None) -> int:
    """Return the one worker of a zygote, once it is there."""
    ends = time.monotonic() + PATIENCE_S
    while not (found := workers_of(zygote or 0)):
        assert time.monotonic() < ends
        os.sched_yield()
    (pid,) = found
    return pid


async def test_what_crashed_waits_for_the_next_zygote_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is run meanwhile: it does not take the zygote from those who crash nothing."""
    made = await Sandbox.start(bindings=[], options=only())
    is_due, fresh = asyncio.Event(), made._fresh_zygote

    async def late() -> Zygote:
        await is_due.wait()
        return await fresh()

    monkeypatch.setattr(made, "_fresh_zygote", late)
    try:
        first = made.zygote_pid
        crashing = replace(native("die", int(signal.SIGSEGV)), files={"main": b"crash"})
        for _ in range(WEARING_CRASHES):
            await run(made, crashing)
        more = [asyncio.ensure_future(run(made, crashing)) for _ in range(MAX_CRASHES)]
        for _ in range(3):
            served = await asyncio.wait_for(run(made, native("host_name")), PATIENCE_S)
            assert served.status == "ok"
        assert made.zygote_pid == first
        assert not any(each.done() for each in more)
        is_due.set()
        ended = await asyncio.wait_for(asyncio.gather(*more), PATIENCE_S)
        assert all("SIGSEGV" in (each.reason or "") for each in ended)
        assert made.zygote_pid != first
    finally:
        is_due.set()
        await made.close()


async def test_a_zygote_of_too_many_crashes_takes_no_run() -> None:
    """Whoever comes next waits for a fresh one: somebody is looking for the layout."""
    made = await Sandbox.start(bindings=[], options=only())
    try:
        first = made.zygote_pid
        dying = [run(made, native("die", int(signal.SIGSEGV))) for _ in range(MAX_CRASHES)]
        await asyncio.wait_for(asyncio.gather(*dying), PATIENCE_S)
        ours = f"/proc/{first}"
        assert (await run(made, native("host_name"))).status == "ok"
        assert made.zygote_pid not in (None, first)
        await until(lambda: not os.path.exists(ours), "the old zygote did not end")
    finally:
        await made.close()
