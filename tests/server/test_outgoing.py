"""What goes to a terminal's agent: in which order, how far ahead, and nothing typed while it is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConflictError, DeniedError, RateError
from protocol.frames import LENGTH_BYTES, decode
from protocol.pipes import Pipe
from protocol.terminal import INPUT_WINDOW_BYTES, MAX_INPUT_BYTES, WINDOW_BYTES, Audience
from server.sessions.outgoing import MAX_COMMANDS, MAX_TYPED_BYTES, Outgoing
from server.sessions.people import Party, Person, Role
from server.sessions.viewers import Viewer

ME = Person("v1", "me", Role.OWNER)
MODERATOR = Person("v2", "mia", Role.MODERATOR)


class Wire:
    """The pipe to the agent, which takes messages at once or later."""

    def __init__(self) -> None:
        self.told: list[list[Any]] = []
        self.takes_at_once = True
        self.is_free = asyncio.Event()
        self.is_free.set()
        self.code = ""

    def write_now(self, data: bytes) -> bool:
        if self.takes_at_once:
            self.told.append(decode(data[LENGTH_BYTES:]))
        return self.takes_at_once

    async def write(self, data: bytes) -> None:
        await self.is_free.wait()
        self.told.append(decode(data[LENGTH_BYTES:]))

    def reset(self, code: str) -> None:
        self.code = code


class Desk:
    """Everything around one :class:`Outgoing`."""

    def __init__(self, kind: type[Outgoing] = Outgoing, moderators: int = 0) -> None:
        self.party, self.audience, self.wire = Party(moderators), Audience(), Wire()
        self.me = Viewer(ME)
        self.party.join(ME)
        self.audience.join(ME.id, 0, 0)
        self.audience.typist = self.party.keyboard
        self.outgoing = kind("s1", self.party, self.audience)

    async def attach(self, *, is_new: bool = True, can_hold: bool = False) -> None:
        self.outgoing.attach(cast(Pipe, self.wire), is_new=is_new)
        await asyncio.sleep(0)  # until the sender waits
        self.outgoing.opened(can_hold=can_hold)

    def type(self, data: bytes) -> None:
        self.outgoing.type(self.me, data)


@asynccontextmanager
async def attached(*, can_hold: bool = False, **more: Any) -> AsyncIterator[Desk]:
    desk = Desk(**more)
    await desk.attach(can_hold=can_hold)
    try:
        yield desk
    finally:
        await desk.outgoing.detach()


async def test_a_key_goes_in_the_turn_in_which_it_comes() -> None:
    async with attached() as desk:
        desk.type(b"k")
        assert desk.wire.told == [["input", b"k", "me"]]
        assert desk.me.typed == 1


async def test_what_is_typed_before_there_is_a_terminal_waits_for_it() -> None:
    """And commands do not: the size is to be right when it opens."""
    desk = Desk()
    desk.type(b"early")
    desk.outgoing.command("resize", 100, 30)
    desk.outgoing.attach(cast(Pipe, desk.wire), is_new=True)
    await asyncio.sleep(0)
    assert desk.wire.told == [["resize", 100, 30]]
    desk.outgoing.opened(can_hold=False)
    assert desk.wire.told[1:] == [["input", b"early", "me"]]
    await desk.outgoing.detach()


async def test_confirmations_go_before_commands_and_these_before_what_was_typed() -> None:
    """A paste that the link does not take must not hold up the confirmation that lets the program go on."""
    async with attached() as desk:
        desk.wire.takes_at_once = False
        desk.wire.is_free.clear()
        desk.type(b"first")
        await asyncio.sleep(0)
        desk.type(b"second")
        desk.outgoing.command("signal", "INT")
        desk.audience.stored = WINDOW_BYTES
        desk.audience.viewers[ME.id].sent = WINDOW_BYTES
        desk.audience.saw(ME.id, WINDOW_BYTES)
        desk.outgoing.confirm_if_due()
        desk.wire.is_free.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert [each[0] for each in desk.wire.told] == ["input", "ack", "signal", "input"]


@pytest.mark.parametrize("can_hold", [False, True])
async def test_nothing_typed_goes_while_a_moderator_has_paused_it(can_hold: bool) -> None:
    async with attached(can_hold=can_hold) as desk:
        desk.party.join(MODERATOR)
        desk.outgoing.took(0)
        desk.type(b"a" * INPUT_WINDOW_BYTES)  # the program takes none of it: the rest waits here
        desk.type(b"rest")
        before = len(desk.wire.told)
        desk.party.pause(MODERATOR.id)
        desk.outgoing.push()
        with pytest.raises(ConflictError, match="paused by mia"):
            desk.type(b"more")
        desk.outgoing.took(INPUT_WINDOW_BYTES)
        assert desk.wire.told[before:] == ([["hold", True]] if can_hold else [])
        desk.party.resume(MODERATOR.id)
        desk.outgoing.push()
        assert desk.wire.told[before + can_hold :] == [["hold", False]] * can_hold + [["input", b"rest", "me"]]


async def test_who_only_watches_types_nothing() -> None:
    async with attached() as desk:
        olga = Viewer(Person("v3", "olga", Role.OBSERVER))
        desk.party.join(olga.person)
        with pytest.raises(DeniedError):
            desk.outgoing.type(olga, b"x")
        assert desk.wire.told == []


async def test_what_is_typed_goes_no_further_ahead_of_the_program_than_its_window() -> None:
    async with attached() as desk:
        desk.type(b"x" * (INPUT_WINDOW_BYTES + 1))
        sent = sum(len(each[1]) for each in desk.wire.told)
        assert INPUT_WINDOW_BYTES - MAX_INPUT_BYTES < sent <= INPUT_WINDOW_BYTES
        desk.outgoing.took(sent)
        assert sum(len(each[1]) for each in desk.wire.told) == INPUT_WINDOW_BYTES + 1


async def test_what_waits_is_bounded() -> None:
    """Whoever types, or asks for more than the host does, is refused and fills no memory."""
    desk = Desk()
    desk.type(b"x" * MAX_TYPED_BYTES)
    with pytest.raises(RateError):
        desk.type(b"x")
    for _ in range(MAX_COMMANDS):
        desk.outgoing.command("signal", "INT")
    with pytest.raises(RateError):
        desk.outgoing.command("signal", "INT")
    desk.outgoing.command("resize", 1, 1)
    desk.outgoing.command("resize", 2, 2)  # of these only the newest waits
    await desk.attach()
    resizes = [each for each in desk.wire.told if each[0] == "resize"]
    assert resizes == [["resize", 2, 2]]
    await desk.outgoing.detach()


async def test_what_somebody_typed_and_was_not_sent_is_gone_with_them() -> None:
    desk = Desk()
    desk.type(b"x" * MAX_TYPED_BYTES)
    desk.outgoing.forget(desk.me)
    desk.type(b"after")
    await desk.attach()
    assert desk.wire.told == [["input", b"after", "me"]]
    await desk.outgoing.detach()


async def test_an_agent_that_comes_back_is_told_anew_whether_it_holds() -> None:
    """The server may have been started anew since, and cannot know what was said before."""
    async with attached(can_hold=True) as desk:
        assert desk.wire.told == [], "a new terminal holds nothing"
        await desk.outgoing.detach()
        desk.type(b"while it was lost")
        desk.wire = Wire()
        await desk.attach(is_new=False, can_hold=True)
        assert desk.wire.told == [["hold", False], ["input", b"while it was lost", "me"]]


class Plodding(Outgoing):
    """Without the short way of a key."""

    def type(self, viewer: Viewer, data: bytes) -> None:
        self._party.check_typing(viewer.person.id)
        if self._typed_bytes + len(data) > MAX_TYPED_BYTES:
            raise RateError("more was typed than the program reads")
        for begin in range(0, len(data), MAX_INPUT_BYTES):
            self._typed.append((viewer, data[begin : begin + MAX_INPUT_BYTES]))
        self._typed_bytes += len(data)
        self.push()


ONE = st.sampled_from([
    *[("type", size) for size in (1, 5, MAX_INPUT_BYTES + 1, INPUT_WINDOW_BYTES)], ("command", 0), ("took", 0),
    ("pause", 0), ("resume", 0), ("confirm", 0), ("turn", 0), ("full", 0), ("free", 0), ("lose", 0),
    ("attach", 0), ("attach", 1), ("opened", 0), ("opened", 1),
])  # fmt: skip
AGAIN = st.tuples(st.sampled_from([("attach", 0), ("attach", 1)]), st.just(("turn", 0)))
OPEN = st.tuples(st.just(("attach", 1)), st.just(("turn", 0)), st.sampled_from([("opened", 0), ("opened", 1)]))
ACTS = st.lists(st.one_of(st.tuples(ONE), st.tuples(ONE), AGAIN, OPEN), min_size=5, max_size=30).map(
    lambda parts: [act for part in parts for act in part]
)


@settings(max_examples=600, deadline=None)
@given(ACTS)
def test_the_short_way_of_a_key_comes_to_the_same_as_the_long_one(acts: list[tuple[str, int]]) -> None:
    """It says a second time what goes, and when: this is what holds the two together."""

    async def told(kind: type[Outgoing]) -> tuple[list[list[Any]], list[str], int]:
        desk = Desk(kind)
        desk.party.join(MODERATOR)
        every: list[list[Any]] = []
        refused: list[str] = []
        is_opened = True  # there is nothing to open yet
        for act, number in acts:
            match act:
                case "type":
                    try:
                        desk.type(b"k" * number)
                    except (ConflictError, RateError) as error:
                        refused.append(error.message)
                case "command":
                    desk.outgoing.command("signal", "INT")
                case "took":
                    desk.outgoing.took(sum(len(each[1]) for each in desk.wire.told if each[0] == "input"))
                case "pause" | "resume":
                    getattr(desk.party, act)(MODERATOR.id)
                    desk.outgoing.push()
                case "confirm":
                    desk.audience.stored += WINDOW_BYTES
                    desk.audience.viewers[ME.id].sent = desk.audience.stored
                    desk.audience.saw(ME.id, desk.audience.stored)
                    desk.outgoing.confirm_if_due()
                case "turn":
                    await asyncio.sleep(0)
                case "full":
                    desk.wire.takes_at_once = False
                    desk.wire.is_free.clear()
                case "free":
                    desk.wire.takes_at_once = True
                    desk.wire.is_free.set()
                case "lose":
                    await desk.outgoing.detach()
                case "attach":
                    await desk.outgoing.detach()
                    every += desk.wire.told
                    desk.wire = Wire()
                    desk.outgoing.attach(cast(Pipe, desk.wire), is_new=bool(number))
                    is_opened = False
                case "opened" if not is_opened:
                    is_opened = True
                    desk.outgoing.opened(can_hold=bool(number))
        await desk.outgoing.detach()
        return every + desk.wire.told, refused, desk.me.typed

    assert asyncio.run(told(Outgoing)) == asyncio.run(told(Plodding))
