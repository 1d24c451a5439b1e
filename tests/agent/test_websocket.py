"""The transport of real life, against a real WebSocket server on loopback."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from agent.transport import LinkClosedError
from agent.websocket import LINK_PATH, connect, link_url, tls_context
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


async def test_what_is_no_websocket_server_is_named(tmp_path: Path, unused_tcp_port: int) -> None:
    for address, more in (
        (f"http://127.0.0.1:{unused_tcp_port}", {}),
        (f"https://127.0.0.1:{unused_tcp_port}", {"ca_file": str(tmp_path / "absent.pem")}),
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
