"""Bodies that are handed on: the same bytes by the short way and by ASGI, no faster than they are taken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from serving import serving
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from protocol.errors import ConflictError
from server.request_body import HANDED, Incoming, incoming

BODY = os.urandom(700_001)
HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\n"
Serve = Callable[[Incoming], Awaitable[str]]


@asynccontextmanager
async def served(serve: Serve, *, is_short: bool = True) -> AsyncIterator[int]:
    """Give the port of a server that does this with each body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not is_short:
            del scope["extensions"][HANDED]
        await PlainTextResponse(await serve(incoming(Request(scope, receive))))(scope, receive, send)

    async with serving(app) as port:
        yield port


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


WAYS = {
    "a length": b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY[:1], BODY[1:300_000], BODY[300_000:]),
    "nothing": b"Content-Length: 0\r\n\r\n",
}


async def asked(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length"))
    answer += await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()
    return answer


@pytest.mark.parametrize("is_short", [True, False])
@pytest.mark.parametrize("takes", ["all", "none", "some"])
@pytest.mark.parametrize("way", WAYS)
async def test_all_of_it_is_handed_on_in_order(way: str, takes: str, is_short: bool) -> None:
    got: list[bytes] = []

    async def serve(body: Incoming) -> str:
        offered = 0

        def take(piece: bytes) -> bool:
            nonlocal offered
            offered += 1
            if takes == "none" or (takes == "some" and offered % 2):
                return False
            got.append(piece)
            return True

        async def write(piece: bytes) -> None:
            await asyncio.sleep(0)  # more may come meanwhile
            got.append(piece)

        got.clear()
        await body.hand_on(take, write)
        assert all(got)
        return str(sum(map(len, got)))

    async with served(serve, is_short=is_short) as port:
        assert b"200 OK" in await asked(port, HEAD + WAYS[way])
        assert b"".join(got) == (b"" if way == "nothing" else BODY)
        assert b"200 OK" in await asked(
            port, HEAD, *[WAYS[way][at : at + 9_973] for at in range(0, len(WAYS[way]), 9_973)]
        )
        assert b"".join(got) == (b"" if way == "nothing" else BODY)


async def test_whoever_takes_nothing_is_sent_no_more_than_the_kernel_holds() -> None:
    begun, goes_on, sizes = asyncio.Event(), asyncio.Event(), []

    async def serve(body: Incoming) -> str:
        async def write(piece: bytes) -> None:
            sizes.append(len(piece))
            begun.set()
            await goes_on.wait()

        def take(_piece: bytes) -> bool:
            sizes.append(0)
            return False

        await body.hand_on(take, write)
        return "done"

    async with served(serve) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        await writer.drain()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()
                sent += 1 << 20

        flooding = asyncio.ensure_future(flood())
        await begun.wait()
        before = -1
        while before != sent:  # until nothing goes on any more
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 64 << 20, "what the kernel takes"
        assert sizes.count(0) <= 1, "it is not even offered what waits behind something"
        assert sum(sizes) <= 1 << 20
        flooding.cancel()
        writer.close()
        goes_on.set()


@pytest.mark.parametrize("is_short", [True, False])
async def test_a_client_that_goes_away_in_the_middle_has_sent_no_whole_body(is_short: bool) -> None:
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def serve(body: Incoming) -> str:
        try:
            await body.hand_on(lambda _: True, lambda _: asyncio.sleep(0))
        except ClientDisconnect:
            ended.set_result(True)
            raise
        ended.set_result(False)
        return "done"

    async with served(serve, is_short=is_short) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nabc")
        await writer.drain()
        writer.close()
        assert await ended


async def test_who_cannot_take_it_is_handed_nothing_more_and_answers() -> None:
    offered = 0

    async def serve(body: Incoming) -> str:
        def take(_piece: bytes) -> bool:
            nonlocal offered
            offered += 1
            raise ConflictError("it is over")

        with pytest.raises(ConflictError):
            await body.hand_on(take, lambda _: asyncio.sleep(0))
        return "told"

    async with served(serve) as port:
        pieces = [HEAD + b"Content-Length: 300000\r\n\r\n", *[bytes(100_000)] * 3]
        assert b"told" in await asked(port, *pieces)
        assert offered <= 1  # none if the first piece came with the head


@pytest.mark.parametrize("is_short", [True, False])
async def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(is_short: bool) -> None:
    got: list[bytes] = []

    async def serve(body: Incoming) -> str:
        async def write(piece: bytes) -> None:
            got.append(piece)

        await body.hand_on(lambda _: False, write)
        return "done"

    async with served(serve, is_short=is_short) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert got == [b"abc"]
        writer.close()


async def test_bodies_of_requests_that_wait_for_their_turn_are_each_their_own() -> None:
    got: list[bytes] = []

    async def serve(body: Incoming) -> str:
        mine: list[bytes] = []

        def take(piece: bytes) -> bool:
            mine.append(piece)
            return True

        async def write(piece: bytes) -> None:
            mine.append(piece)

        await body.hand_on(take, write)
        got.append(b"".join(mine))
        return "done"

    async with served(serve) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        bodies = [b"one", b"two" * 100_000, b"", b"four"]
        writer.write(b"".join(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies))
        for _ in bodies:
            assert b"200 OK" in await reader.readuntil(b"done")
        assert got == bodies
        writer.close()
