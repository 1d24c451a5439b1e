"""The gate's end of one worker's socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from protocol.frames import LengthPrefixed, decode, encode
from sandbox.channel import CallMade, Finished, Printed, Released, Violated, framed, value_body
from sandbox.inline import Suspended
from sandbox.replies import Reply
from sandbox.wire import Wire

CALL = framed(encode([1, "a", [], {}]))
PRINT = framed(encode([2, b"x"]))
RELEASE = framed(encode([5, 1]))
RESULT = framed(encode([3, 1, None, 0]))


class Ends:
    """Both ends of a socketpair: a wire, and the worker's side of it."""

    def __init__(self) -> None:
        ours, self.worker = socket.socketpair()
        ours.setblocking(False)
        self.calls: list[CallMade] = []
        self.trouble: list[Violated | None] = []
        self.takes = True  # whether a call is answered as it comes
        self.wire = Wire(asyncio.get_running_loop(), ours, self.on_call, self.trouble.append)
        self.wire.listen()

    def on_call(self, call: CallMade) -> Suspended[Reply] | None:
        self.calls.append(call)
        if self.takes:
            self.wire.answer(value_body(len(self.calls)))
        return None

    def answers(self) -> list[Any]:
        """Return what has been answered up to now."""
        try:
            data = self.worker.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        return [decode(body)[1] for body in LengthPrefixed().feed(data)]


@pytest.fixture
def ends() -> Iterator[list[Ends]]:
    made: list[Ends] = []
    yield made
    for each in made:
        each.wire.close()
        each.worker.close()


async def opened(ends: list[Ends]) -> Ends:
    ends.append(Ends())
    return ends[-1]


async def open_call(one: Ends) -> None:
    """Let a call come while nobody waits, so that it is not answered from the callback."""
    one.worker.sendall(CALL)
    while not one.wire._events:
        await asyncio.sleep(0)
    assert isinstance(await one.wire.next(), CallMade)


async def until_waiting(wire: Wire) -> asyncio.Task[Any]:
    task = asyncio.create_task(wire.next())
    await asyncio.sleep(0)
    return task


async def test_events_come_in_order_and_then_the_end(ends: list[Ends]) -> None:
    """Also those that came before the end was seen."""
    one = await opened(ends)
    one.worker.sendall(PRINT + PRINT + RESULT)
    one.worker.shutdown(socket.SHUT_WR)
    found = [await one.wire.next() for _ in range(4)]
    assert [type(event) for event in found] == [Printed, Printed, Finished, type(None)]


async def test_a_call_is_offered_at_once_while_somebody_waits(ends: list[Ends]) -> None:
    """And answered from there; the waiting goes on."""
    one = await opened(ends)
    task = await until_waiting(one.wire)
    for _ in range(50):
        one.worker.sendall(CALL)
        while not (came := one.answers()):
            await asyncio.sleep(0)
        assert came == [len(one.calls)]
    assert not task.done()
    task.cancel()


async def test_a_call_that_comes_with_something_else_waits_its_turn(ends: list[Ends]) -> None:
    """Order is kept: what was printed before a call is seen before it."""
    one = await opened(ends)
    task = await until_waiting(one.wire)
    one.worker.sendall(PRINT + CALL)
    assert isinstance(await task, Printed)
    assert isinstance(await one.wire.next(), CallMade)
    assert one.calls == []


async def test_trouble_while_a_call_is_open_is_told_at_once(ends: list[Ends]) -> None:
    """Nobody takes events then, and somebody must be interrupted."""
    one = await opened(ends)
    await open_call(one)
    one.worker.sendall(CALL)
    while not one.trouble:
        await asyncio.sleep(0)
    assert isinstance(one.trouble[0], Violated)


async def test_trouble_that_came_with_a_call_is_told_when_the_call_is_taken(ends: list[Ends]) -> None:
    """It used to wait in the queue until the call was done, which a worker can choose to be never."""
    one = await opened(ends)
    one.worker.sendall(CALL + CALL)
    while not one.wire._events:
        await asyncio.sleep(0)
    assert one.trouble == []
    assert isinstance(await one.wire.next(), CallMade)
    await asyncio.sleep(0)
    assert isinstance(one.trouble[0], Violated)


async def test_the_end_while_a_call_is_open_is_told_at_once(ends: list[Ends]) -> None:
    """Once, as None."""
    one = await opened(ends)
    await open_call(one)
    one.worker.close()
    while not one.trouble:
        await asyncio.sleep(0)
    assert one.trouble == [None]


async def test_what_does_not_fit_the_socket_goes_later(ends: list[Ends]) -> None:
    """A worker that reads slowly holds up nobody, and loses nothing."""
    one = await opened(ends)
    sent = b"".join(bytes([number]) * 100_000 for number in range(20))
    for at in range(0, len(sent), 100_000):
        one.wire.send(sent[at : at + 100_000])
    received = await asyncio.to_thread(lambda: read_exactly(one.worker, len(sent)))
    assert received == sent


async def test_a_worker_that_never_reads_is_answered_once(ends: list[Ends]) -> None:
    """What it does not read is kept here, so it may not ask for more of it."""
    one = await opened(ends)
    await open_call(one)
    one.wire.answer(value_body(b"x" * 900_000))
    one.worker.sendall(CALL)
    assert isinstance(await one.wire.next(), Violated)


async def test_a_worker_that_reads_its_answer_late_goes_on(ends: list[Ends]) -> None:
    """However large it was."""
    one = await opened(ends)
    for _ in range(3):
        await open_call(one)
        body = value_body(b"x" * 900_000)
        one.wire.answer(body)
        assert await asyncio.to_thread(read_exactly, one.worker, len(body) + 4) == framed(body)


async def test_a_start_that_was_not_read_does_not_matter_to_the_first_call(ends: list[Ends]) -> None:
    """A worker may say that it could not lock itself in before it reads anything."""
    one = await opened(ends)
    one.wire.send(b"x" * 900_000)
    await open_call(one)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        parts.append(sock.recv(size))
        if not parts[-1]:
            raise EOFError(f"{size} bytes are missing")
        size -= len(parts[-1])
    return b"".join(parts)


async def test_after_the_close_nothing_is_seen_or_sent(ends: list[Ends]) -> None:
    """A late frame is not acted on."""
    one = await opened(ends)
    one.worker.sendall(CALL)
    one.wire.close()
    one.wire.close()
    one.wire.send(b"x")
    assert await one.wire.next() is None
    assert one.calls == []


async def test_a_close_wakes_who_waits(ends: list[Ends]) -> None:
    """Nobody waits for ever."""
    one = await opened(ends)
    task = await until_waiting(one.wire)
    one.wire.close()
    assert await task is None


async def test_a_worker_that_is_gone_takes_no_answer(ends: list[Ends]) -> None:
    """No error: its end is seen by reading."""
    one = await opened(ends)
    one.worker.close()
    one.wire.send(b"x" * 10**6)
    assert await one.wire.next() is None


async def test_a_brisk_worker_does_not_keep_the_loop(ends: list[Ends]) -> None:
    """Others get their turn after a millisecond, however fast it calls."""
    one = await opened(ends)
    task = await until_waiting(one.wire)
    stop, turns = asyncio.Event(), []

    def worker() -> None:
        for _ in range(2000):
            one.worker.sendall(CALL)
            read_exactly(one.worker, int.from_bytes(read_exactly(one.worker, 4), "big"))
        one.worker.shutdown(socket.SHUT_WR)

    async def other() -> None:
        while not stop.is_set():
            turns.append(len(one.calls))
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    one.takes = True
    await asyncio.to_thread(worker)
    assert await task is None
    stop.set()
    await running
    assert len(one.calls) == 2000
    assert max(after - before for before, after in pairwise(turns)) < 1000, "calls, in one turn of the loop"


async def test_not_even_one_whose_next_call_is_always_there_keeps_the_loop(ends: list[Ends]) -> None:
    """It spins at its end of the socket, on a processor of its own, and knows no Python."""
    one = await opened(ends)
    task = await until_waiting(one.wire)

    def on_call(call: CallMade) -> None:
        one.calls.append(call)
        one.wire.answer(value_body(1))
        one.worker.recv(65536)
        if len(one.calls) < 2000:
            one.worker.sendall(CALL)

    one.wire._on_call = on_call
    turns = [0]
    one.worker.sendall(CALL)
    while len(one.calls) < 2000:
        await asyncio.sleep(0)
        turns.append(len(one.calls))
    assert max(after - before for before, after in pairwise(turns)) < 1000, "calls, in one turn of the loop"
    task.cancel()


async def test_who_waits_in_vain_waits_less_and_less(ends: list[Ends], monkeypatch: pytest.MonkeyPatch) -> None:
    """On one processor it would only stand in the worker's way; one call in time, and it waits as before."""
    one = await opened(ends)
    monkeypatch.setattr("sandbox.wire.SPIN_NS", 0)
    looks = []
    receive = one.wire._receive

    def look(until_ns: int) -> bytes | None:
        looks.append(until_ns)
        return receive(until_ns)

    monkeypatch.setattr(one.wire, "_receive", look)
    for _ in range(500):
        assert one.wire._wait(0, 1) is None
    assert len(looks) == 13  # at the calls 1, 3, 6, 11, 20, 37, 70, 135, and then each 65
    one.wire._rest = 0
    for _ in range(3):
        one.worker.sendall(CALL)
        assert one.wire._wait(0, 1) == CALL
    assert one.wire._wait(0, 1) is None
    assert len(looks) == 17
    assert (one.wire._rest, one.wire._next_rest) == (1, 2)


async def test_a_moment_that_the_turn_cuts_short_was_not_in_vain(ends: list[Ends]) -> None:
    """The worker had no time to call."""
    one = await opened(ends)
    for _ in range(10):
        assert one.wire._wait(0, 0) is None
    assert (one.wire._rest, one.wire._next_rest) == (0, 1)


async def test_what_a_worker_says_after_its_result_is_a_violation(ends: list[Ends]) -> None:
    """And looked at as one, after the result."""
    one = await opened(ends)
    one.worker.sendall(RESULT + PRINT)
    while not one.wire._events:
        await asyncio.sleep(0)
    assert [type(event) for event in one.wire._events] == [Finished, Violated]


async def test_nothing_is_read_before_it_listens(ends: list[Ends]) -> None:
    """A worker that speaks meanwhile fills its socket, and no memory here; what it said is heard then, in order."""
    one = Ends()
    ends.append(one)
    ours, worker = socket.socketpair()
    ours.setblocking(False)
    worker.setblocking(False)
    wire = Wire(asyncio.get_running_loop(), ours, one.on_call, one.trouble.append)
    taken = 0
    try:
        while True:
            taken += worker.send(PRINT * 1000)
            await asyncio.sleep(0)
    except BlockingIOError:
        assert taken < 4 * 1024 * 1024
    assert not wire._events
    wire.listen()
    heard = [await wire.next() for _ in range(taken // len(PRINT))]
    assert heard == [Printed(b"x")] * (taken // len(PRINT))
    wire.close()
    worker.close()


async def test_nothing_is_read_while_the_run_has_not_taken_what_came(ends: list[Ends]) -> None:
    """Closing what was released may take seconds: a worker that floods meanwhile fills its socket, and no memory."""
    one = await opened(ends)
    one.worker.sendall(RELEASE)
    assert await one.wire.next() == Released(1)
    one.worker.setblocking(False)
    taken = refused = 0
    while refused < 10:
        try:
            taken += one.worker.send(PRINT * 1000)
        except BlockingIOError:
            refused += 1
        await asyncio.sleep(0)
        assert taken < 4 * 1024 * 1024
    heard = [await one.wire.next() for _ in range(taken // len(PRINT))]
    assert heard == [Printed(b"x")] * (taken // len(PRINT))
    one.worker.close()
    assert await one.wire.next() is None


async def test_one_that_never_listened_is_closed_like_any(ends: list[Ends]) -> None:
    """Twice as well."""
    one = await opened(ends)
    ours, worker = socket.socketpair()
    wire = Wire(asyncio.get_running_loop(), ours, one.on_call, one.trouble.append)
    wire.close()
    wire.close()
    assert worker.recv(1) == b""
    worker.close()
