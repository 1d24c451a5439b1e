"""Every call gives exactly one record, and nothing happens that was not decided."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from arena import ALLOW, DENY, LIMITS, Entry, Records, Table, gate
from visiting import PATIENCE_S

from policies.model import Effect, Facts, Verdict
from protocol.errors import ArgumentError, BudgetError, DeniedError, NotFoundError, OutriderError, UnavailableError
from protocol.frames import decode
from protocol.limits import MAX_CHANNEL_FRAME_BYTES
from sandbox import attempts, call_records, decisions
from sandbox.gate import Gate
from sandbox.parties import CallEntry, CallSummary, CallTable


def raising(error: BaseException) -> Any:
    def perform(*_: Any) -> Any:
        raise error

    return perform


async def value(*args: Any) -> Any:
    return list(args)


def table(**entries: Entry) -> Table:
    return Table({f"t.{name}": entry for name, entry in entries.items()})


async def test_an_allowed_call_is_performed_and_recorded() -> None:
    """The fields of the record, in full."""
    records = Records()
    reply = await gate(table(a=Entry(value)), records).call("t.a", [1, 2], {"n": 3})
    assert (reply.ok, reply.value, decode(reply.body)) == (True, [1, 2], [1, [1, 2]])
    (kept,) = records.kept
    assert kept.pop("duration_us") >= 0
    assert kept == {
        "kind": "call", "session": "s1", "run": "r1", "principal": "tester", "call": "t.a",
        "arguments": {"args": [1, 2], "n": 3}, "verdict": "allow", "rule": ALLOW.rule, "outcome": "ok",
        "bytes": len(reply.body), "data": {},
    }  # fmt: skip


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_change_tells_on_record_from_what_to_what(is_blocking: bool) -> None:
    """Else nobody could say later whether a file is what an edit left: its diff alone does not."""

    def changed(*_: Any) -> Any:
        return {
            "created": False, "old_hash": "aa", "new_hash": "bb", "journal": "j1", "no_undo": None, "diff": "secret",
        }  # fmt: skip

    records = Records()
    calls = table(
        change=Entry(changed, changes=True, is_blocking=is_blocking), look=Entry(changed, is_blocking=is_blocking),
        odd=Entry(lambda *_: {"new_hash": 5, "old_hash": None, "journal": "x" * 1000}, changes=True),
    )  # fmt: skip
    for name in ("change", "look", "odd"):
        assert (await gate(calls, records).call(f"t.{name}", [], {})).ok
    told = [kept["data"] for kept in records.kept if kept["kind"] == "call"]
    assert told == [{"old_hash": "aa", "new_hash": "bb", "journal": "j1"}, {}, {}]


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_denied_call_is_not_performed(is_blocking: bool) -> None:
    """Opened, decided, closed; one record with the rule."""
    records, entry = Records(), Entry(value, is_blocking=is_blocking)
    one = gate(table(a=entry), records, decide=lambda *_: DENY)
    reply = await one.call("t.a", [], {})
    assert entry.events == ["open", "close"]
    assert (reply.ok, decode(reply.body)[1]) == (
        False, {"code": "denied", "message": "test denies it (test.yaml:2 deny *)", "rule": DENY.rule}
    )  # fmt: skip
    assert [(kept["verdict"], kept["outcome"], kept["rule"]) for kept in records.kept] == [
        ("deny", "denied", DENY.rule)
    ]
    assert one.decisions.denial is reply.error


async def test_a_question_is_denied_as_nobody_can_be_asked() -> None:
    """And the text says that."""
    asked = Verdict(Effect.ASK, "x.yaml:3 ask t.a", "x wants somebody asked about t.a")
    reply = await gate(table(a=Entry(value)), decide=lambda *_: asked).call("t.a", [], {})
    assert str(reply.error) == "x wants somebody asked about t.a; nobody to ask (x.yaml:3 ask t.a)"


async def test_an_unknown_call_is_recorded() -> None:
    """With the arguments as they came."""
    records = Records()
    reply = await gate(table(), records).call("no.such", [1], {"a": 2})
    assert isinstance(reply.error, NotFoundError)
    (kept,) = records.kept
    assert (kept["verdict"], kept["rule"], kept["outcome"]) == ("deny", attempts.RULE_UNKNOWN, "not_found")
    assert kept["arguments"] == {"args": [1], "named": {"a": 2}}


async def test_wrong_arguments_are_recorded_and_named() -> None:
    """The script hears which parameter it was."""
    records, entry = Records(), Entry(value)
    reply = await gate(table(a=entry), records).call("t.a", [], {"bad": True})
    assert decode(reply.body)[1]["parameter"] == "bad"
    assert (entry.events, records.kept[0]["rule"]) == ([], attempts.RULE_ARGUMENTS)


async def test_a_change_is_intended_before_it_is_performed() -> None:
    """The intent is durable first; the outcome follows."""
    records, entry = Records(), Entry(changes=True)

    def perform(*_: Any) -> str:
        assert [kept["kind"] for kept in records.kept] == ["intent"]
        return "changed"

    entry.perform = perform
    await gate(table(a=entry), records).call("t.a", [], {})
    assert [(kept["kind"], kept["verdict"]) for kept in records.kept] == [("intent", "allow"), ("call", "allow")]


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_what_cannot_be_intended_is_not_performed(is_blocking: bool) -> None:
    """An effect without a record must not exist."""

    class NoIntents(Records):
        async def intend(self, **fields: Any) -> None:
            raise UnavailableError("the disk refuses")

    records, entry = NoIntents(), Entry(changes=True, is_blocking=is_blocking)
    reply = await gate(table(a=entry), records).call("t.a", [], {})
    assert (reply.ok, entry.events) == (False, ["open", "close"])
    assert [kept["outcome"] for kept in records.kept] == ["unavailable"]


async def test_what_cannot_be_recorded_is_not_answered() -> None:
    """The error ends the run; the script never sees the value."""
    with pytest.raises(UnavailableError):
        await gate(table(a=Entry(value)), Records(UnavailableError("the disk refuses"))).call("t.a", [], {})


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_an_error_of_a_call_reaches_the_script(is_blocking: bool) -> None:
    """With its code; the call was allowed and failed."""
    records = Records()
    entry = Entry(raising(ArgumentError("path: too long", parameter="path")), is_blocking=is_blocking)
    reply = await gate(table(a=entry), records).call("t.a", [], {})
    assert decode(reply.body)[1] == {"code": "invalid_argument", "message": "path: too long", "parameter": "path"}
    assert (records.kept[0]["verdict"], records.kept[0]["outcome"]) == ("allow", "invalid_argument")


@pytest.mark.parametrize("decision", [ALLOW, DENY, Verdict(Effect.DENY, "x.yaml:1", "x denies t.a /\udcff")])
async def test_a_name_that_is_no_text_does_not_hide_a_call(decision: Verdict) -> None:
    """The name of a file may be any bytes; an error that holds it was lost on its way, and the call with it."""
    records = Records()
    entry = Entry(raising(ArgumentError("\udcff: too long")), facts=Facts(path="/\udcff"))
    one = gate(table(a=entry), records, decide=lambda *_: decision)
    reply = await one.call("t.a", [], {})
    assert not reply.ok
    assert b"udcff" in reply.body or decision is DENY
    assert [kept["outcome"] for kept in records.kept] == [reply.error.code if reply.error else ""]
    str(one.decisions.denial).encode()  # it becomes the reason of the run, which is recorded and sent


async def test_an_unexpected_error_keeps_its_text_on_our_side(caplog: pytest.LogCaptureFixture) -> None:
    """A bare code outside, everything in the log."""
    records = Records()
    with caplog.at_level(logging.ERROR):
        reply = await gate(table(a=Entry(raising(ValueError("secret")))), records).call("t.a", [], {})
    assert b"secret" not in reply.body
    assert "secret" in caplog.text
    assert records.kept[0]["outcome"] == "internal"


async def test_blocking_calls_run_on_a_thread() -> None:
    """The loop goes on meanwhile."""
    names: list[int] = []
    entry = Entry(lambda *_: names.append(threading.get_ident()), is_blocking=True)
    await gate(table(a=entry)).call("t.a", [], {})
    assert names != [threading.get_ident()]


async def test_the_decision_is_made_on_the_facts() -> None:
    """Not on the arguments; equal facts are decided once."""
    asked: list[tuple[str, Facts]] = []

    def decide(name: str, facts: Facts) -> Verdict:
        asked.append((name, facts))
        return ALLOW

    entry = Entry(value, facts=Facts(path="/real"))
    one = gate(table(a=entry), decide=decide)
    await one.call("t.a", ["/link"], {})
    await one.call("t.a", ["/other"], {})
    entry.facts = Facts(path="/elsewhere")
    await one.call("t.a", ["/link"], {})
    assert asked == [("t.a", Facts(path="/real")), ("t.a", Facts(path="/elsewhere"))]


async def test_what_was_allowed_is_decided_anew_on_other_facts() -> None:
    """A call that passed before passes again unasked on the very same facts, and on no others."""
    entry, asked = Entry(value), []
    harmless = Facts(name="harmless")
    entry.facts = harmless

    def decide(_name: str, facts: Facts) -> Verdict:
        asked.append(facts)
        return DENY if facts.name == "other" else ALLOW

    one = gate(Table({"t.a": Kept(entry), "t.b": entry}), decide=decide)
    assert [(await one.call("t.a", [], {})).ok for _ in range(3)] == [True] * 3
    assert asked == [harmless]
    entry.facts = Facts(name="other")
    assert not (await one.call("t.a", [], {})).ok
    assert not (await one.call("t.b", [], {})).ok
    entry.facts = harmless
    assert (await one.call("t.a", [], {})).ok


class Kept(Entry):
    """A call that gives the very same facts as long as they are the same, as those of the catalogue do."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.perform)
        self.entry = entry
        self.given: dict[Facts, tuple[Facts, ...]] = {}

    @contextmanager
    def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Any]:
        facts = self.given.setdefault(self.entry.facts, (self.entry.facts,))
        yield SimpleNamespace(facts=facts, perform=lambda: self.entry.perform(*bound["args"]))


async def test_one_call_too_many_ends_the_run() -> None:
    """It is recorded as refused by the limit, and not performed."""
    records, entry = Records(), Entry(value)
    one = gate(table(a=entry), records, replace(LIMITS, calls=1))
    await one.call("t.a", [], {})
    with pytest.raises(BudgetError, match="calls: 2 used, the limit is 1"):
        await one.call("t.a", [], {})
    assert entry.events == ["open", "perform", "close"]
    assert [(kept["verdict"], kept["outcome"], kept["rule"]) for kept in records.kept][1:] == [
        ("deny", "budget", "limits")
    ]


async def test_too_many_calls_in_a_second_end_the_run() -> None:
    """A loop around a call is not stopped by catching the error."""
    one = gate(table(a=Entry(value)), limits=replace(LIMITS, calls_per_s=3), clock_ns=lambda: 0)
    for _ in range(3):
        await one.call("t.a", [], {})
    with pytest.raises(BudgetError, match="calls_per_s: 4 used, the limit is 3"):
        await one.call("t.a", [], {})


async def test_log_lines_have_a_budget_of_their_own() -> None:
    """Over it, the call fails and says so, on the record as well, and the run goes on."""
    records = Records()
    one = gate(Table({"log.info": Entry(value), "t.a": Entry(value)}), records, replace(LIMITS, log_lines=2))
    replies = [await one.call(name, [], {}) for name in ("log.info", "log.info", "log.info", "t.a")]
    assert [reply.ok for reply in replies] == [True, True, False, True]
    assert str(replies[2].error) == "log_lines: 3 used, the limit is 2"
    assert [(kept["verdict"], kept["outcome"], kept["rule"]) for kept in records.kept][2] == (
        "deny",
        "budget",
        "limits",
    )


@pytest.mark.parametrize(("facts", "limit"), [(Facts(path="/x"), "open_files"), (Facts(command="df"), "processes")])
async def test_what_a_call_holds_is_bounded(facts: Facts, limit: str) -> None:
    """None may be held: allowed by the policy, refused by the limit, nothing intended."""
    records, entry = Records(), Entry(value, facts=facts, changes=True)
    reply = await gate(table(a=entry), records, replace(LIMITS, **{limit: 0})).call("t.a", [], {})
    assert isinstance(reply.error, BudgetError)
    assert (entry.events, [kept["rule"] for kept in records.kept]) == (["open", "close"], ["limits"])


async def test_a_value_that_fits_no_frame_is_an_error() -> None:
    """The script hears it, the record says it."""
    records = Records()
    entry = Entry(lambda *_: b"x" * MAX_CHANNEL_FRAME_BYTES)
    reply = await gate(table(a=entry), records).call("t.a", [], {})
    assert decode(reply.body)[1]["code"] == records.kept[0]["outcome"] == "too_large"


async def test_a_value_that_is_not_plain_is_an_error() -> None:
    """An implementation that returns an object of ours is our fault, and must not leak it."""
    reply = await gate(table(a=Entry(lambda *_: object()))).call("t.a", [], {})
    assert not reply.ok
    assert b"object" not in reply.body or b"0x" not in reply.body


async def test_a_call_that_is_cut_short_is_recorded_once() -> None:
    """And its targets are closed."""
    records, begun = Records(), asyncio.Event()

    async def wait(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    entry = Entry(wait)
    task = asyncio.create_task(gate(table(a=entry), records).call("t.a", [], {}))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [kept["outcome"] for kept in records.kept] == ["cut short"]
    assert entry.events == ["open", "perform", "close"]


async def test_a_cancellation_is_not_lost_if_it_cannot_be_recorded() -> None:
    """The run ends anyway."""
    task = asyncio.create_task(
        gate(table(a=Entry(lambda *_: asyncio.Event().wait())), Records(UnavailableError("full"))).call("t.a", [], {})
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_list_of_calls_of_a_run() -> None:
    """Name, verdict, rule and time of each; denied ones too."""
    one = gate(table(a=Entry(value)))
    await one.call("t.a", [], {})
    await one.call("t.b", [], {})
    assert [(each.call, each.verdict, each.rule) for each in one.records.summaries] == [
        ("t.a", "allow", ALLOW.rule),
        ("t.b", "deny", attempts.RULE_UNKNOWN),
    ]
    assert all(isinstance(each, CallSummary) and each.ms >= 0 for each in one.records.summaries)


async def test_the_list_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of millions of calls must not fill the agent's memory."""
    monkeypatch.setattr(call_records, "MAX_SUMMARIES", 2)
    monkeypatch.setattr(decisions, "MAX_CACHED_VERDICTS", 2)
    entry = Entry(value)
    one = gate(table(a=entry))
    for number in range(5):
        entry.facts = Facts(path=f"/{number}")
        await one.call("t.a", [], {})
    assert len(one.records.summaries) == 2
    assert len(one.decisions._verdicts) == 2


def test_the_double_of_the_table_is_what_the_gate_asks_for() -> None:
    """The tests above prove nothing if it is not."""
    entry: CallEntry = Entry()
    calls: CallTable = Table({"a": entry})  # type: ignore[dict-item] # a double of it
    assert calls.find("a") is entry
    assert issubclass(OutriderError, Exception)
    assert isinstance(gate(), Gate)


async def test_no_more_paths_are_opened_than_may_be_open() -> None:
    """Each of a list is opened before the decision: a thousand at once may be all that the agent can have open."""
    records, entry = Records(), Entry(facts=Facts(path="/x"), lists=("args",))
    one = gate(table(a=entry), records, replace(LIMITS, open_files=3))
    assert (await one.call("t.a", ["/a", "/b", "/c"], {})).ok
    reply = await one.call("t.a", ["/a", "/b", "/c", "/d"], {})
    assert isinstance(reply.error, BudgetError)
    assert str(reply.error) == "open_files: 4 used, the limit is 3"
    assert entry.events == ["open", "perform", "close"]
    assert (records.kept[-1]["verdict"], records.kept[-1]["rule"]) == ("deny", attempts.RULE_BUDGET)


async def test_nothing_is_opened_for_what_is_never_allowed() -> None:
    """Or a script that may touch nothing could tell what there is, and wait for what never answers."""
    records, entry, asked = Records(), Entry(facts=Facts(path="/x")), []

    def never(name: str) -> Verdict | None:
        asked.append(name)
        return Verdict(Effect.DENY, "tier: no rule", f"tier has no rule for {name}") if name == "t.a" else None

    one = gate(table(a=entry, b=Entry(lambda: 1)), records, never=never)
    for _ in range(2):
        reply = await one.call("t.a", ["/x", "y"], {})
        assert isinstance(reply.error, DeniedError)
        assert str(reply.error) == "tier has no rule for t.a /x y (tier: no rule)"
        assert (await one.call("t.b", [], {})).ok
    assert entry.events == []
    assert [(kept["call"], kept["verdict"], kept["rule"]) for kept in records.kept[:2]] == [
        ("t.a", "deny", "tier: no rule"), ("t.b", "allow", ALLOW.rule),
    ]  # fmt: skip
    assert asked == ["t.a", "t.b", "t.a"], "what may be allowed is asked about once"
    assert one.decisions.denial is not None


class Taker:
    """Something that takes bytes."""

    kind = "taker"

    def __init__(self) -> None:
        self.got = b""

    def fields(self) -> dict[str, Any]:
        return {}

    def take(self, pieces: list[bytes]) -> None:
        if pieces == [b"wrong"]:
            raise UnavailableError("the disk is full")
        self.got += b"".join(pieces)

    def close(self) -> None:
        return None


async def test_bytes_go_to_what_was_opened_for_them_and_are_counted_on_record() -> None:
    """What comes over a link in thousands of pieces is one opening and one end, and no record for each piece."""
    records, taker = Records(), Taker()

    async def opened() -> Taker:
        return taker

    one = gate(table(open=Entry(opened, gives="handle"), other=Entry(value)), records)
    number = (await one.call("t.open", [], {})).value.number
    await one.push(number, [b"a", b"b"])
    await one.push(number, [b"c"])
    with pytest.raises(UnavailableError):
        await one.push(number, [b"wrong"])
    with pytest.raises(NotFoundError):
        await one.push(number + 1, [b"x"])
    await one.release(number)
    with pytest.raises(NotFoundError):
        await one.push(number, [b"x"])
    assert taker.got == b"abc"
    end = records.kept[-1]
    assert (end["kind"], end["call"], end["bytes"], end["data"]["items"]) == ("call.end", "t.open", 3, 2)


async def test_many_things_that_are_slow_to_close_hold_the_end_up_as_long_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is waited for some seconds; one after the other, a run that was stopped would go on for minutes."""
    monkeypatch.setattr("sandbox.held.CLOSE_TIMEOUT_S", 10 * PATIENCE_S)
    together = asyncio.Barrier(3)

    class Slow(Taker):
        async def close(self) -> None:  # type: ignore[override]  # of a thing that takes its time
            await together.wait()  # until the others are closed as well

    async def opened() -> Taker:
        return Slow()

    records = Records()
    one = gate(table(open=Entry(opened, gives="handle")), records)
    for _ in range(3):
        await one.call("t.open", [], {})
    async with asyncio.timeout(PATIENCE_S):
        await one.close()
    assert [kept["outcome"] for kept in records.kept[-3:]] == ["cut short"] * 3


async def test_what_ends_with_a_session_and_never_comes_back_does_not_hold_up_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As what a run made as temporary, whose removal waits for a thread that a dead file system has for good."""
    monkeypatch.setattr("sandbox.held.CLOSE_TIMEOUT_S", 0.01)
    may_end, has_ended = asyncio.Event(), asyncio.Event()

    async def end() -> None:
        await may_end.wait()
        has_ended.set()

    async def opened() -> Taker:
        return Taker()

    for calls in (table(), table(open=Entry(opened, gives="handle"))):  # with nothing held, and with something
        one = gate(calls, on_close=end)
        if "t.open" in calls:
            await one.call("t.open", [], {})
        async with asyncio.timeout(PATIENCE_S):
            await one.close()
        assert "what ends with s1 takes long" in caplog.text
        assert not has_ended.is_set()
        may_end.set()
        async with asyncio.timeout(PATIENCE_S):
            await has_ended.wait()  # behind it
        for each in (may_end, has_ended, caplog):
            each.clear()


class AtOnce(Entry):
    """A call that is tried on the loop: what happens there, and then what happens on a thread."""

    def tried(self, perform: Any) -> AtOnce:
        @contextmanager
        def prepare(host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Any]:
            self.events.append("try")
            try:
                yield SimpleNamespace(facts=(self.facts,), perform=perform)
            finally:
                self.events.append("leave")

        self.prepare_at_once, self.is_blocking = prepare, True
        return self


async def test_what_can_be_done_at_once_needs_no_thread() -> None:
    """It is decided and recorded like every other call."""
    records, entry = Records(), AtOnce(facts=Facts(path="/x"))
    one = gate(table(a=entry.tried(threading.get_ident)), records)
    reply = await one.call("t.a", [], {})
    assert (reply.value, entry.events) == (threading.get_ident(), ["try", "leave"])
    assert [(kept["verdict"], kept["rule"], kept["outcome"]) for kept in records.kept] == [("allow", ALLOW.rule, "ok")]
    assert one.budget.remaining()["open_files"] == LIMITS.open_files


async def test_what_cannot_be_done_at_once_is_done_on_a_thread_and_recorded_once() -> None:
    """From the beginning: opened and decided anew. What the attempt held is given back."""
    records, entry = Records(), AtOnce(lambda *_: threading.get_ident(), facts=Facts(path="/x"))
    decisions: list[Facts] = []

    def decide(_name: str, facts: Facts) -> Verdict:
        decisions.append(facts)
        return ALLOW

    one = gate(table(a=entry.tried(raising(BlockingIOError()))), records, decide=decide)
    reply = await one.call("t.a", [], {})
    assert reply.ok
    assert reply.value != threading.get_ident()
    assert entry.events == ["try", "leave", "open", "perform", "close"]
    assert len(records.kept) == 1
    assert one.budget.remaining()["open_files"] == LIMITS.open_files


async def test_an_attempt_leaves_no_verdict_behind() -> None:
    """What is allowed on the loop and then cannot be opened on the thread was never decided."""
    records, entry = Records(), AtOnce()

    @contextmanager
    def gone(*_: Any) -> Iterator[Any]:
        raise NotFoundError("it does not exist any more")
        yield

    entry.tried(raising(BlockingIOError())).prepare = gone  # type: ignore[method-assign]  # of this one entry
    await gate(table(a=entry), records).call("t.a", [], {})
    assert [(kept["verdict"], kept["rule"], kept["outcome"]) for kept in records.kept] == [
        ("deny", attempts.RULE_NOT_DECIDED, "not_found")
    ]


@pytest.mark.parametrize("error", [ArgumentError("path: too long", parameter="path"), RuntimeError("a fault of ours")])
async def test_no_other_error_makes_it_try_again(error: Exception) -> None:
    """Nothing is done twice but what could not be done at all."""
    entry = AtOnce()
    reply = await gate(table(a=entry.tried(raising(error)))).call("t.a", [], {})
    assert (reply.ok, entry.events) == (False, ["try", "leave"])


async def test_what_is_denied_at_once_is_not_done() -> None:
    """Neither there nor on a thread."""
    records, entry = Records(), AtOnce()
    one = gate(table(a=entry.tried(raising(AssertionError("performed")))), records, decide=lambda *_: DENY)
    reply = await one.call("t.a", [], {})
    assert (one.decisions.denial, entry.events) == (reply.error, ["try", "leave"])
    assert [(kept["verdict"], kept["rule"]) for kept in records.kept] == [("deny", DENY.rule)]


@pytest.mark.parametrize("gives", ["value", "handle"])
async def test_what_may_take_its_time_is_opened_on_a_thread(gives: str) -> None:
    """Also of a call that is carried out on the loop: a path may lead to a file system that does not answer."""
    opened_by: list[int] = []

    class Slow(Entry):
        @contextmanager
        def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Any]:
            opened_by.append(threading.get_ident())
            with Entry.prepare(self, host, run, bound, passage) as ready:
                yield ready

    entry = Slow(looks_up=True, gives=gives)
    thing = SimpleNamespace(kind="thing", fields=dict, close=lambda: None)
    entry.perform = lambda *_: thing if gives == "handle" else threading.get_ident()
    one = gate(table(a=entry))
    reply = await one.call("t.a", [], {})
    assert reply.ok
    assert opened_by
    assert threading.get_ident() not in opened_by
    assert gives == "handle" or reply.value == threading.get_ident()
    await one.close()
    assert entry.events == ["open", "perform", "close"]


async def test_a_call_that_is_cut_short_while_a_thread_opens_is_closed_behind_it() -> None:
    """And is not performed."""
    going, go, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow(Entry):
        @contextmanager
        def prepare(self, host: Any, run: Any, bound: dict[str, Any], passage: Any) -> Iterator[Any]:
            going.set()
            assert go.wait(60)
            with Entry.prepare(self, host, run, bound, passage) as ready:
                yield ready
            closed.set()

    records, entry = Records(), Slow(looks_up=True)
    call = asyncio.ensure_future(gate(table(a=entry), records).call("t.a", [], {}))
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, going.wait, 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    assert await loop.run_in_executor(None, closed.wait, 60)
    assert entry.events == ["open", "close"]
    assert [kept["outcome"] for kept in records.kept] == ["cut short"]
