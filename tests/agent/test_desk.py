"""The owner's desk: a freeze ends what is under way at once, and questions are seen and answered on the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from premises import Premises, until

from agent import owner_freeze
from agent.consent import Consents
from agent.control import Caller, ControlSocket
from agent.desk import LOOK_EVERY_S, Desk


class Ended:
    """What would be under way."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def stop_all(self, reason: str) -> None:
        self.why.append(reason)

    async def close_all(self, reason: str) -> None:
        self.why.append(reason)


class Room:
    def __init__(self, premises: Premises) -> None:
        premises.allow("highest_tier: observe\nsessions: {consent: ask}\n")
        self.premises = premises
        self.consents = Consents(premises.trust.ceiling, premises.recorder, premises.clock)
        self.live, self.runs = Ended(), Ended()
        self.changes = 0
        self.desk = Desk(
            self.consents, premises.trust, self.live, self.runs, premises.recorder, premises.clock, self.changed  # type: ignore[arg-type]  # what it uses of them
        )  # fmt: skip
        self.control = ControlSocket(premises.state.path, self.desk.actions)

    def changed(self) -> None:
        self.changes += 1

    def freeze(self, reason: str = "odd") -> None:
        owner_freeze.write(self.premises.state, reason, self.premises.now())

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        def asked() -> dict[str, Any]:
            with Caller(self.premises.state.path) as caller:
                return caller.ask(do, **fields)

        return await asyncio.to_thread(asked)


@pytest.fixture
async def room(premises: Premises) -> AsyncIterator[Room]:
    made = Room(premises)
    await made.control.start()
    yield made
    await made.control.close()


async def test_a_freeze_ends_everything_at_once_and_is_on_record(room: Room) -> None:
    assert await room.ask("freeze.look") == {"frozen": False}
    room.freeze()
    assert await room.ask("freeze.look") == {"frozen": True}
    assert room.live.why == room.runs.why == ["the owner of this host has frozen it: odd"]
    owner_freeze.lift(room.premises.state)
    assert await room.ask("freeze.look") == {"frozen": False}
    assert room.changes == 2
    records = await room.premises.records("event")
    assert [(each.outcome, each.data["reason"]) for each in records] == [("frozen", "odd"), ("unfrozen", "")]


@pytest.mark.parametrize("way", ["command", "ceiling"])
async def test_it_is_felt_within_a_second_also_if_nobody_says_so(room: Room, way: str) -> None:
    looking = asyncio.ensure_future(room.desk.keep_looking())
    await room.premises.clock.settled()
    if way == "command":
        room.freeze()
    else:
        room.premises.allow("frozen: true\n")
    await room.premises.clock.advance(LOOK_EVERY_S)
    assert len(room.live.why) == 1
    await room.premises.clock.advance(LOOK_EVERY_S)
    assert len(room.live.why) == 1, "once"
    looking.cancel()


async def test_a_ceiling_that_is_damaged_ends_nothing_that_was_decided_before(room: Room) -> None:
    room.premises.allow("frozn: true\n")
    assert not await room.desk.look()
    assert room.live.why == []


async def test_questions_are_listed_and_answered(room: Room) -> None:
    asked = asyncio.ensure_future(room.consents.ask("May I?", about="session", session="s_1", principal="oli"))
    await until(lambda: room.consents.pending)
    (question,) = (await room.ask("consent.ls"))["questions"]
    assert question["text"] == "May I?"
    with pytest.raises(Exception, match="granted"):
        await room.ask("consent.answer", question=question["id"], granted="yes")
    await room.ask("consent.answer", question=question["id"], granted=True)
    answer = await asked
    assert answer.granted
    assert answer.by.endswith("(on the host)")


async def test_who_watches_sees_what_waits_and_what_comes_until_he_goes(room: Room) -> None:
    asked = [asyncio.ensure_future(room.consents.ask("first?", about="session", session="s_1", principal="oli"))]
    await until(lambda: room.consents.pending)
    caller = await asyncio.to_thread(Caller, room.premises.state.path)

    def line() -> Any:
        return caller.receive()

    await asyncio.to_thread(caller.send, {"do": "consent.watch"})
    assert (await asyncio.to_thread(line))["question"]["text"] == "first?"
    asked.append(asyncio.ensure_future(room.consents.ask("next?", about="session", session="s_2", principal="oli")))
    assert (await asyncio.to_thread(line))["question"]["text"] == "next?"
    room.consents.notify("somebody is here", session="s_3", principal="oli")
    assert (await asyncio.to_thread(line))["notice"]["text"] == "somebody is here"
    room.consents.withdraw("s_1")
    assert (await asyncio.to_thread(line))["settled"]["outcome"] == "withdrawn"
    caller.__exit__()
    await until(lambda: not room.consents._followers)
    room.consents.withdraw("s_2")
    await asyncio.gather(*asked)
