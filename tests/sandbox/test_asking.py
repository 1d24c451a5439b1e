"""Where the policy asks: nothing is open while a person thinks, and a yes is good for what was asked about alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from arena import LIMITS, Entry, Records, Table

from policies.model import Effect, Facts, Verdict
from sandbox.budget import Budget
from sandbox.decisions import MAX_QUESTIONS
from sandbox.gate import Gate
from sandbox.parties import Answer, Session

ASK = Verdict(Effect.ASK, "test.yaml:3 ask *", "test wants somebody asked")
YES = Answer(True, "ana", "")
NO = Answer(False, "ana", "ana said no")


class Person:
    """Somebody who is asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.entry: Entry | None = None  # whose events are looked at when the question comes

    async def __call__(self, call: str, what: str) -> Answer:
        self.asked.append((call, what))
        if self.entry is not None:
            assert self.entry.events[-1:] == ["close"], "nothing of the call's is open while a person thinks"
        return self.answers.pop(0)


async def value(*args: Any) -> Any:
    return list(args)


def asking(entry: Entry, person: Person | None, records: Records, decide: Any = lambda *_: ASK) -> Gate:
    if person is not None:
        person.entry = entry
    return Gate(Table({"t.a": entry}), decide, records, Session("s1", "r1", "tester"), Budget(LIMITS), asker=person)


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_yes_lets_the_call_through_and_the_record_says_whose_it_was(is_blocking: bool) -> None:
    person, records = Person(YES), Records()
    entry = Entry((lambda *_: 1) if is_blocking else value, is_blocking=is_blocking, changes=True)
    reply = await asking(entry, person, records).call("t.a", [], {})
    assert reply.ok
    assert person.asked == [("t.a", "test wants somebody asked")]
    assert entry.events == ["open", "close", "open", "perform", "close"]
    assert [(kept["kind"], kept["verdict"], kept["rule"]) for kept in records.kept] == [
        ("intent", "allow", "test.yaml:3 ask *; ana said yes"), ("call", "allow", "test.yaml:3 ask *; ana said yes"),
    ]  # fmt: skip


@pytest.mark.parametrize("is_blocking", [False, True])
@pytest.mark.parametrize(("person", "why"), [(Person(NO), "ana said no"), (None, "nobody to ask")])
async def test_a_no_or_nobody_denies_it(is_blocking: bool, person: Person | None, why: str) -> None:
    records, entry = Records(), Entry(value, is_blocking=is_blocking)
    if person is not None:
        person = Person(*[NO])
    reply = await asking(entry, person, records).call("t.a", [], {})
    assert reply.error is not None
    assert reply.error.code == "denied"
    assert why in str(reply.error)
    assert "perform" not in entry.events
    (kept,) = records.kept
    assert (kept["verdict"], kept["rule"], kept["outcome"]) == ("deny", ASK.rule, "denied")


async def test_each_call_is_a_question_of_its_own() -> None:
    person = Person(YES, NO)
    gate = asking(Entry(value), person, Records())
    assert (await gate.call("t.a", [], {})).ok
    assert not (await gate.call("t.a", [], {})).ok


async def test_a_yes_is_good_for_what_was_asked_about_and_nothing_else() -> None:
    """A link that is turned while the person thinks leads to another file, and that is another question."""
    entry, person = Entry(value, facts=Facts(path="/srv/harmless")), Person(YES, NO)

    async def turn(call: str, what: str) -> Answer:
        entry.facts = Facts(path="/etc/shadow")
        return await person(call, what)

    def decide(_: str, facts: Facts) -> Verdict:
        return replace(ASK, reason=f"about {facts.path}")

    gate = Gate(Table({"t.a": entry}), decide, Records(), Session("s1", "r1", "tester"), Budget(LIMITS), asker=turn)
    reply = await gate.call("t.a", [], {})
    assert not reply.ok
    assert [what for _, what in person.asked] == ["about /srv/harmless", "about /etc/shadow"]
    assert "perform" not in entry.events


async def test_somebody_who_turns_it_for_ever_is_denied() -> None:
    entry, person = Entry(value), Person(*[YES] * 100)
    number = iter(range(1000))

    async def turn(call: str, what: str) -> Answer:
        entry.facts = Facts(path=f"/{next(number)}")
        return await person(call, what)

    gate = Gate(
        Table({"t.a": entry}), lambda *_: ASK, Records(), Session("s1", "r1", "tester"), Budget(LIMITS), asker=turn
    )
    assert not (await gate.call("t.a", [], {})).ok
    assert len(person.asked) == MAX_QUESTIONS


async def test_nobody_is_asked_about_what_is_denied_anyway() -> None:
    """Two objects, one of them denied: a question would be about nothing."""

    entry, person = Entry(value), Person()

    class Ready:
        facts = (Facts(path="/asked"), Facts(path="/denied"))

        def perform(self) -> Any:
            raise AssertionError

    def decide(_: str, facts: Facts) -> Verdict:
        return ASK if facts.path == "/asked" else Verdict(Effect.DENY, "rule", "no")

    gate = asking(entry, person, Records(), decide)
    entry.prepare = lambda *_: _Context(Ready())  # type: ignore[method-assign,assignment,return-value]  # a double
    assert not (await gate.call("t.a", [], {})).ok
    assert person.asked == []


class _Context:
    def __init__(self, ready: Any) -> None:
        self.ready = ready

    def __enter__(self) -> Any:
        return self.ready

    def __exit__(self, *_: object) -> None:
        return None


async def test_a_session_that_ends_while_a_person_thinks_performs_nothing() -> None:
    entry, records = Entry(value), Records()
    thinking = asyncio.Event()

    async def think(_call: str, _what: str) -> Answer:
        thinking.set()
        await asyncio.Event().wait()
        return YES

    gate = Gate(
        Table({"t.a": entry}), lambda *_: ASK, records, Session("s1", "r1", "tester"), Budget(LIMITS), asker=think
    )
    task = asyncio.ensure_future(gate.call("t.a", [], {}))
    await thinking.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert entry.events == ["open", "close"]
    assert records.kept[-1]["outcome"] == "cut short"
