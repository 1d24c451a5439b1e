"""Answers that go on: the same bytes by the short way and by ASGI, no faster than they are read, ended by who goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from serving import serving
from starlette.types import Receive, Scope, Send

from server.api import streams

PIECES = [[b"one"], [b"two", os.urandom(70_000), b"x"], [os.urandom(300_000)], [b"\r\n0\r\n\r\n", b"last"]]
Give = Callable[[], AsyncGenerator[list[bytes], None]]


async def given() -> AsyncGenerator[list[bytes], None]:
    for pieces in PIECES:
        yield pieces
        await asyncio.sleep(0)


@asynccontextmanager
async def served(give: Give, *, is_short: bool = True, headers: dict[str, str] | None = None) -> AsyncIterator[int]:
    """Give the port of a server that answers everything with what ``give`` gives."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not is_short:
            del scope["extensions"]
        await streams._Relayed(give(), 200, headers)(scope, receive, send)

    async with serving(app) as port:
        yield port


@pytest.mark.parametrize("is_short", [True, False])
async def test_all_of_it_comes_as_it_was_given(is_short: bool) -> None:
    async with served(given, is_short=is_short) as port, httpx2.AsyncClient() as client:
        for _ in range(2):  # on one connection
            answer = await client.get(f"http://127.0.0.1:{port}/")
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.content == b"".join(map(b"".join, PIECES))


async def test_an_answer_whose_length_is_told_is_not_cut_into_chunks() -> None:
    whole = b"".join(map(b"".join, PIECES))
    async with served(given, headers={"Content-Length": str(len(whole))}) as port, httpx2.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/")
        assert "transfer-encoding" not in answer.headers
        assert answer.content == whole


async def test_who_does_not_read_is_not_written_to_without_end_and_who_goes_ends_it() -> None:
    given_bytes, ended = 0, asyncio.Event()

    async def endless() -> AsyncGenerator[list[bytes], None]:
        nonlocal given_bytes
        try:
            while True:
                given_bytes += 1 << 20
                yield [bytes(1 << 20)]
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with served(endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1)
        before = -1
        while before != given_bytes:  # until nothing goes on any more
            before = given_bytes
            for _ in range(200):
                await asyncio.sleep(0)
        assert given_bytes < 64 << 20, "what the kernel takes, and one more"
        writer.transport.abort()
        await ended.wait()
