"""The short way of a WebSocket: nothing overtakes, a taker that fails is told of, no more is sent than is read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from protocol.errors import ProtocolError
from protocol.whole_frames import head
from server.line import Line
from server.line_protocol import LineProtocol

Serve = Callable[[WebSocket, Line], Awaitable[None]]
DEADLINE_S = 60.0


@asynccontextmanager
async def served(serve: Serve, ws: type[asyncio.Protocol] | str) -> AsyncIterator[ClientConnection]:
    """Give a client of a server that does ``serve`` with each connection."""

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await serve(socket, Line(socket))

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    config = uvicorn.Config(app, "127.0.0.1", 0, ws=ws, lifespan="off", log_config=None)  # type: ignore[arg-type]  # they say Literal
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(DEADLINE_S), connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
            yield client
    finally:
        await server.shutdown()


WAYS = pytest.mark.parametrize("ws", [LineProtocol, "websockets-sansio"], ids=["short", "asgi"])


@WAYS
async def test_bytes_and_texts_keep_their_order(ws: type[asyncio.Protocol] | str) -> None:
    """A text may be dealt with over many turns of the loop; what was typed after it comes after it."""
    got: list[str] = []

    async def serve(_socket: WebSocket, line: Line) -> None:
        while True:
            text = await line.receive(lambda data: got.append(data.decode()))
            got.append(f"<{text}")
            for _ in range(3):
                await asyncio.sleep(0)
            got.append(f"{text}>")
            if text == "end":
                await line.send("done")

    async with served(serve, ws) as client:
        for word in ("a", "b", "<c", "d", "<e", "f", "<end"):
            await (client.send(word[1:]) if word[0] == "<" else client.send(word.encode()))
        assert await client.recv() == "done"
    assert got == ["a", "b", "<c", "c>", "d", "<e", "e>", "f", "<end", "end>"]


@WAYS
async def test_what_a_taker_raises_is_raised_to_who_receives(ws: type[asyncio.Protocol] | str) -> None:
    taken: list[bytes] = []

    async def serve(socket: WebSocket, line: Line) -> None:
        def take(data: bytes) -> None:
            taken.append(data)
            if data == b"bad":
                raise ProtocolError("no such thing")

        try:
            await line.receive(take)
        except ProtocolError as error:
            await socket.close(4400, error.message)

    async with served(serve, ws) as client:
        for data in (b"good", b"bad", b"ignored"):
            await client.send(data)
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert (caught.value.rcvd and caught.value.rcvd.code, caught.value.rcvd and caught.value.rcvd.reason) == (
            4400,
            "no such thing",
        )
    assert taken == [b"good", b"bad"]


@WAYS
async def test_messages_that_come_in_pieces_keep_their_order_with_all_else(ws: type[asyncio.Protocol] | str) -> None:
    """Cut anywhere: in a head, in a message, behind one; texts, pings and messages of several frames between them."""
    got: list[str] = []

    async def serve(_socket: WebSocket, line: Line) -> None:
        while True:
            text = await line.receive(lambda data: got.append(f"{data[:1].decode()}{len(data)}"))
            got.append(text)
            if text == "end":
                await line.send("done")

    frames = [
        Frame(Opcode.BINARY, b"a" * 300), Frame(Opcode.BINARY, b"b" * 70_000), Frame(Opcode.TEXT, b"one"),
        Frame(Opcode.BINARY, b"c" * 5000), Frame(Opcode.PING, b"?"), Frame(Opcode.BINARY, b"d" * 10, fin=False),
        Frame(Opcode.CONT, b"d" * 10), Frame(Opcode.BINARY, b"e" * 200), Frame(Opcode.BINARY, b"f"),
        Frame(Opcode.TEXT, b"end"),
    ]  # fmt: skip
    expected = ["a300", "b70000", "one", "c5000", "d20", "e200", "f1", "end"]
    wire = b"".join(frame.serialize(mask=True) for frame in frames)
    async with served(serve, ws) as client:
        for step in (1, 7, 4096, 65_000, 100_000):
            got.clear()
            small = min(step * 700, len(wire))  # a byte at a time for a while, then the rest in two
            cuts = [*range(0, small, step), small, (small + len(wire)) // 2, len(wire)]
            for begin, end in itertools.pairwise(cuts):
                client.transport.write(wire[begin:end])
                await asyncio.sleep(0)
            assert await client.recv() == "done"
            assert got == expected, step


@WAYS
async def test_texts_that_are_offered_keep_their_order_too(ws: type[asyncio.Protocol] | str) -> None:
    """One that is taken is not received; one that is not taken, or is long, or comes while one is dealt with, is."""
    got: list[str] = []
    offered: list[str] = []

    def take_text(text: bytes) -> bool:
        offered.append(text.decode())
        if text.startswith(b"seen"):
            got.append(text.decode())
        return text.startswith(b"seen")

    async def serve(_socket: WebSocket, line: Line) -> None:
        while True:
            text = await line.receive(lambda data: got.append(data.decode()), take_text)
            got.append(text)
            for _ in range(3):
                await asyncio.sleep(0)
            if text == "end":
                await line.send("done")

    words = ["a", "<seen 1", "b", "<c", "<seen 2", f"<seen {'long' * 40}", "d", "<seen 3", "<end"]
    async with served(serve, ws) as client:
        for word in words:
            await (client.send(word[1:]) if word[0] == "<" else client.send(word.encode()))
        assert await client.recv() == "done"
    assert got == [word.removeprefix("<") for word in words]
    assert all(len(text) <= 125 for text in offered)
    assert ("seen 1" in offered) == (ws is LineProtocol), "only the short way offers any"


@WAYS
async def test_what_a_taker_of_texts_raises_is_raised_to_who_receives(ws: type[asyncio.Protocol] | str) -> None:
    async def serve(socket: WebSocket, line: Line) -> None:
        def take_text(text: bytes) -> bool:
            raise ProtocolError(f"no such thing as {text.decode()}")

        try:
            text = await line.receive(lambda _: None, take_text)
        except ProtocolError as error:
            await socket.close(4400, error.message)
        else:
            await socket.close(4401, text)

    async with served(serve, ws) as client:
        await client.send("this")
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        expected = (4400, "no such thing as this") if ws is LineProtocol else (4401, "this")
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == expected


@WAYS
async def test_a_peer_that_goes_is_told_of(ws: type[asyncio.Protocol] | str) -> None:
    gone = asyncio.Event()

    async def serve(_socket: WebSocket, line: Line) -> None:
        try:
            await line.receive(lambda _: None)
        except WebSocketDisconnect:
            line.send_now(b"to nobody")
            assert not line.may_send
            gone.set()

    async with served(serve, ws) as client:
        await client.send(b"x")
        client.transport.abort()
        await gone.wait()


async def test_what_is_sent_at_once_comes_in_order_with_what_waits() -> None:
    async def serve(_socket: WebSocket, line: Line) -> None:
        for number in range(0, 40, 2):
            assert line.may_send
            line.send_now(b"%d" % number)
            await line.send(b"%d" % (number + 1))
        line.send_now("text")
        await line.receive(lambda _: None)

    async with served(serve, LineProtocol) as client:
        assert [await client.recv() for _ in range(41)] == [*(b"%d" % number for number in range(40)), "text"]


async def test_what_is_offered_goes_in_order_with_all_else_or_not_at_all() -> None:
    offered: list[bool] = []

    async def serve(socket: WebSocket, line: Line) -> None:
        for number in range(0, 400, 2):
            offered.append(line.offer(b"%d" % number * number))
            await line.send(b"%d" % (number + 1))
        await socket.close(4000, "")
        offered.append(line.offer(b"after the end"))

    async with served(serve, LineProtocol) as client:
        for number in range(0, 400, 2):
            assert await client.recv() == b"%d" % number * number
            assert await client.recv() == b"%d" % (number + 1)
        with pytest.raises(ConnectionClosed):
            await client.recv()
    assert offered == [True] * 200 + [False]


async def test_what_a_closing_peer_sends_before_it_closes_is_answered_with_nothing() -> None:
    """Both come at once: the library knows of the end already when the message is handed over."""
    offered = asyncio.get_running_loop().create_future()

    async def serve(_socket: WebSocket, line: Line) -> None:
        await line.receive(lambda _: offered.set_result(line.offer(b"too late")))

    async with served(serve, LineProtocol) as client:
        frames = (Frame(Opcode.PING, b"?"), Frame(Opcode.BINARY, b"last"), Frame(Opcode.CLOSE, b"\x03\xe8"))
        client.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        assert await offered is False
        with pytest.raises(ConnectionClosed):
            await client.recv()


@pytest.mark.parametrize("size", [*range(140), 65535, 65536])
async def test_a_message_of_any_size_is_handed_over_as_it_was_sent(size: int) -> None:
    """The first before it is known that nothing waits, the second in the short way of few bytes."""
    got: list[bytes] = []

    async def serve(_socket: WebSocket, line: Line) -> None:
        await line.receive(got.append)
        await line.send("done")

    async with served(serve, LineProtocol) as client:
        data = bytes(number % 251 for number in range(size))
        for _ in range(3):
            await client.send(data)
            await asyncio.sleep(0)
        await client.send("end")
        assert await client.recv() == "done"
    assert got == [data] * 3


def _sent_if_it_may(line: Line, frame: bytes) -> bool:
    may_send = line.may_send
    if may_send:
        line.send_now(frame)
    return may_send


@pytest.mark.parametrize("send", [_sent_if_it_may, lambda line, frame: line.offer(frame)], ids=["sent", "offered"])
async def test_who_does_not_read_is_not_sent_to_without_end(send: Callable[[Line, bytes], bool]) -> None:
    sent = asyncio.get_running_loop().create_future()

    async def serve(_socket: WebSocket, line: Line) -> None:
        count = 0
        while send(line, bytes(1 << 20)) and count < 1000:
            count += 1
        sent.set_result(count)
        await line.receive(lambda _: None)

    async with served(serve, LineProtocol) as client:
        client.transport.pause_reading()
        assert await sent < 100, "what the kernel takes, and one more"
        client.transport.abort()


async def test_who_is_held_is_not_read_until_it_may_go_on() -> None:
    got = bytearray()
    held, go_on = asyncio.Event(), asyncio.Event()

    async def serve(_socket: WebSocket, line: Line) -> None:
        def take(data: bytes) -> None:
            got.extend(data)
            if not held.is_set():
                held.set()
                line.hold()

        async def later() -> None:
            await go_on.wait()
            line.go_on()

        task = asyncio.ensure_future(later())
        await line.receive(take)
        await task
        await line.send("done")

    async with served(serve, LineProtocol) as client:
        await client.send(b"first")
        await held.wait()
        many = [bytes(1 << 20)] * 32
        sending = asyncio.ensure_future(_send_all(client, many))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not sending.done()
        assert len(got) < 4 << 20, "what had arrived already"
        go_on.set()
        await sending
        assert await client.recv() == "done"
    assert len(got) == len(b"first") + (32 << 20)


@pytest.mark.parametrize("size", [1, 126, 4096, 65536, 1 << 17])
async def test_a_message_in_two_pieces_comes_as_one(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    async def serve(_socket: WebSocket, line: Line) -> None:
        for rest in (data, memoryview(data)[:size], b""):
            line.send_now(b"head", rest)
        await line.receive(lambda _: None)

    async with served(serve, LineProtocol) as client:
        assert [await client.recv() for _ in range(3)] == [b"head" + data, b"head" + data[:size], b"head"]


async def _send_all(client: ClientConnection, messages: list[bytes]) -> None:
    for message in messages:
        await client.send(message)
    await client.send("end")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4095, 4096, 65535, 65536, 1 << 20])
async def test_a_message_that_is_sent_at_once_is_framed_as_the_library_frames_it(size: int) -> None:
    data = bytes(size)
    assert head(size) + data == Frame(Opcode.BINARY, data).serialize(mask=False)

    async def serve(_socket: WebSocket, line: Line) -> None:
        line.send_now(data)
        line.send_now("after")
        await line.receive(lambda _: None)

    async with served(serve, LineProtocol) as client:
        assert [await client.recv(), await client.recv()] == [data, "after"]
