"""The WebSocket of a forward, without a socket: who is let in, and what a hostile client costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from headquarters import Headquarters
from peer import ClosedError, Peer, join
from sqlalchemy import update

from protocol import link as events
from protocol.link import Link, Role
from protocol.messages import Kind, pack
from server.api import forward
from server.store.tables import sessions, tokens

NEW = {"agent": "web-1", "kind": "forward", "tier": "observe", "reason": "T-1"}
HEADER = {"act": "forward", "host": "db", "port": 5432}
DEADLINE_S = 60.0


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


class Client:
    """One WebSocket of a client."""

    def __init__(self, server: Headquarters, session: str, authorization: str | None) -> None:
        self.to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        path = f"/api/v1/sessions/{session}/forward"
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "query_string": b"",
            "path": path, "raw_path": path.encode(), "root_path": "", "subprotocols": ["outrider.forward.v1"],
            "headers": [] if authorization is None else [(b"authorization", authorization.encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7443), "state": {},
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        app: Callable[..., Awaitable[None]] = server.app
        self.to_server.put_nowait({"type": "websocket.connect"})
        self.served = asyncio.create_task(app(scope, self.to_server.get, self.from_server.put))  # type: ignore[arg-type]  # an awaitable of the app
        self.link = Link(Role.AGENT, next_record=1)
        self.got: list[events.Event] = []

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.from_server.get()

    async def event(self) -> events.Event:
        """Return the next event of the server's frames."""
        while not self.got:
            message = await self.message()
            if message["type"] == "websocket.close":
                raise ClosedError(message["code"], message.get("reason") or "")
            self.got += [
                event for event in self.link.receive(message["bytes"]) if not isinstance(event, events.StreamWritable)
            ]
        return self.got.pop(0)

    async def closed(self) -> None:
        """Pass over all events until the server closes, which raises."""
        while True:
            await self.event()

    async def send(self, frame: bytes | str) -> None:
        await self.to_server.put({"type": "websocket.receive", "bytes" if isinstance(frame, bytes) else "text": frame})

    async def flush(self) -> None:
        for frame in self.link.take():
            await self.send(frame)

    async def leave(self) -> None:
        await self.to_server.put({"type": "websocket.disconnect", "code": 1006})
        async with asyncio.timeout(DEADLINE_S):
            await self.served


async def opened(server: Headquarters, **more: Any) -> str:
    return str((await server.post("/sessions", NEW | more, 201))["id"])


async def connected(server: Headquarters, session: str, role: str = "admin") -> Client:
    client = Client(server, session, server.authorization(role)["Authorization"])
    assert (await client.message())["type"] == "websocket.accept"
    return client


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer ort_wrong", "Basic x"])
async def test_strangers_are_refused_before_anything_is_accepted(
    server: Headquarters, peer: Peer, authorization: str | None
) -> None:
    client = Client(server, await opened(server), authorization)
    answer = await client.message()
    assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 401)


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("auditor", 403), ("operator", 403)])
async def test_a_session_is_its_own_principals(server: Headquarters, peer: Peer, role: str, status: int) -> None:
    client = Client(server, await opened(server), server.authorization(role)["Authorization"])
    assert (await client.message())["status"] == status
    assert [item for item in await server.records() if item["kind"] == "refusal"]


async def test_other_kinds_of_session_forward_nothing(server: Headquarters, peer: Peer) -> None:
    client = Client(server, await opened(server, kind="files"), server.authorization()["Authorization"])
    assert (await client.message())["status"] == 409


async def test_a_stream_goes_on_to_the_host_and_back(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    client = await connected(server, session)
    stream = client.link.open("forward", HEADER, is_two_way=True)
    client.link.send(stream, b"question")
    await client.flush()
    seen = [await asyncio.wait_for(peer.seen.get(), DEADLINE_S) for _ in range(peer.seen.qsize() or 1)]
    while not any(isinstance(event, events.StreamOpened) for event in seen):
        seen.append(await asyncio.wait_for(peer.seen.get(), DEADLINE_S))
    (asked,) = [event for event in seen if isinstance(event, events.StreamOpened)]
    assert asked.header == {"session": session, **HEADER}
    assert peer.link is not None
    peer.link.send(asked.id, b"answer")
    peer.link.finish(asked.id)
    await peer.flush()
    got = [await client.event(), await client.event()]
    assert isinstance(got[0], events.StreamData)
    assert got[0].data == b"answer"
    assert isinstance(got[1], events.StreamFinished)
    await client.leave()
    assert ("session.close", session) in [(method, body.get("session")) for method, body in peer.asked]


@pytest.mark.parametrize(
    "frame",
    [
        "text", b"", b"\x00", b"\xc1" * 100, bytes(range(192, 256)), bytes(2 << 20), pack(Kind.RECORDS, 1, [b"forged"]),
        pack(Kind.REQUEST, 1, "bundle.get", {"digest": "sha256:" + "0" * 64}), pack(Kind.DATA, 1, b"x"),
        pack(Kind.OPEN, 2, "forward", {}, 1000), pack(Kind.ACKNOWLEDGE, 5),
    ],
)  # fmt: skip
async def test_a_client_that_breaks_the_protocol_is_closed_and_nobody_else_notices(
    server: Headquarters, peer: Peer, frame: bytes | str
) -> None:
    session = await opened(server)
    client = await connected(server, session)
    await client.send(frame)
    with pytest.raises(ClosedError):
        await client.closed()
    assert len(await server.pages("/sessions")) == 1
    assert peer.closed is None


@pytest.mark.parametrize(
    "header",
    [{}, {"act": "call", "call": "fs.read", "arguments": {}}, HEADER | {"session": "s_other"}, HEADER | {"port": 0},
     {"act": "download", "path": "/etc/shadow"}],
)  # fmt: skip
async def test_no_header_leads_anywhere_but_to_a_forward(
    server: Headquarters, peer: Peer, header: dict[str, Any]
) -> None:
    client = await connected(server, await opened(server))
    client.link.open("forward", header, is_two_way=True)
    await client.flush()
    event = await client.event()
    assert isinstance(event, events.StreamReset)
    assert event.code == "invalid_argument"
    assert not [each for each in _now(peer) if isinstance(each, events.StreamOpened)]
    await client.leave()


def _now(peer: Peer) -> list[events.Event]:
    return [peer.seen.get_nowait() for _ in range(peer.seen.qsize())]


async def test_streams_are_bounded(server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "MAX_STREAMS", 3)
    client = await connected(server, await opened(server))
    for _ in range(4):
        client.link.open("forward", HEADER, is_two_way=True)
    await client.flush()
    with pytest.raises(ClosedError):
        await client.closed()


def _closed(peer: Peer) -> list[Any]:
    return [body.get("session") for method, body in peer.asked if method == "session.close"]


async def test_a_second_one_of_a_session_is_refused_and_disturbs_nothing(server: Headquarters, peer: Peer) -> None:
    """Each would hold streams of its own without bound, and the first that ended would close it for all."""
    session = await opened(server)
    first = await connected(server, session)
    for _ in range(5):
        second = Client(server, session, server.authorization()["Authorization"])
        answer = await second.message()
        assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 409)
        assert b"has its forward already" in (await second.message())["body"]
        await second.leave()
    assert _closed(peer) == []
    first.link.open("forward", HEADER, is_two_way=True)
    await first.flush()
    await peer.until(lambda: any(isinstance(each, events.StreamOpened) for each in _now(peer)))
    await first.leave()
    assert _closed(peer) == [session]


async def test_of_many_that_come_at_once_one_is_let_in(server: Headquarters, peer: Peer) -> None:
    """All of them ask the database first, and come back from it one behind the other."""
    session, other = await opened(server), await opened(server)
    clients = [Client(server, session, server.authorization()["Authorization"]) for _ in range(20)]
    said = [(await client.message())["type"] for client in clients]
    assert sorted(said) == ["websocket.accept"] + ["websocket.http.response.start"] * 19
    second = await connected(server, other)  # each session has its own
    for client in (*clients, second):
        await client.leave()
    assert sorted(_closed(peer)) == sorted([session, other])
    assert server.core.forwards == set()


async def test_nobody_comes_in_while_the_session_is_being_closed(server: Headquarters, peer: Peer) -> None:
    """The host hears of the end of the first before another one could take its place."""
    session = await opened(server)
    seen: list[bool] = []

    def answer(body: Any) -> dict[str, Any]:
        seen.append(body["session"] in server.core.forwards)
        return {}

    peer.answers["session.close"] = answer
    await (await connected(server, session)).leave()
    assert seen == [True]
    assert server.core.forwards == set()


async def test_a_session_that_is_over_opens_no_more(server: Headquarters, peer: Peer) -> None:
    """What was true when the client connected must be true for each connection; who looks first says so."""
    session = await opened(server)
    client = await connected(server, session)
    peer.answers["session.close"] = lambda _: ("not_found", "ended by itself")
    await server.core.database.write(lambda c: _end(c, session))
    client.link.open("forward", HEADER, is_two_way=True)
    await client.flush()
    try:
        event = await client.event()
        said = event.code if isinstance(event, events.StreamReset) else str(event)
        await client.leave()
    except ClosedError as closed:
        said = str(closed)
    assert said == "conflict" or "is not open: killed" in said


def _end(connection: Any, session: str) -> None:
    connection.execute(update(sessions).where(sessions.c.id == session).values(status="killed", ended_us=1))


async def test_a_link_that_is_lost_ends_the_streams(server: Headquarters, peer: Peer) -> None:
    client = await connected(server, await opened(server))
    client.link.open("forward", HEADER, is_two_way=True)
    await client.flush()
    await peer.until(lambda: any(isinstance(each, events.StreamOpened) for each in _now(peer)))
    await peer.close()
    event = await client.event()
    assert isinstance(event, events.StreamReset)
    assert event.code == "not_connected"
    await client.leave()


async def test_the_record_says_why_the_server_ended_it(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    client = await connected(server, session)
    await server.core.database.write(lambda c: _revoke_all(c))
    server.core.access_changed.ring()
    with pytest.raises(ClosedError, match="token"):
        await client.closed()
    async with asyncio.timeout(DEADLINE_S):
        await client.served
    said = [body["reason"] for method, body in peer.asked if method == "session.close"]
    assert said == ["its forward ended: the token is not valid any more"]


def _revoke_all(connection: Any) -> None:
    connection.execute(update(tokens).values(revoked_us=1))
