"""What the owner of a host sees of sessions there, through the control socket."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from premises import Premises, until
from test_live import WISH, Floor
from test_seat import Far, Room, asks, room  # noqa: F401 - the fixture is used by its name

from agent.control import NAME, ControlSocket
from agent.live_admission import Wish
from agent.owner_watch import OwnerWatch
from agent.watch_command import line

DEADLINE_S = 60.0


class Owner:
    """The owner's end of the socket."""

    def __init__(self, premises: Premises, floor: Floor) -> None:
        self._directory = premises.state.path
        self.control = ControlSocket(self._directory, OwnerWatch(floor.live).actions)

    async def ask(self, **asked: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self._directory / NAME))
        writer.write(json.dumps(asked).encode() + b"\n")
        return reader, writer

    async def answer(self, **asked: Any) -> dict[str, Any]:
        reader, writer = await self.ask(**asked)
        async with asyncio.timeout(DEADLINE_S):
            answer = json.loads(await reader.readline())
        writer.close()
        return dict(answer)


async def news(reader: asyncio.StreamReader, word: str) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            told = json.loads(await reader.readline())
            if word in told:
                return told[word]


async def test_what_is_open_and_an_end_for_it(room: Room) -> None:  # noqa: F811 - the fixture
    owner = Owner(room.premises, room)
    await owner.control.start()
    try:
        assert await owner.answer(do="session.ls") == {"sessions": []}
        await room.live.open(Wish("s_9", "files", "inspect", "oli", "T-1\x1b[31m", {}))
        (shown,) = (await owner.answer(do="session.ls"))["sessions"]
        assert (shown["id"], shown["principal"], shown["kind"], shown["terminal"]) == ("s_9", "oli", "files", None)
        assert "\x1b" not in line(shown)
        assert await owner.answer(do="session.end", session="s_9") == {"ended": "s_9"}
        assert not room.live.open_sessions
        record = (await room.premises.records())[-1]
        assert (record.kind, record.outcome) == ("session.close", "killed")
        assert record.data["reason"].startswith("ended on the host by ")
        for asked in ({"do": "session.end", "session": "s_9"}, {"do": "session.watch", "session": "s_9"}):
            assert (await owner.answer(**asked))["error"]["code"] == "not_found"
        assert (await owner.answer(do="session.end"))["error"]["code"] == "invalid_argument"
    finally:
        await owner.control.close()


async def test_a_terminal_is_seen_as_it_is_and_may_be_ended(room: Room) -> None:  # noqa: F811 - the fixture
    owner = Owner(room.premises, room)
    await owner.control.start()
    try:
        await room.live.open(Wish("s_1", "terminal", "admin", "oli", "T-1", {}))
        far = Far(room, open=asks("stty -echo; printf ready; read x; printf seen; sleep 1000"))
        await far.until(lambda: b"ready" in far.output())
        reader, writer = await owner.ask(do="session.watch", session="s_1")
        (shown,) = await news(reader, "sessions")
        assert shown["terminal"]["size"] == [80, 24]
        await far.say("input", b"\r", "oli")
        assert base64.b64decode(await news(reader, "output")) == b"seen"
        writer.write(b'{"end": "s_1"}\n')
        assert await news(reader, "over") == "s_1"
        assert not room.live.open_sessions
        await until(lambda: not room.live._endings)
        record = (await room.premises.records())[-1]
        assert (record.kind, record.outcome) == ("session.close", "killed"), (
            "the end is on record, and its terminal gone"
        )
        writer.close()
    finally:
        await owner.control.close()


@pytest.mark.parametrize("said", [b'{"end": 5}\n', b'{"type": "x"}\n', b'{"end": "s_1", "more": 1}\n'])
async def test_what_means_nothing_ends_the_watching_and_not_the_session(room: Room, said: bytes) -> None:  # noqa: F811 - so
    owner = Owner(room.premises, room)
    await owner.control.start()
    try:
        await room.live.open(WISH)
        reader, writer = await owner.ask(do="session.watch")
        await news(reader, "sessions")
        writer.write(said)
        assert (await news(reader, "error"))["code"] == "invalid_argument"
        assert len(room.live.open_sessions) == 1
        writer.close()
    finally:
        await owner.control.close()
