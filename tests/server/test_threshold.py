"""TLS that does not come, comes slowly, or comes a thousand times: bounded as all that strangers hold. Real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from certificates import make_certificate
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from server import limits
from server.http_protocol import BoundedProtocol, strangers_of
from server.line_protocol import LineProtocol
from server.strangers import Strangers
from server.threshold import put_before

DEADLINE_S = 60.0
ASKED = b"GET /told HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "both.pem")


async def told(request: Request) -> PlainTextResponse:
    client = request.client
    return PlainTextResponse(f"{request.url.scheme} {client.host if client else ''}")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_bytes(await socket.receive_bytes())
    await socket.close()


class Served:
    """A server on loopback that speaks TLS as the real one."""

    def __init__(self, port: int, strangers: Strangers, client: ssl.SSLContext) -> None:
        self.port = port
        self.strangers = strangers
        self.client = client

    @asynccontextmanager
    async def plain(self, first: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)
        try:
            yield reader
        finally:
            writer.close()

    async def ask(self) -> bytes:
        """Ask by TLS; return the answer's body."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.client, server_hostname="localhost"
        )
        writer.write(ASKED)
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n\r\n")[2]

    async def forgotten(self) -> None:
        """Return when no stranger is counted any more."""
        while len(self.strangers):
            await asyncio.sleep(0)


@asynccontextmanager
async def served(certificate: Path) -> AsyncIterator[Served]:
    app = Starlette(routes=[Route("/told", told), WebSocketRoute("/echo", echo)])
    settings = uvicorn.Config(
        app, "127.0.0.1", 0, http=BoundedProtocol, ws=LineProtocol, lifespan="off", log_config=None,
        ssl_certfile=certificate, ssl_keyfile=str(certificate),
    )  # fmt: skip
    server = uvicorn.Server(settings)
    settings.load()
    put_before(settings)
    server.lifespan = settings.lifespan_class(settings)
    await server.startup()
    client = ssl.create_default_context(cafile=str(certificate))
    try:
        async with asyncio.timeout(DEADLINE_S):
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Served(port, strangers_of(server.server_state), client)
    finally:
        server.force_exit = True
        await server.shutdown()


Run = Callable[[Callable[[Served], Awaitable[None]]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, certificate: Path) -> Run:
    """Run a test against a server, on both kinds of loop: TLS is each one's own."""

    def running(test: Callable[[Served], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            async with served(certificate) as server:
                await test(server)

        work: Coroutine[Any, Any, None] = all_of_it()
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(work)

    return running


def test_what_is_agreed_on_is_served(run: Run) -> None:
    """Requests and WebSockets, which know that it is TLS and from where it comes."""

    async def test(server: Served) -> None:
        for _ in range(3):
            assert await server.ask() == b"https 127.0.0.1"
        where = f"wss://localhost:{server.port}/echo"
        async with connect(where, ssl=server.client, host="127.0.0.1", compression=None) as socket:
            await socket.send(b"a" * 100_000)
            assert await socket.recv() == b"a" * 100_000
        await server.forgotten()

    run(test)


def test_a_request_in_the_same_packet_as_the_end_of_the_greeting_is_answered(run: Run) -> None:
    """TLS 1.3 lets a client speak at once; it must not get lost between two protocols."""

    async def test(server: Served) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = server.client.wrap_bio(came, goes, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(goes.read())
                came.write(await reader.read(1 << 16))
        client.write(ASKED)
        writer.write(goes.read())  # the last word of the handshake, and the request
        answer = b""
        while not answer.endswith(b"https 127.0.0.1"):
            with suppress(ssl.SSLWantReadError):
                answer += client.read(1 << 16)
                continue
            data = await reader.read(1 << 16)
            assert data, "it was closed"
            came.write(data)
        writer.close()

    run(test)


def test_so_many_of_one_address_and_the_oldest_goes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand sockets that say nothing were all that the server may have open, for a minute each."""
    monkeypatch.setattr(limits, "MAX_STRANGERS_OF_ONE", 4)

    async def test(server: Served) -> None:
        async with AsyncExitStack() as there:
            silent = [await there.enter_async_context(server.plain(b"\x16\x03\x01")) for _ in range(9)]
            for reader in silent[:5]:
                with suppress(ConnectionError):
                    assert await reader.read() == b"", "it was closed, and nothing was said"
            assert len(server.strangers) <= 4
            assert await server.ask() == b"https 127.0.0.1", "whoever comes now is served"
        await server.forgotten()

    run(test)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100_000])
def test_what_is_no_tls_ends_soon_and_is_not_counted_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(limits, "TLS_TIMEOUT_S", 0.1)

    async def test(server: Served) -> None:
        async with server.plain(first) as reader:
            with suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
            await server.forgotten()
        async with server.plain(first):
            pass  # gone again at once
        await server.forgotten()
        monkeypatch.setattr(limits, "TLS_TIMEOUT_S", 60.0)  # of whoever agrees on it, at any pace
        assert await server.ask() == b"https 127.0.0.1"

    run(test)
