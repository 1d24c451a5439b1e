"""Streams and handles, through the real sandbox: what scripts see, what the gate holds, and what is left at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from arena import BINDINGS, LIMITS, Entry, Records, Table, gate, lua, python

from kernel.visits import VISITS
from policies.model import Limits
from protocol.columns import Columns
from protocol.errors import TooLargeError, UnavailableError
from protocol.frames import decode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES
from protocol.redaction import Redactor
from sandbox.channel import RAW, batch_of
from sandbox.gate import Gate
from sandbox.held import Held
from sandbox.launch import Options, Outcome, Program, Sandbox
from sandbox.pump import BATCH_ITEMS, BATCH_ROWS, Pump

NAMES = (
    "t.count",
    "t.slow",
    "t.bytes",
    "t.wait",
    "t.break",
    "t.open",
    "box.get",
    "box.put",
    "t.two",
    "t.nothing",
    "t.rows",
)


class Box:
    """A thing that a call gives."""

    kind = "box"

    def __init__(self) -> None:
        self.closed = 0
        self.content: list[Any] = []

    def fields(self) -> dict[str, Any]:
        return {"label": "red"}

    def close(self) -> None:
        self.closed += 1


def block(names: list[str]) -> Columns:
    """Rows of every kind of column."""
    made = Columns(len(names))
    made.texts("name", names)
    made.below("path", "name", bytes(len(names)), ["/d/"])
    made.words("type", bytes([place % 2 for place in range(len(names))]), ["file", "directory"])
    made.same("depth", 2)
    made.integers("size", range(len(names)))
    made.reals("mtime", [0.5] * len(names))
    return made


class Ground:
    """The calls of these tests, and what became of what they gave."""

    def __init__(self) -> None:
        self.bytes = [b"x" * 200_000, b"y"]
        self.given = 0  # items that a source gave
        self.is_begun = False  # the source that waits gives something
        self.ended = threading.Event()  # the ``finally`` of a source ran
        self.boxes: list[Box] = []
        self.records = Records()
        self.gate: Gate | None = None

    def counting(self, most: int = 10) -> Iterator[Any]:
        try:
            for number in range(most):
                self.given += 1
                yield {"n": number}
        finally:
            self.ended.set()
        return {"seen": most}

    def failing(self) -> Iterator[Any]:
        yield "one"
        raise UnavailableError("the disk is gone")

    def rows(self, most: int = 10) -> Iterator[Any]:
        """Blocks of rows, with plain items, bytes and empty blocks between them."""
        for number in range(most):
            yield block([f"{number}-{place}" for place in range(3)])
            yield block([])
            yield [{"name": "plain", "size": 1}]
            yield b"raw"
        return {"seen": most}

    async def waiting(self) -> AsyncIterator[Any]:
        try:
            self.is_begun = True
            yield ["a", "b"]
            yield b"\xff\xc1raw"
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    def opened(self) -> Box:
        self.boxes.append(Box())
        return self.boxes[-1]

    async def put(self, box: Any, value: Any) -> Any:
        thing = self._box(box)
        thing.content.append(value)
        return len(thing.content)

    async def get(self, box: Any) -> Any:
        return self._box(box).content

    def _box(self, box: Any) -> Box:
        assert self.gate is not None
        thing: Box = self.gate.holder.thing(box["$handle"], "box", "box")
        return thing

    def table(self) -> Table:
        return Table({
            "t.count": Entry(self.counting, gives="stream", is_blocking=True),
            "t.bytes": Entry(lambda: iter(self.bytes), gives="stream", is_blocking=True),
            "t.wait": Entry(self.waiting, gives="stream"),
            "t.rows": Entry(self.rows, gives="stream", is_blocking=True),
            "t.break": Entry(self.failing, gives="stream", is_blocking=True),
            "t.nothing": Entry(lambda: iter([]), gives="stream", is_blocking=True),
            "t.open": Entry(self.opened, gives="handle", is_blocking=True),
            "box.put": Entry(self.put),
            "box.get": Entry(self.get),
        })  # fmt: skip

    def make_gate(self, limits: Limits = LIMITS) -> Callable[[], Gate]:
        def make() -> Gate:
            self.gate = gate(self.table(), self.records, limits)
            return self.gate

        return make


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends by what it holds: where this machine stands still for a moment is no matter of these tests."""
    monkeypatch.setattr("sandbox.pump.BATCH_NS", 60_000_000_000)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    bindings = BINDINGS + [{"name": name, "parameters": [], "local": False} for name in NAMES]
    box = await Sandbox.start(bindings=bindings, options=Options())
    yield box
    await box.close()


async def run(sandbox: Sandbox, program: Program, ground: Ground, limits: Limits = LIMITS) -> Outcome:
    return await sandbox.run(program, ground.make_gate(limits)(), limits)


BOTH = {
    "reads to the end": (
        "local s, sum = t.count(1000), 0 for e in s do sum = sum + e.n end return {sum, s:summary().seen}",
        "s = t.count(1000)\nresult = [sum(e['n'] for e in s), s.summary()['seen']]",
        [499500, 1000],
    ),
    "reads bytes as they are": (
        "local n = 0 for c in t.bytes() do n = n + #c end return n",
        "result = sum(len(c) for c in t.bytes())",
        200_001,
    ),
    "sees rows as maps, in the order in which they came": (
        "local s, told = t.rows(2), {} for e in s do told[#told + 1] = type(e) == 'table' and table.concat({e.name,"
        " e.path or '-', e.type or '-', e.depth or '-', e.size, e.mtime or '-'}, ' ') or e end return told",
        "told = []\nfor e in t.rows(2):\n    if isinstance(e, bytes):\n        told.append(e.decode())\n    else:\n"
        "        told.append(' '.join([str(e.get(k, '-')) for k in 'name path type depth size mtime'.split()]))\n"
        "result = told",
        [
            told for number in (0, 1) for told in (
                f"{number}-0 /d/{number}-0 file 2 0 0.5", f"{number}-1 /d/{number}-1 directory 2 1 0.5",
                f"{number}-2 /d/{number}-2 file 2 2 0.5", "plain - - - 1 -", "raw",
            )
        ],
    ),
    "sees nothing after the end": (
        "local s = t.nothing() return {s() == nil, s() == nil, s:summary() == nil}",
        "s = t.nothing()\nresult = [list(s) == [], list(s) == [], s.summary() is None]",
        [True, True, True],
    ),
    "gets an error in the middle after what came before": (
        "local got = {} local ok, e = pcall(function() for x in t['break']() do got[#got + 1] = x end end)"
        " return {got, ok, e.code}",
        "got = []\ntry:\n    for x in getattr(t, 'break')():\n        got.append(x)\n    ok = True\n"
        "except HostError as e:\n    ok = e.code\nresult = [got, False, ok]",
        [["one"], False, "unavailable"],
    ),
    "takes what is there and no more": (
        "local s = t.wait() local a, b, c = s(), s(), s() s:close() return {a, b, #c, s() == nil}",
        "s = t.wait()\na, b, c = [x for x, _ in zip(s, range(3))] if False else (next_of(s), next_of(s), next_of(s))\n"
        "s.close()\nresult = [a, b, len(c), list(s) == []]",
        ["a", "b", 5, True],
    ),
    "uses what a call gave": (
        "local b = t.open() b:put('x') b:put({1}) return {b.label, b:get(), tostring(b), b.nosuch == nil}",
        "b = t.open()\nb.put('x')\nb.put([1])\nresult = [b.label, b.get(), 'box', True]",
        ["red", ["x", [1]], "box", True],
    ),
    "passes it on by name": (
        "local b = t.open() return box.put(b, 5)",
        "b = t.open()\nresult = box.put(b, 5)",
        1,
    ),
    "cannot use it after closing it": (
        "local b = t.open() b:close() b:close() local ok, e = pcall(b.put, b, 1) return e.code",
        "b = t.open()\nb.close()\nb.close()\ntry:\n    b.put(1)\nexcept HostError as e:\n    result = e.code",
        "invalid_argument",
    ),
}  # fmt: skip
NEXT = "def next_of(s):\n    for x in s:\n        return x\n"


@pytest.mark.parametrize("case", BOTH)
async def test_in_both_languages(sandbox: Sandbox, case: str) -> None:
    """The same words, the same values; everything is closed and on record."""
    of_lua, of_python, expected = BOTH[case]
    for program in (lua(of_lua), python(NEXT + of_python)):
        ground = Ground()
        outcome = await run(sandbox, program, ground)
        assert (outcome.status, outcome.result) == ("ok", expected), (program.language, outcome)
        assert all(box.closed == 1 for box in ground.boxes)
        opened = [kept for kept in ground.records.of("call") if kept["call"].startswith("t.")]
        ends = ground.records.of("call.end")
        assert [kept["call"] for kept in opened] == [kept["call"] for kept in ends]
        assert ground.gate is not None
        assert ground.gate.budget._held == {"open_files": 0, "processes": 0}


@pytest.mark.parametrize("program", [
    lua("for e in t.count(1000000) do break end return t.add(1, 2)"),
    python("for e in t.count(10 ** 6):\n    break\nresult = t.add(1, 2)"),
], ids=["lua", "python"])  # fmt: skip
async def test_a_loop_that_is_left_early_gives_the_stream_back(sandbox: Sandbox, program: Program) -> None:
    """And the source was never asked for more than a batch ahead."""
    ground = Ground()
    make = ground.make_gate()()
    make.decisions._table["t.add"] = Entry(_add)  # type: ignore[index]  # this one is a dict
    outcome = await sandbox.run(program, make, LIMITS)
    assert (outcome.status, outcome.result) == ("ok", 3)
    assert ground.ended.is_set()
    assert ground.given <= 3 * BATCH_ITEMS
    (end,) = ground.records.of("call.end")
    assert (end["call"], end["outcome"]) == ("t.count", "closed")
    assert [kept["kind"] for kept in ground.records.kept][-2:] in (["call.end", "call"], ["call", "call.end"])


@pytest.mark.parametrize(
    ("call", "most", "seen"), [("count", 3, 3), ("count", 10_000, 0), ("rows", 3, 0), ("rows", 10_000, 0)],
    ids=["all is there", "there is more", "some rows", "many rows"],
)  # fmt: skip
@pytest.mark.parametrize("language", ["lua", "python"])
async def test_a_stream_that_was_closed_gives_nothing_more(
    sandbox: Sandbox, language: str, call: str, most: int, seen: int
) -> None:
    """Not even what came already; its summary, if it was at its end, is still told."""
    program = {
        "lua": lua(
            f"local s = t.{call}({most}) local before = s() ~= nil s:close() s:close()"
            " local more = 0 for _ in s do more = more + 1 end return {before, more, (s:summary() or {}).seen or 0}"
        ),
        "python": python(
            f"with t.{call}({most}) as s:\n    before = next(s) is not None\ns.close()\n"
            "result = [before, len(list(s)), (s.summary() or {'seen': 0})['seen']]"
        ),
    }[language]
    outcome = await sandbox.run(program, Ground().make_gate(), LIMITS)
    assert (outcome.status, outcome.result) == ("ok", [True, 0, seen]), outcome.reason


async def _add(*args: Any) -> Any:
    return sum(args)


@pytest.mark.parametrize("source", [
    "local s = t.wait() s() return 1", "local s = t.wait() error('x')", "local s = t.wait() while true do end",
])  # fmt: skip
async def test_the_end_of_the_run_closes_everything(sandbox: Sandbox, source: str) -> None:
    """However it ends. What spins is ended by its processor time, of which nothing before that takes any."""
    ground = Ground()
    await run(sandbox, lua("local b = t.open() " + source), ground, Limits(wall_s=60, cpu_s=0.3))
    assert [box.closed for box in ground.boxes] == [1]
    assert [(kept["call"], kept["outcome"]) for kept in ground.records.of("call.end")] == [
        ("t.wait", "cut short"), ("t.open", "cut short"),
    ]  # fmt: skip
    assert source.startswith("local s = t.wait() s()") == ground.ended.is_set()  # an unstarted one has nothing to undo


async def test_a_script_that_waits_for_ever_is_ended_by_its_deadline(sandbox: Sandbox) -> None:
    """In the middle of a pull. A slow machine is given a later one, until its script has come that far."""
    for wall_s in (0.3, 3, 30):
        ground = Ground()
        outcome = await run(sandbox, lua("for _ in t.wait() do end"), ground, Limits(wall_s=wall_s))
        assert outcome.status == "killed"
        if ground.is_begun:
            break
    assert ground.ended.is_set()


async def test_open_things_are_bounded(sandbox: Sandbox) -> None:
    """By the budget of open files; what was let go counts no more."""
    limits = Limits(open_files=3)
    source = (
        "for i = 1, 5 do t.open():close() end local b = {} local ok, e = pcall(function()"
        " for i = 1, 5 do b[i] = t.open() end end) return {#b, e.code}"
    )
    ground = Ground()
    outcome = await run(sandbox, lua(source), ground, limits)
    assert outcome.result == [3, "budget"]
    assert [box.closed for box in ground.boxes] == [1] * 8


async def test_numbers_of_its_own_choice_reach_nothing(sandbox: Sandbox) -> None:
    """A forged handle is an argument error; a stream is no box."""
    source = """
      local s, codes = t.count(5), {}
      for _, forged in ipairs({{["$handle"] = 99}, {["$handle"] = -1}, s, {["$handle"] = 1.5}}) do
        local ok, e = pcall(box.put, forged, 1)
        codes[#codes + 1] = e.code
      end
      return codes"""
    outcome = await run(sandbox, lua(source), Ground())
    assert outcome.result == ["invalid_argument"] * 4


async def test_what_a_thread_gives_too_late_is_closed() -> None:
    """The run ended while a call was still opening something."""
    ground = Ground()
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Box:
        begun.set()
        go_on.wait(60)
        return ground.opened()

    one = gate(Table({"t.open": Entry(slow, gives="handle", is_blocking=True)}), ground.records)
    task = asyncio.create_task(one.call("t.open", [], {}))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await one.close()
    go_on.set()
    async with asyncio.timeout(60):
        while not (ground.boxes and ground.boxes[0].closed):
            await asyncio.sleep(0)
    assert one.budget._held == {"open_files": 0, "processes": 0}


async def test_what_a_pull_is_still_in_when_its_run_ends_is_closed_behind_it() -> None:
    """What the call had opened was closed under the thread: the number of its descriptor is another file's soon."""
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> Iterator[bytes]:
        try:
            yield b"first"
            begun.set()
            go_on.wait(60)
            order.append("the thread leaves")
            yield b"second"
        finally:
            order.append("the source is closed")

    targets = ExitStack()
    targets.callback(order.append, "what the call had opened is closed")
    pump = Pump(slow())
    pump.prime()
    await pump.pull()
    pulling = asyncio.ensure_future(pump.pull())
    await asyncio.to_thread(begun.wait, 10)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    closing = asyncio.ensure_future(Held("t.slow", pump, targets, (), 0).close())
    for _ in range(10):  # time for whatever is closed too early
        await VISITS.begin(lambda: None)
    go_on.set()
    await closing
    assert order == ["the thread leaves", "the source is closed", "what the call had opened is closed"]


async def test_pulls_and_releases_are_counted_by_rate() -> None:
    """A worker cannot keep the agent busy with them for ever."""
    one = gate(Table({}), limits=Limits(calls_per_s=3), clock_ns=lambda: 0)
    answers: list[bytes] = []
    for _ in range(2):
        await one.pull(7, answers.append)
    await one.release(7)
    assert [decode(body)[1]["code"] for body in answers] == ["not_found"] * 2
    with pytest.raises(Exception, match="calls_per_s"):
        await one.release(7)


async def test_a_stream_is_recorded_with_what_it_gave() -> None:
    """Items and bytes."""
    ground = Ground()
    one = ground.make_gate()()
    reply = await one.call("t.count", [3], {})
    assert decode(reply.body) == [3, [1, "stream", {}]]
    answers: list[bytes] = []
    await one.pull(1, answers.append)
    assert decode(answers[0]) == [4, [[{"n": 0}, {"n": 1}, {"n": 2}], True, {"seen": 3}]]
    (end,) = ground.records.of("call.end")
    assert (end["outcome"], end["data"], end["bytes"]) == ("ok", {"kind": "stream", "items": 3}, len(answers[0]))


AT_EXIT = {
    "last come, first called, after the program": (
        "atexit(function() print('a') end) atexit(function() print('b') end) print('c') return 1",
        "atexit(lambda: print('a'))\natexit(lambda: print('b'))\nprint('c')\nresult = 1",
        ("ok", 1, "c\nb\na\n"),
    ),
    "called although it failed, and what failed first is told": (
        "atexit(function() print('a') error('second') end) error('first')",
        "def end():\n    print('a')\n    raise ValueError('second')\natexit(end)\nraise ValueError('first')",
        ("error", None, "a\n"),
    ),
    "an end that fails fails the run, and the others are called": (
        "atexit(function() print('a') end) atexit(function() error('first') end) return 1",
        "def end():\n    raise ValueError('first')\natexit(lambda: print('a'))\natexit(end)\nresult = 1",
        ("error", None, "a\n"),
    ),
    "one that is added at the end is called too": (
        "atexit(function() atexit(function() print('a') end) end) return 1",
        "atexit(lambda: atexit(lambda: print('a')))\nresult = 1",
        ("ok", 1, "a\n"),
    ),
    "only functions": (
        "return {(pcall(atexit, 5)), (pcall(atexit))}",
        "def is_taken(value):\n    try:\n        atexit(value)\n        return True\n    except TypeError:\n"
        "        return False\nresult = [is_taken(5), is_taken(None)]",
        ("ok", [False, False], ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_EXIT)
async def test_functions_for_the_end(sandbox: Sandbox, case: str) -> None:
    """The same in both languages."""
    of_lua, of_python, (status, result, output) = AT_EXIT[case]
    for program in (lua(of_lua), python(of_python)):
        outcome = await run(sandbox, program, Ground())
        assert (outcome.status, outcome.result, outcome.output.decode()) == (status, result, output), outcome
        if status == "error":
            assert "first" in str(outcome.reason)


@pytest.mark.parametrize("program", [
    lua("local function again() atexit(again) end again()"), python("def again():\n    atexit(again)\nagain()"),
], ids=["lua", "python"])  # fmt: skip
async def test_an_end_without_an_end_is_ended(sandbox: Sandbox, program: Program) -> None:
    """By the same limits as everything before it."""
    outcome = await run(sandbox, program, Ground(), Limits(wall_s=1.0, cpu_s=5))
    assert outcome.status == "killed"


async def test_whoever_takes_bytes_themselves_gets_those_of_the_source_and_the_record_is_the_same() -> None:
    """Sessions of people hand them on, and copy none of them."""
    told = []
    for takes_bytes in (False, True):
        ground = Ground()
        one = ground.make_gate()()
        await one.call("t.bytes", [], {})
        answers: list[bytes] = []
        pieces: list[bytes] = []
        for _ in range(3):
            await one.pull(1, answers.append, pieces.append if takes_bytes else None)
        if takes_bytes:
            assert pieces == [b"x" * 200_000, b"y"]
            assert pieces[0] is ground.bytes[0]
        else:
            assert answers[:2] == [RAW + b"x" * 200_000, RAW + b"y"]
        assert decode(answers[-1]) == [4, [[], True, None]]
        (end,) = ground.records.of("call.end")
        told.append((end["outcome"], end["data"], end["bytes"]))
    assert told[0] == told[1]


async def test_rows_are_rows_in_luajit_too(sandbox: Sandbox) -> None:
    source = "local n, s = 0, t.rows(9) for e in s do if type(e) == 'table' then n = n + e.size end end return n"
    program = Program("luajit", "main.lua", {"main.lua": source.encode()}, {})
    outcome = await run(sandbox, program, Ground())
    assert (outcome.status, outcome.result) == ("ok", 9 * (0 + 1 + 2 + 1)), outcome.reason


async def test_a_secret_in_a_row_is_redacted() -> None:
    """Rows in columns pass the same door as all the rest."""
    redactor = Redactor()
    redactor.add("db", b"hunter2!")
    pump = Pump(iter([block(["a hunter2!", "b"])]), redactor)
    batch = batch_of((await pump.pull()).body)
    assert [row["path"] for row in batch.items] == ["/d/a [secret db]", "/d/b"]


async def test_nothing_is_lost_where_time_is_up_before_a_batch_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may stand still anywhere. What did not fit into one batch was dropped if it did so before the next."""
    monkeypatch.setattr("sandbox.pump.BATCH_NS", 0)
    given = [block(["a"]), {"n": 1}, block(["b"]), {"n": 2}, [{"n": 3}]]
    pump, got = Pump(iter(given)), []
    for _ in range(len(given)):
        got += batch_of((await pump.pull()).body).items
    assert [each.get("name", each.get("n")) for each in got] == ["a", 1, "b", 2, 3]
    assert batch_of((await pump.pull()).body).is_end


async def test_a_batch_of_rows_is_bounded() -> None:
    """By rows, and by bytes: what a script does not read must not pile up."""
    taken: list[int] = []

    def blocks(names: list[str]) -> Iterator[Columns]:
        for number in range(1000):
            taken.append(number)
            yield block(names)

    for names, most_bytes in ((["x"] * 512, 200_000), (["y" * 4000] * 10, 200_000)):
        taken.clear()
        pump = Pump(blocks(names))
        batch = await pump.pull()
        assert batch.items <= BATCH_ROWS
        assert len(batch.body) < most_bytes
        await pump.close()
        assert len(taken) <= 2 * BATCH_ROWS // len(names), "no more than one batch ahead"


async def test_bytes_that_fit_no_frame_end_the_stream_with_an_error() -> None:
    """What a worker would have to refuse is not sent."""
    pump = Pump(iter([b"x" * MAX_CHANNEL_FRAME_BYTES]))
    with pytest.raises(TooLargeError):
        await pump.pull()
