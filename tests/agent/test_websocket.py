"""The transport of real life, against a real WebSocket server on loopback."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from agent.transport import LinkClosedError
from agent.websocket import LINK_PATH, connect, link_url, names_proxies, tls_context
from protocol.errors import NotConnectedError, ProtocolError
from protocol.limits import MAX_LINK_FRAME_BYTES


@asynccontextmanager
async def served(behave: Callable[[ServerConnection], Awaitable[None]]) -> Any:
    """Give the address of a server that does ``behave`` with each connection."""
    async with serve(behave, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def echo(connection: ServerConnection) -> None:
    async for frame in connection:
        await connection.send(frame)


async def test_frames_go_both_ways() -> None:
    asked: list[Any] = []

    async def behave(connection: ServerConnection) -> None:
        asked.append(connection.request)
        await echo(connection)

    async with served(behave) as address:
        transport = await connect(address)
        frame = bytes(range(256)) * (MAX_LINK_FRAME_BYTES // 256)
        await transport.send(frame)
        assert await transport.receive() == frame
        await transport.close(1001, "\u00fc" * 200)
    assert asked[0].path == LINK_PATH
    assert "Sec-WebSocket-Extensions" not in asked[0].headers, "no compression: its window costs memory"
    assert "User-Agent" not in asked[0].headers


async def test_a_text_frame_breaks_the_protocol() -> None:
    async with served(lambda connection: connection.send("text")) as address:
        transport = await connect(address)
        with pytest.raises(ProtocolError, match="text"):
            await transport.receive()
        await transport.close(1002, "")


async def test_a_frame_over_the_bound_is_not_kept() -> None:
    async with served(lambda connection: connection.send(bytes(MAX_LINK_FRAME_BYTES + 1))) as address:
        transport = await connect(address)
        with pytest.raises(LinkClosedError):
            await transport.receive()
        await transport.close(1009, "")


async def test_why_the_server_closed_is_told() -> None:
    async with served(lambda connection: connection.close(4403, "duplicate")) as address:
        transport = await connect(address)
        for _ in range(2):
            with pytest.raises(LinkClosedError, match="duplicate") as caught:
                await transport.receive()
            assert caught.value.close_code == 4403
        with pytest.raises(LinkClosedError):
            await transport.send(b"x")
        await transport.close(1001, "twice does no harm")


async def test_a_server_that_falls_silent_is_told_apart() -> None:
    async def die(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with served(die) as address:
        transport = await connect(address)
        with pytest.raises(LinkClosedError) as caught:
            await transport.receive()
        assert caught.value.close_code is None
        await transport.close(1001, "")


async def test_what_is_no_websocket_server_is_named(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        for address, more in (
            (f"http://127.0.0.1:{port}", {}),
            (f"https://127.0.0.1:{port}", {"ca_file": str(tmp_path / "absent.pem")}),
            ("http://host.invalid", {}),
        ):
            with pytest.raises(NotConnectedError, match=LINK_PATH):
                await connect(address, **more)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("https://outrider.example", f"wss://outrider.example{LINK_PATH}"),
        ("https://outrider.example:7443/under", f"wss://outrider.example:7443/under{LINK_PATH}"),
        ("http://[::1]:7443", f"ws://[::1]:7443{LINK_PATH}"),
    ],
)
def test_where_the_link_is(server: str, url: str) -> None:
    assert link_url(server) == url


def test_nothing_older_than_tls_1_3_and_no_unknown_server() -> None:
    context = tls_context(None)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_frames_are_handed_over_as_they_come_and_sent_at_once() -> None:
    async with served(echo) as address:
        transport = await connect(address)
        await transport.send(b"before anybody takes")
        got: list[bytes] = []

        def take(frame: bytes) -> None:
            got.append(frame)
            if len(got) == 100:
                raise ProtocolError("enough")
            transport.send_now(b"%d" % len(got))

        with pytest.raises(ProtocolError, match="enough"):
            await transport.receive_each(take)
        assert got == [b"before anybody takes", *(b"%d" % number for number in range(1, 100))]
        assert transport.may_send
        await transport.close(1001, "")
        assert not transport.may_send
        transport.send_now(b"to nobody")


async def test_what_is_offered_comes_in_order_with_all_else_or_not_at_all() -> None:
    async with served(echo) as address:
        transport = await connect(address)
        got: list[bytes] = []
        receiving = asyncio.ensure_future(transport.receive_each(got.append))
        sent = [bytes(number % 251 for number in range(size)) for size in (*range(140), 65535, 65536)]
        for data in sent:
            assert transport.offer(data)
            await transport.send(b"between")
        async with asyncio.timeout(60):
            while len(got) < 2 * len(sent):
                await asyncio.sleep(0)
        assert got == [each for data in sent for each in (data, b"between")]
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await transport.close(1001, "")
        assert not transport.offer(b"to nobody")


@pytest.mark.parametrize("begins", range(1, 9))
async def test_a_frame_in_two_pieces_comes_as_one(begins: int) -> None:
    """The key goes on in the second piece where it stopped in the first."""
    async with served(echo) as address:
        transport = await connect(address)
        frame = bytes(range(256)) * 512 + b"odd"
        for rest in (frame[begins:], memoryview(frame)[begins:], b""):
            transport.send_now(frame[:begins], rest)
            assert await transport.receive() == frame[:begins] + bytes(rest)
        await transport.close(1001, "")


@pytest.mark.parametrize("step", [1, 7, 4096, 65_000])
async def test_frames_that_come_in_pieces_keep_their_order_with_all_else(step: int) -> None:
    """Cut anywhere: in a head, in a frame, behind one; a ping and a message of several frames between them."""
    frames = [
        Frame(Opcode.BINARY, b"a" * 300), Frame(Opcode.BINARY, b"b" * 70_000), Frame(Opcode.PING, b"?"),
        Frame(Opcode.BINARY, b"c" * 10, fin=False), Frame(Opcode.CONT, b"c" * 10), Frame(Opcode.BINARY, b"d" * 5000),
        Frame(Opcode.BINARY, b"e"),
    ]  # fmt: skip
    wire = b"".join(frame.serialize(mask=False) for frame in frames)
    small = min(step * 700, len(wire))

    async def behave(connection: ServerConnection) -> None:
        await connection.recv()  # by then who reads has begun
        cuts = [*range(0, small, step), small, (small + len(wire)) // 2, len(wire)]
        for begin, end in itertools.pairwise(cuts):
            connection.transport.write(wire[begin:end])
            await asyncio.sleep(0)
        await connection.wait_closed()

    got: list[bytes] = []
    is_all = asyncio.Event()

    def take(frame: bytes) -> None:
        got.append(frame)
        if frame == b"e":
            is_all.set()

    async with served(behave) as address:
        transport = await connect(address)
        receiving = asyncio.ensure_future(transport.receive_each(take))
        await asyncio.sleep(0)
        await transport.send(b"go on")
        async with asyncio.timeout(60):
            await is_all.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await transport.close(1000, "")
    assert got == [b"a" * 300, b"b" * 70_000, b"c" * 20, b"d" * 5000, b"e"]


async def test_what_takes_frames_hears_of_text_and_of_the_end() -> None:
    async def behave(connection: ServerConnection) -> None:
        await connection.send([b"in ", b"parts"])
        await connection.send(b"whole")
        await connection.send(await connection.recv())

    async with served(behave) as address:
        transport = await connect(address)
        got: list[bytes] = []
        await transport.send(b"x")
        with pytest.raises(LinkClosedError):
            await transport.receive_each(got.append)
        assert got == [b"in parts", b"whole", b"x"]
    async with served(lambda connection: connection.send("text")) as address:
        transport = await connect(address)
        with pytest.raises(ProtocolError, match="text"):
            await transport.receive_each(got.append)
        await transport.close(1002, "")


async def test_a_server_that_does_not_read_is_not_sent_to_without_end() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with served(deaf) as address:
        transport = await connect(address)
        sent = 0
        while transport.may_send and sent < 1000:
            transport.send_now(bytes(1 << 20))
            sent += 1
        assert sent < 100, "what the kernel takes, and one more"
        transport._connection.transport.abort()


async def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        with pytest.raises(NotConnectedError, match="407"):
            await connect("http://outrider.example:7443")
    assert asked == [b"CONNECT outrider.example:7443 HTTP/1.1\r\n"]


@pytest.mark.parametrize(
    "proxy", ["http://[bad", "http://127.0.0.1:99999", "http://127.0.0.1:x", "http://a..b:1", "socks5://127.0.0.1:1"]
)
async def test_a_proxy_of_the_environment_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """The agent goes on without a link, and so do its schedules; ended for it, it would be started again for ever."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setitem(sys.modules, "python_socks.async_.asyncio", None)
    with pytest.raises(NotConnectedError, match=r"no connection to wss://host\.invalid:1/"):
        await connect("https://host.invalid:1")


@pytest.mark.parametrize(
    ("environment", "told"),
    [({}, False), ({"PROXY": "x"}, False), ({"https_proxy": "x"}, True), ({"ALL_PROXY": ""}, True)],
)
def test_it_is_known_whether_the_environment_names_proxies(environment: dict[str, str], told: bool) -> None:
    assert names_proxies(environment) is told
