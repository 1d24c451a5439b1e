"""Sessions of people as calls of scripts see them."""

from __future__ import annotations

import pytest
from test_seat import Far, Room, asks, room  # noqa: F401 - the fixture is used by its name

from agent.live_admission import Wish
from agent.people_here import People
from protocol.errors import NotFoundError
from stdlib.host import Host
from stdlib.tty_people import client, notice, sessions


async def test_who_is_here_and_a_word_to_them(room: Room) -> None:  # noqa: F811 - the fixture
    people = People(room.premises.clock)
    host = Host(people=people)
    assert await sessions(host) == []
    people.live = room.live
    await room.live.open(Wish("s_1", "terminal", "admin", "oli", "T-1", {}))
    (shown,) = await sessions(host)
    assert (shown["size"], shown["recording"]) == (None, False)
    with pytest.raises(NotFoundError):
        await notice(host, "s_1", "hello")
    far = Far(room, open=asks("sleep 1000"))
    await far.until(lambda: "opened" in far.words())
    await far.say("watchers", 2)
    await far.until(lambda: people.sessions()[0]["watchers"] == 2)
    (shown,) = await sessions(host)
    assert (shown["id"], shown["user"], shown["kind"], shown["size"], shown["recording"]) == (
        "s_1", "oli", "terminal", {"cols": 80, "rows": 24}, True,
    )  # fmt: skip
    await notice(host, "s_1", "restart at noon")
    await client(host, "s_1", "view", "/var/log/syslog")
    await far.until(lambda: any(each[0] == "event" and each[2].get("what") == "client" for each in far.messages))
    assert next(each for each in far.messages if each[0] == "notice")[2] == "restart at noon"
    for name in ("s_2", ""):
        with pytest.raises(NotFoundError):
            await notice(host, name, "hello")
