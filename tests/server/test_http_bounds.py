"""What strangers can do with a connection: as little as can be, and nobody else notices. Real sockets, by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from headquarters import Headquarters
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from server import limits
from server.api import attach
from server.http_protocol import BoundedProtocol
from server.line_protocol import LineProtocol
from server.under_way import Stranger

DEADLINE_S = 60.0
HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
LIVEZ = HEAD + b"\r\n"
ENDLESS = 64 << 20  # bytes; what stands in buffers on the way is a fraction of it


class Told:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def all(self) -> bytes:
        """Return what comes until the server closes."""
        got = b""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while part := await self.reader.read(1 << 16):
                    got += part
        except ConnectionError:
            pass
        return got

    async def all_of(self, size: int) -> bytearray:
        """Return what comes until there is so much of it, or the server closes."""
        got = bytearray()
        try:
            async with asyncio.timeout(DEADLINE_S):
                while len(got) < size and (part := await self.reader.read(1 << 20)):
                    got += part
        except ConnectionError:
            pass
        return got

    async def flood(self, piece: bytes) -> int:
        """Send until the server closes; return how many bytes went away."""
        sent = 0
        try:
            async with asyncio.timeout(DEADLINE_S):
                while sent < ENDLESS:
                    self.writer.write(piece)
                    await self.writer.drain()
                    sent += len(piece)
        except ConnectionError:
            pass
        return sent


class Served:
    """A server on loopback that speaks as the real one."""

    def __init__(self, port: int, connections: set[Any]) -> None:
        self.port = port
        self.connections = connections  # that are open, of the server's own

    @asynccontextmanager
    async def open(self, first: bytes = b"") -> AsyncIterator[Told]:
        """Connect, and say something before the server can know of it: no standstill comes in between."""
        made = socket.create_connection(("127.0.0.1", self.port))
        made.setblocking(False)
        said = made.send(first) if first else 0
        reader, writer = await asyncio.open_connection(sock=made)
        writer.write(first[said:])
        try:
            yield Told(reader, writer)
        finally:
            writer.close()

    async def lives(self) -> bool:
        async with self.open(HEAD + b"Connection: close\r\n\r\n") as told:
            return (await told.all()).startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def served(app: object, *, rests_s: int = 1) -> AsyncIterator[Served]:
    """Give a server on which a connection may rest for so long."""
    settings = uvicorn.Config(
        app, "127.0.0.1", 0, http=BoundedProtocol, ws=LineProtocol, lifespan="off", log_config=None,
        timeout_keep_alive=rests_s,  # type: ignore[arg-type]  # any ASGI application
    )  # fmt: skip
    server = uvicorn.Server(settings)
    settings.load()
    server.lifespan = settings.lifespan_class(settings)
    await server.startup()
    try:
        yield Served(server.servers[0].sockets[0].getsockname()[1], server.server_state.connections)
    finally:
        server.force_exit = True
        await server.shutdown()


@pytest.fixture
async def http(server: Headquarters, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with served(server.app, rests_s=1 if "hasty" in request.fixturenames else 600) as made:
        yield made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take seconds takes a moment."""
    monkeypatch.setattr(limits, "HEAD_TIMEOUT_S", 0.1)
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(limits, "UNREAD_TIMEOUT_S", 0.1)


# too many -------------------------------------------------------------------------------------------------------------


async def test_so_many_connections_of_one_address_and_the_oldest_goes(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a token is not pushed out by who has none; and the server answers whoever asks meanwhile."""
    monkeypatch.setattr(limits, "MAX_STRANGERS_OF_ONE", 4)
    token = server.authorization()["Authorization"].encode()
    mine = b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n\r\n"
    async with http.open(mine) as known, AsyncExitStack() as there:
        assert await known.reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        first = await there.enter_async_context(http.open(HEAD))
        for _ in range(8):
            await there.enter_async_context(http.open(HEAD))
        assert await first.all() == b"", "it was closed, and nothing was said"
        assert await http.lives()
        assert len(http.connections) <= 1 + 4
        known.writer.write(mine)
        await known.reader.readuntil(b"HTTP/1.1 200 OK\r\n")


def asking(server: Headquarters, path: str, role: str = "admin") -> bytes:
    token = server.authorization(role)["Authorization"]
    return f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("bound", "what"), [("MAX_REQUESTS_OF_ONE", "requests"), ("MAX_FOLLOWED_OF_ONE", "streams of records")]
)
async def test_so_many_requests_of_one_person_at_once(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch, bound: str, what: str
) -> None:
    """A token that may look could follow records on as many connections as the server may have open."""
    monkeypatch.setattr(limits, bound, 3)
    following = asking(server, "/records/tail", "auditor")
    async with AsyncExitStack() as there:
        held = [await there.enter_async_context(http.open(following)) for _ in range(3)]
        for each in held:
            assert await each.reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        async with http.open(following) as one_more:
            told = await one_more.reader.readuntil(b'"}')
        assert told.startswith(b"HTTP/1.1 429 ")
        assert f"3 {what} of auditor are under way".encode() in told
        async with http.open(asking(server, "/me")) as somebody_else:
            assert await somebody_else.reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    async with asyncio.timeout(DEADLINE_S):
        while not await _is_let_in(http, following):
            pass


async def _is_let_in(http: Served, asked: bytes) -> bool:
    async with http.open(asked) as told:
        return (await told.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_clone_is_a_request_of_somebody_too(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS_OF_ONE", 1)
    slow = asking(server, "", "auditor").replace(b"GET /api/v1", b"POST /git/scripts.git/git-upload-pack")
    typed = b"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 9\r\n"
    async with http.open(slow[:-2] + typed + b"\r\n"):
        async with asyncio.timeout(DEADLINE_S):
            while await _is_let_in(http, asking(server, "/me", "auditor")):
                pass
        assert await _is_let_in(http, asking(server, "/me"))


async def test_so_many_bytes_of_bodies_of_one_person(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty bodies of 12 MiB whose last bytes never came were 700 MiB for as long as somebody liked."""
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_ONE", 3 << 20)
    body = b'{"bundle":"' + b"A" * (1 << 20)
    head = b"Content-Type: application/json\r\nContent-Length: 4000000\r\n\r\n"

    def publishing(role: str) -> bytes:
        return asking(server, "/scripts", role).replace(b"GET ", b"POST ")[:-2] + head + body

    async with AsyncExitStack() as there:
        for _ in range(2):
            await there.enter_async_context(http.open(publishing("author")))
        async with asyncio.timeout(DEADLINE_S):
            while server.core.bodies.held("author") < 2 << 20:
                await asyncio.sleep(0)
        async with http.open(publishing("author")) as one_more:
            told = await one_more.reader.readuntil(b'"}')
        assert told.startswith(b"HTTP/1.1 429 ")
        assert b"the requests of author that are coming in are over" in told
        async with http.open(asking(server, "/me", "author")) as small:
            assert await small.reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    async with asyncio.timeout(DEADLINE_S):
        while len(server.core.bodies):
            await asyncio.sleep(0)


@pytest.mark.parametrize("is_stranger", [False, True])
async def test_so_many_bytes_of_what_clones_ask(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch, is_stranger: bool
) -> None:
    """Who somebody is was asked after the body had been weighed: 60 of 4 MiB were nobody's."""
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_ONE", 3 << 20)
    monkeypatch.setattr(limits, "MAX_BODY_BYTES_OF_STRANGER", 3 << 20)
    if is_stranger:
        server.core.config = dataclasses.replace(server.core.config, public_reading=True)
    whose = Stranger("127.0.0.1") if is_stranger else "auditor"
    asked = asking(server, "", "auditor").replace(b"GET /api/v1", b"POST /git/scripts.git/git-upload-pack")
    if is_stranger:
        asked = b"\r\n".join(line for line in asked.split(b"\r\n") if not line.startswith(b"Authorization"))
    asked = asked[:-2] + b"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 4000000\r\n\r\n"
    async with AsyncExitStack() as there:
        for _ in range(2):
            await there.enter_async_context(http.open(asked + b"a" * (1 << 20)))
        async with asyncio.timeout(DEADLINE_S):
            while server.core.bodies.held(whose) < 2 << 20:
                await asyncio.sleep(0)
        async with http.open(asked + b"a" * (1 << 20) + b"a") as one_more:
            told = await one_more.reader.readuntil(b'"}')
        assert told.startswith(b"HTTP/1.1 429 "), told
    async with asyncio.timeout(DEADLINE_S):
        while len(server.core.bodies):
            await asyncio.sleep(0)


async def test_so_many_connections_of_one_person_on_which_nothing_is_asked(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RESTING_OF_ONE", 2)
    monkeypatch.setattr(limits, "MAX_STRANGERS_OF_ONE", 2)
    async with AsyncExitStack() as there:
        held = []
        for _ in range(5):
            held.append(await there.enter_async_context(http.open(asking(server, "/me", "auditor"))))
            assert await held[-1].reader.readuntil(b"}") != b""
        for each in held[:3]:
            assert await each.all() == b"", "it made way"
        held[-1].writer.write(asking(server, "/me", "auditor"))
        assert (await held[-1].reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_so_many_of_one_person_that_have_not_said_what_they_want_to_see(
    http: Served, server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token opens a terminal's socket; ten seconds each, without end, were as many sockets as somebody liked."""
    monkeypatch.setattr(limits, "MAX_COMING_OF_ONE", 3)
    monkeypatch.setattr(attach, "FIRST_S", 600.0)
    where = f"ws://127.0.0.1:{http.port}/api/v1/sessions/ses_0/attach"
    async with AsyncExitStack() as there:
        sockets = [
            await there.enter_async_context(connect(where, additional_headers=server.authorization(), compression=None))
            for _ in range(5)
        ]
        for socket in sockets[:2]:
            async with asyncio.timeout(DEADLINE_S):
                await socket.wait_closed()
        assert [socket.close_code for socket in sockets] == [1013, 1013, None, None, None]
        assert len(server.core.coming) == 3


# too much -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (HEAD + b"X-A: ", b"a" * 60_000),
        (HEAD, b"a: b\r\n" * 10_000),
        (HEAD + b"a" * 10, b"a" * 60_000),
        (b"GET /", b"a" * 60_000),
        (b"GET /?", b"%00" * 20_000),
        (b"", b"\r\n" * 30_000),
        (b"POST /agent/v1/enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000),
        (b"POST /agent/v1/enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a" * 60_000),
        (b"POST /agent/v1/enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"a" * 60_000),
    ],
    ids=["value", "headers", "name", "path", "query", "lines", "trailers", "trailer", "extension"],
)
async def test_what_belongs_to_no_body_has_an_end(http: Served, first: bytes, piece: bytes) -> None:
    async with http.open(first) as told:
        assert await told.flood(piece) < ENDLESS
    assert await http.lives()


async def test_a_head_up_to_its_bound_is_read(http: Served) -> None:
    async with http.open(
        HEAD + b"X-A: " + b"a" * (limits.MAX_HEAD_BYTES - 100) + b"\r\nConnection: close\r\n\r\n"
    ) as told:
        assert (await told.all()).startswith(b"HTTP/1.1 200 ")


async def test_a_head_over_its_bound_is_told_so(http: Served) -> None:
    async with http.open(HEAD + b"X-A: " + b"a" * (limits.MAX_HEAD_BYTES + 1)) as told:
        assert (await told.all()).startswith(b"HTTP/1.1 431 ")


async def test_requests_that_wait_are_answered_in_order(http: Served) -> None:
    asked = [b"GET /livez HTTP/1.1\r\n\r\n", b"GET /nothing HTTP/1.1\r\n\r\n"] * (limits.MAX_PIPELINED // 2)
    async with http.open(b"".join(asked) + b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n") as told:
        answers = (await told.all()).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"404"] * (limits.MAX_PIPELINED // 2) + [b"200"]


async def test_requests_without_end_do_not_wait_for_their_turn(http: Served) -> None:
    async with http.open() as told:
        assert await told.flood(LIVEZ * 2_000) < ENDLESS
    assert await http.lives()


# too slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [b"", b"\r\n", b"G", HEAD, HEAD + b"X-A: a", LIVEZ + b"GET /", LIVEZ + LIVEZ + b"\r\n"],
    ids=["nothing", "lines", "letter", "head", "value", "second", "between"],
)
@pytest.mark.usefixtures("hasty")
async def test_a_head_that_does_not_come_ends_the_connection(http: Served, first: bytes) -> None:
    async with http.open(first) as told:
        await told.all()  # a deadline that passed would raise
    assert await http.lives()


@pytest.mark.parametrize("piece", [b"\r\n", b"a"])
@pytest.mark.usefixtures("hasty")
async def test_a_byte_now_and_then_makes_it_no_longer(http: Served, piece: bytes) -> None:
    async with http.open(HEAD + b"X-A: " if piece == b"a" else b"") as told:

        async def dribble() -> None:
            while not told.reader.at_eof():
                told.writer.write(piece)
                await asyncio.wait([closed], timeout=0.02)

        closed = asyncio.ensure_future(told.all())
        dribbling = asyncio.create_task(dribble())
        await closed
        dribbling.cancel()
        await asyncio.gather(dribbling, return_exceptions=True)


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_was_refused_is_not_waited_for(http: Served) -> None:
    head = b"POST /api/v1/scripts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    async with http.open(head + b"{") as told:
        assert (await told.reader.readline()).startswith(b"HTTP/1.1 401 ")
        told.writer.write(b"{")
        await told.all()


@pytest.mark.usefixtures("hasty")
async def test_an_enrolment_that_does_not_come_is_given_up(http: Served) -> None:
    async with http.open(b"POST /agent/v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{") as told:
        assert (await told.reader.readline()).startswith(b"HTTP/1.1 504 ")


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_somebody_takes_may_be_slow() -> None:
    """What is on its way to a host comes as fast as the host takes it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got = b""
        while True:
            message = await receive()
            got += message["body"]
            if not message["more_body"]:
                break
            if got == b"ab":
                came.set()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": got})

    came = asyncio.Event()
    async with served(app) as made, made.open(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab") as told:
        await came.wait()
        answering = asyncio.ensure_future(told.all())
        await asyncio.wait([answering], timeout=3 * limits.HEAD_TIMEOUT_S)
        told.writer.write(b"cd")
        assert b"abcd" in await answering


@pytest.mark.usefixtures("hasty")
async def test_a_websocket_stays_open() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async with served(app) as made, made.open(UPGRADE) as told:
        assert (await told.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        waiting = asyncio.ensure_future(told.reader.readexactly(7))
        await asyncio.wait([waiting], timeout=3 * limits.HEAD_TIMEOUT_S)
        told.writer.write(bytes([0x81, 0x80 | 5]) + bytes(4) + b"still")
        assert await waiting == b"\x81\x05still"


# gone -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [b"", LIVEZ, LIVEZ + b"GET /"], ids=["alone", "one", "a half more"])
async def test_who_goes_away_ends_what_they_were_answered(behind: bytes) -> None:
    """Also who had asked for more: the library tells only the last of them, and a stream would go on for ever."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        began.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with served(app) as made:
        async with made.open(LIVEZ + behind):
            async with asyncio.timeout(DEADLINE_S):
                await began.wait()
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()


# unread ---------------------------------------------------------------------------------------------------------------


def endless(ended: asyncio.Event, state: dict[str, object]) -> Callable[..., Awaitable[None]]:
    """Return an application that answers without end, until somebody is gone."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"].update(state)
        gone = asyncio.ensure_future(_gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        ended.set()

    return app


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.usefixtures("hasty")
async def test_a_stranger_who_does_not_read_is_cut_off() -> None:
    ended = asyncio.Event()
    async with served(endless(ended, {})) as made, made.open(LIVEZ), asyncio.timeout(DEADLINE_S):
        await ended.wait()


@pytest.mark.usefixtures("hasty")
async def test_one_who_is_known_may_take_their_time() -> None:
    ended = asyncio.Event()
    async with served(endless(ended, {"caller": SimpleNamespace(principal="mia")})) as made:
        async with made.open(LIVEZ):
            await asyncio.wait([asyncio.ensure_future(ended.wait())], timeout=5 * limits.UNREAD_TIMEOUT_S)
            assert not ended.is_set()
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()


async def test_so_much_of_one_person_lies_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred requests for a large answer, none of which is read, were a gigabyte for as long as somebody liked."""
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES_OF_ONE", 4 << 20)
    size = 16 << 20

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["caller"] = SimpleNamespace(principal=scope["path"])
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]}
        await send(head)
        await send({"type": "http.response.body", "body": bytes(size)})

    def asked(who: bytes) -> bytes:
        return b"GET /" + who + b" HTTP/1.1\r\nHost: x\r\n\r\n"

    async with served(app) as made, AsyncExitStack() as there:
        told = []
        for who in (b"ann", b"mia", b"mia", b"mia"):
            told.append(await there.enter_async_context(made.open(asked(who))))
            assert await told[-1].reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        got = [len(await each.all_of(size)) for each in told]
    assert max(got[1:3]) < size, "they made way"
    assert min(got[0], got[3]) >= size, "one may be larger, and somebody else has no part in it"


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def listening(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def test_pings_whose_answers_are_not_read_have_an_end() -> None:
    async with served(listening) as made, made.open(UPGRADE) as told:
        await told.reader.readuntil(b"\r\n\r\n")
        told.writer.transport.pause_reading()  # type: ignore[attr-defined]  # streams are made on such
        ping = bytes([0x89, 0x80 | 125]) + bytes(4) + bytes(125)
        assert await told.flood(ping * 1_000) < ENDLESS


@pytest.mark.usefixtures("hasty")
async def test_what_is_closed_is_gone_though_nobody_reads() -> None:
    """A close alone waits until what was sent before is read."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.ensure_future(_fill(send))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        sending.cancel()
        ended.set()

    async with served(app) as made, made.open(UPGRADE) as told:
        await told.reader.readuntil(b"\r\n\r\n")
        told.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
        told.writer.write(bytes([0x81, 0x80 | 2]) + bytes(4) + b"\xff\xfe")  # what is no text: the server closes
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
            while made.connections:
                await asyncio.sleep(0)


async def _fill(send: Send) -> None:
    while True:
        await send({"type": "websocket.send", "bytes": bytes(1 << 20)})


# what is no HTTP ------------------------------------------------------------------------------------------------------

POST = b"POST /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LIVEZ,
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +5\r\n\r\nabcde",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + LIVEZ,
        POST + b"X: a\rb\r\n\r\n",
        POST + b"X : a\r\n\r\n",
        POST + b"X: \0\r\n\r\n",
        b"GET /liv\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT db:5432 HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_not_read(http: Served, raw: bytes) -> None:
    """One answer at most, which refuses, and the end: nothing behind it is taken for a request."""
    async with http.open(raw) as told:
        got = await told.all()
    assert got.count(b"HTTP/1.1 ") <= 1
    assert got == b"" or got.startswith(b"HTTP/1.1 400 ")  # nothing where a body went wrong that was being answered


async def test_what_is_no_http_behind_a_request_gets_no_answer_of_its_own() -> None:
    """It would come before the answer that is outstanding, and be taken for that."""
    began = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(app) as made, made.open(LIVEZ) as told:
        async with asyncio.timeout(DEADLINE_S):
            await began.wait()
        told.writer.write(b"nonsense\r\n\r\n")
        assert await told.all() == b""
