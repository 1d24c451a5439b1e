"""Whoever asks for a session and goes away before its host's owner has answered gets none, however they went."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters
from peer import Peer, join

from protocol.ledger import Chain
from server.api import held

DEADLINE_S = 60.0
NEW = {"agent": "web-1", "kind": "files", "tier": "observe", "reason": "T-1"}
ABOUT = {"time_us": 1_700_000_000_000_000, "mono_us": 1, "principal": "admin"}
LINES = b"application/x-ndjson"


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    joined = await join(server, "web-1")
    joined.answers["session.open"] = lambda _: {"asking": True}
    await joined.connect()
    yield joined
    await joined.close()


class Asker:
    """One POST of a session, whose connection the test ends when it likes."""

    def __init__(self, server: Headquarters, accept: bytes = LINES) -> None:
        self.server = server
        self.status = 0
        self.body = b""
        self.is_over = False
        self.changed = asyncio.Event()
        self.is_gone = asyncio.Event()
        self._is_sent = False
        headers = [(b"authorization", server.authorization()["Authorization"].encode()), (b"accept", accept)]
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/api/v1/sessions", "raw_path": b"/api/v1/sessions", "query_string": b"", "root_path": "",
            "headers": [*headers, (b"content-type", b"application/json")], "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 7443), "state": {}, "extensions": {},
        }  # fmt: skip
        app: Any = server.app
        self.served = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": json.dumps(NEW).encode(), "more_body": False}
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not self.is_gone.is_set():  # as uvicorn: what is sent to nobody is dropped
            self.body += message["body"]
            self.is_over = not message.get("more_body")
        self.changed.set()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines() if line]

    async def hears(self, many: int) -> dict[str, Any]:
        """Return the line of this number, from 1."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.told) < many:
                self.changed.clear()
                await self.changed.wait()
        return self.told[many - 1]

    async def goes(self) -> None:
        self.is_gone.set()
        await self.ends()

    async def ends(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.served


async def opens(peer: Peer, session: str, first: int = 1) -> None:
    data = {"kind": "files", "longest_s": 60.0, "idle_s": 6.0}
    await peer.send_records(first, [Chain().append(kind="session.open", session=session, data=data, **ABOUT)[1]])


def closed(peer: Peer) -> list[str]:
    return [body["session"] for method, body in peer.asked if method == "session.close"]


async def nobody_is_held(server: Headquarters) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while server.core.held:
            await asyncio.sleep(0)


async def test_whoever_stays_hears_what_was_decided(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    asking = await asker.hears(1)
    assert (asker.status, asking["status"]) == (held.ASKING, "asking")
    await opens(peer, asking["id"])
    assert (await asker.hears(2))["status"] == "open"
    await asker.ends()
    assert asker.is_over
    assert (closed(peer), server.core.held) == ([], set())


async def test_whoever_stays_hears_a_no(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    refusal = {"kind": "refusal", "outcome": "denied", "data": {"message": "root said no"}}
    await peer.send_records(1, [Chain().append(session=session, **refusal, **ABOUT)[1]])
    problem = (await asker.hears(2))["problem"]
    assert (problem["code"], problem["status"]) == ("denied", 403)
    assert "root said no" in problem["detail"]
    await asker.ends()


async def test_whoever_goes_withdraws_the_question(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    await asker.goes()
    await peer.until(lambda: closed(peer) == [session])
    await nobody_is_held(server)
    records = [each for each in await server.records() if each["call"] == "session.close"]
    assert records[0]["arguments"] == {"session": session, "reason": "whoever asked for it has gone"}


async def test_a_yes_that_nobody_is_there_to_hear_closes_what_it_opened(server: Headquarters, peer: Peer) -> None:
    """The connection ends while the host's yes is on its way."""
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    asker.is_gone.set()
    await opens(peer, session)
    await peer.until(lambda: closed(peer) == [session])
    await asker.ends()


async def test_where_the_host_is_away_it_is_made_good_when_that_is_back(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    await peer.close()
    await asker.goes()
    assert closed(peer) == []
    await peer.connect()
    await peer.until(lambda: closed(peer) == [session])


@pytest.mark.parametrize("looks_before", range(4))
async def test_a_host_that_is_back_just_then_hears_of_it_once(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch, looks_before: int
) -> None:
    """It comes while the server is on its way to end what was asked for, which takes a few looks at the database."""
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    await peer.close()
    may_look, looks, read = asyncio.Event(), 0, server.core.database.read

    async def held_up(query: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks > looks_before:
            await may_look.wait()
        return await read(query)

    with monkeypatch.context() as patched:
        patched.setattr(server.core.database, "read", held_up)
        await asker.goes()
        await peer.connect()
        may_look.set()
        await peer.until(lambda: closed(peer))
        await nobody_is_held(server)
    assert closed(peer) == [session]
    assert [each["call"] for each in await server.records()].count("session.close") == 1


async def test_what_a_server_left_that_ended_is_made_good_by_the_next(server: Headquarters, peer: Peer) -> None:
    """Killed, it tells nobody anything: in the next one's memory nobody holds the session."""
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    await peer.close()
    server.core.held.clear()
    await peer.connect()
    await peer.until(lambda: closed(peer) == [session])
    await asker.goes()


async def test_a_host_that_is_back_keeps_what_somebody_still_waits_for(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    await peer.close()
    await peer.connect()
    await opens(peer, session)
    assert (await asker.hears(2))["status"] == "open"
    await asker.ends()
    assert closed(peer) == []


async def test_a_server_that_ends_lets_go_of_who_waits(server: Headquarters, peer: Peer) -> None:
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    server.core.is_ending.set()
    await asker.ends()
    assert len(asker.told) == 1
    await peer.until(lambda: closed(peer) == [session])


async def test_a_host_that_answers_nothing_holds_nobody_for_ever(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.services.askers.LONGEST_S", 0.05)
    asker = Asker(server)
    session = (await asker.hears(1))["id"]
    assert (await asker.hears(2))["problem"]["code"] == "deadline"
    await asker.ends()
    await peer.until(lambda: closed(peer) == [session])


async def test_lines_come_while_nothing_is_decided(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that each end sees that the other one is there."""
    monkeypatch.setattr(held, "BEAT_S", 0.01)
    asker = Asker(server)
    await asker.hears(1)
    async with asyncio.timeout(DEADLINE_S):
        while b"}\n\n\n" not in asker.body:
            asker.changed.clear()
            await asker.changed.wait()
    await asker.goes()


async def test_where_nobody_is_asked_the_answer_is_the_session(server: Headquarters, peer: Peer) -> None:
    peer.answers["session.open"] = lambda _: {"longest_s": 60.0, "idle_s": 6.0}
    asker = Asker(server)
    await asker.ends()
    assert (asker.status, asker.told[0]["status"], len(asker.told)) == (201, "open", 1)
    assert server.core.held == set()


async def test_what_the_host_refuses_at_once_is_a_problem_as_ever(server: Headquarters, peer: Peer) -> None:
    peer.answers["session.open"] = lambda _: ("denied", "frozen")
    asker = Asker(server)
    await asker.ends()
    assert (asker.status, json.loads(asker.body)["code"]) == (403, "denied")
    assert server.core.held == set()


async def test_whoever_only_looks_now_and_then_may_go(server: Headquarters, peer: Peer) -> None:
    """Without lines the answer is one, and nobody promised to stay."""
    told = await server.post("/sessions", NEW | {"wait_s": 0}, 201)
    await peer.close()
    await peer.connect()
    await opens(peer, told["id"])
    assert (await server.get(f"/sessions/{told['id']}"))["status"] == "open"
    assert closed(peer) == []
