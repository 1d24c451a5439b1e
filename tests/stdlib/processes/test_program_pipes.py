"""Following what a program prints: handed over as it comes, held as long as who follows says, whole to the end."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from protocol.errors import ConflictError
from stdlib.processes.pipes import CHUNK_BYTES, Reader


def opened() -> tuple[Reader, int]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    return Reader(reading), writing


async def turns() -> None:
    """Let the loop look at descriptors a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_comes_in_order_and_to_the_end() -> None:
    reader, writing = opened()
    got: list[bytes] = []
    following = asyncio.ensure_future(reader.follow(lambda data: got.append(data) or CHUNK_BYTES, CHUNK_BYTES))
    for part in (b"one ", b"two ", b"three"):
        os.write(writing, part)
        await turns()
    os.close(writing)
    await following
    assert b"".join(got) == b"one two three"
    assert len(got) == 3
    reader.close()


async def test_nothing_is_read_while_there_is_no_room() -> None:
    """A program that prints without end waits in its own write."""
    reader, writing = opened()
    got: list[bytes] = []
    following = asyncio.ensure_future(reader.follow(lambda data: got.append(data) or 0, 3))
    os.write(writing, b"abcdef")
    await turns()
    assert got == [b"abc"]
    reader.go_on(2)
    await turns()
    assert got == [b"abc", b"de"]
    os.close(writing)
    await turns()
    assert not following.done(), "there is more"
    reader.go_on(10)
    await turns()
    reader.go_on(10)  # the end is read as well
    await following
    assert b"".join(got) == b"abcdef"
    reader.close()


async def test_one_that_prints_without_end_leaves_the_loop_to_others() -> None:
    reader, writing = opened()
    sizes: list[int] = []

    def take(data: bytes) -> int:
        sizes.append(len(data))
        os.write(writing, data)  # there is always more
        return CHUNK_BYTES

    following = asyncio.ensure_future(reader.follow(take, CHUNK_BYTES))
    os.write(writing, bytes(CHUNK_BYTES))
    while len(sizes) < 50:
        before = len(sizes)
        await asyncio.sleep(0)
        assert len(sizes) - before <= 2, "in one turn of the loop"
    assert max(sizes) <= CHUNK_BYTES
    reader.close()
    await following
    os.close(writing)


async def test_what_the_taker_raises_ends_it_and_reading_can_go_on() -> None:
    reader, writing = opened()

    def take(data: bytes) -> int:
        raise ConflictError(f"not {data.decode()}")

    following = asyncio.ensure_future(reader.follow(take, 10))
    os.write(writing, b"this")
    with pytest.raises(ConflictError, match="not this"):
        await following
    os.write(writing, b"that")
    assert await reader.read() == b"that"
    following = asyncio.ensure_future(reader.follow(lambda _: 10, 10))
    await turns()
    with pytest.raises(ConflictError):
        await reader.follow(lambda _: 10, 10)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    os.write(writing, b"more")
    assert await reader.read() == b"more"
    reader.close()
    await reader.follow(lambda _: 10, 10)  # at its end already
    os.close(writing)


def test_a_terminal_ends_when_its_other_side_is_closed() -> None:
    async def scenario() -> bytes:
        master, slave = os.openpty()
        tty.setraw(slave)
        reader = Reader(master)
        got: list[bytes] = []
        following = asyncio.ensure_future(reader.follow(lambda data: got.append(data) or CHUNK_BYTES, CHUNK_BYTES))
        for _ in range(20):
            await asyncio.to_thread(os.write, slave, bytes(3000))  # it waits until it is read
        os.close(slave)
        await following
        reader.close()
        return b"".join(got)

    assert asyncio.run(scenario()) == uvloop.run(scenario()) == bytes(60_000)


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_one_that_is_closed_while_a_cancelled_reader_has_not_noticed(loops: Callable[[], Any]) -> None:
    """As at the end of a session: the loop must not go on to watch the number, which is soon another one's."""

    async def end() -> None:
        reader, writing = opened()
        reading = asyncio.ensure_future(reader.read())
        await turns()
        reading.cancel()
        reader.close()
        with pytest.raises(asyncio.CancelledError):
            await reading
        os.close(writing)
        other, writing = opened()  # with the very same numbers
        reading = asyncio.ensure_future(other.read())
        await turns()
        os.write(writing, b"heard")
        assert await reading == b"heard"
        other.close()
        os.close(writing)

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(asyncio.wait_for(end(), 60))
