"""Pipes over a real pair of links: backpressure, ends, loss. The loop only turns; nothing waits for a clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

import pytest
from wires import End, Wire

from protocol import limits
from protocol.errors import ConflictError, NotConnectedError, ProtocolError, TooLargeError
from protocol.frames import encode, prefixed
from protocol.link import StreamOpened
from protocol.pipes import MAX_MESSAGE_BYTES, WINDOW_BYTES, Pipe, Pipes


class Both:
    """Two ends with their pipes; the server opens, the agent accepts."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.server = Pipes(self.wire.server.link, lambda: None, asyncio.Event)
        self.agent = Pipes(self.wire.agent.link, lambda: None, asyncio.Event)
        self.accepted: list[Pipe] = []

    def settle(self) -> None:
        while events := self.wire.settle():
            for end, pipes in ((self.wire.server, self.server), (self.wire.agent, self.agent)):
                self._hand_in(end, pipes)
            assert events

    def _hand_in(self, end: End, pipes: Pipes) -> None:
        told, end.events = end.events, []
        for event in told:
            if isinstance(event, StreamOpened):
                self.accepted.append(pipes.accept(event))
            else:
                pipes.on(event)

    def open(self) -> tuple[Pipe, Pipe]:
        ours = self.server.open("session", {"session": "s_1"})
        self.settle()
        return ours, self.accepted[-1]

    async def until_done(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Let frames cross until all of it is done."""
        tasks = [asyncio.ensure_future(each) for each in work]
        for _ in range(100_000):
            self.settle()
            await asyncio.sleep(0)
            if all(task.done() for task in tasks):
                return [task.result() for task in tasks]
        raise AssertionError("it came to a stop")


@pytest.fixture
def both() -> Both:
    return Both()


async def read_all(pipe: Pipe) -> bytes:
    parts = []
    while data := await pipe.read():
        parts.append(data)
    return b"".join(parts)


async def write_all(pipe: Pipe, data: bytes) -> None:
    await pipe.write(data)
    pipe.finish()


async def test_bytes_cross_in_both_directions_at_once(both: Both) -> None:
    ours, theirs = both.open()
    there, back = bytes(range(256)) * 20_000, b"back" * 1_000_000
    got = await both.until_done(write_all(ours, there), read_all(theirs), write_all(theirs, back), read_all(ours))
    assert (got[1], got[3]) == (there, back)
    assert not ours.is_open
    assert not theirs.is_open
    assert both.wire.server.link._streams == {} == both.wire.agent.link._streams


async def test_many_small_frames_that_nobody_reads_cost_one_window_too(both: Both) -> None:
    """Each is a piece of its own otherwise, and half a million of them forty windows, on each of 512 streams."""
    ours, theirs = both.open()
    number = theirs._number
    sent = [bytes((n % 256, n // 256)) for n in range(20_000)]
    for data in sent:
        assert both.agent.come(number, data)
    assert len(theirs._arrived) < 20
    assert await theirs.read() == b"".join(sent)[:4096]
    assert b"".join(await theirs.gather(1 << 20)) == b"".join(sent)[4096:]
    ours.reset("cancelled")


async def test_a_reader_that_stops_costs_one_window(both: Both) -> None:
    """A terminal that nobody looks at must not fill the memory of either end."""
    ours, theirs = both.open()
    writing = asyncio.ensure_future(ours.write(bytes(8 * WINDOW_BYTES)))
    for _ in range(200):
        both.settle()
        await asyncio.sleep(0)
    assert not writing.done()
    held = sum(map(len, theirs._arrived))
    assert held == WINDOW_BYTES
    await both.until_done(read_some(theirs, 8 * WINDOW_BYTES))
    await writing


@pytest.mark.parametrize("window", [0, WINDOW_BYTES, WINDOW_BYTES + 1, 2 * WINDOW_BYTES, 1 << 40])
async def test_a_wider_window_lets_the_peer_be_so_far_ahead_and_no_further(both: Both, window: int) -> None:
    """It is never narrower than it was, and never beyond what bounds the memory of a stream."""
    ours, theirs = both.open()
    ours.widen(window)
    ours.widen(window)
    both.settle()
    held = min(max(window, WINDOW_BYTES), limits.MAX_CREDIT_BYTES)
    data = bytes(held + 1)
    writing = asyncio.ensure_future(theirs.write(data))
    for _ in range(1000):
        both.settle()
        await asyncio.sleep(0)
    assert sum(map(len, ours._arrived)) == held
    assert not writing.done()
    taken = 0
    while taken < len(data):
        taken += sum(map(len, await ours.gather(held)))
        both.settle()
        await asyncio.sleep(0)
        both.settle()
    await writing


async def test_what_lies_there_is_gathered_and_credited(both: Both) -> None:
    """Whoever writes to a disk wants large pieces, and must not wait for them to be complete."""
    ours, theirs = both.open()
    assert await both.until_done(ours.write(bytes(300_000)), theirs.gather(100_000))
    rest = await theirs.gather(1 << 20)
    assert sum(map(len, rest)) > 100_000
    writing = asyncio.ensure_future(ours.write(bytes(4 * WINDOW_BYTES)))
    got = 0
    while got < 4 * WINDOW_BYTES:
        (pieces,) = await both.until_done(theirs.gather(1 << 20))
        got += sum(map(len, pieces))
    await writing
    ours.finish()
    assert await both.until_done(theirs.gather(1)) == [[]]


@pytest.mark.parametrize("size", [1, 4095, 4096, limits.MAX_STREAM_DATA_BYTES])
async def test_whoever_gathers_copies_nothing_of_a_long_frame_and_whoever_reads_gets_bytes(
    both: Both, size: int
) -> None:
    """In the short way, which the frames of a live link take."""
    ours, theirs = both.open()
    for take in (theirs.gather(1), theirs.read()):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        await ours.write(data)
        (frame,) = both.wire.server.link.take()
        came = both.wire.agent.link.receive_data(frame)
        assert came is not None
        assert both.agent.come(*came)
        (got,) = await both.until_done(take)
        if isinstance(got, list):
            assert [bytes(piece) for piece in got] == [data]
            assert (type(got[0]) is memoryview and got[0].obj is frame) is (size >= 4096)
        else:
            assert (type(got), got) == (bytes, data)


async def test_short_messages_are_handed_on_as_all_others(both: Both) -> None:
    """In the short way: whole, several in a frame, cut anywhere; credit is given for them, and nothing overtakes."""
    ours, theirs = both.open()
    got: list[Any] = []
    receiving = asyncio.ensure_future(theirs.receive_each(lambda message: got.append(message) or message != b"end"))  # type: ignore[func-returns-value]  # none, so false
    await asyncio.sleep(0)
    sent: list[Any] = [bytes(size) for size in range(300)] * 40 + [b"x" * 5000, b"y", b"end"]
    wire = b"".join(prefixed(encode(message)) for message in sent)
    cut = deque([len(prefixed(encode(message))) for message in sent[:9000]] + [1, 2, 3, 4, 5, 300, 700] * 2000)

    async def send() -> None:
        at = 0
        while at < len(wire):
            size = cut.popleft()
            await ours.write(wire[at : at + size])
            at += size

    sending = asyncio.ensure_future(send())
    while not receiving.done():
        for frame in both.wire.server.link.take():
            if (came := both.wire.agent.link.receive_data(frame)) is not None:
                assert both.agent.come(*came)
            else:
                for event in both.wire.agent.link.receive(frame):
                    both.agent.on(event)
        for frame in both.wire.agent.link.take():
            for event in both.wire.server.link.receive(frame):
                both.server.on(event)
        await asyncio.sleep(0)
    await receiving
    assert got == sent
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_what_is_raised_for_a_short_message_is_raised_where_it_is_waited_for(both: Both) -> None:
    ours, theirs = both.open()
    got: list[Any] = []

    def take(message: Any) -> bool:
        got.append(message)
        if message == "bad":
            raise ProtocolError("no such thing")
        return True

    receiving = asyncio.ensure_future(theirs.receive_each(take))
    await asyncio.sleep(0)
    for message in ("good", "bad", "ignored"):
        assert ours.send_now(message)
        (frame,) = both.wire.server.link.take()
        came = both.wire.agent.link.receive_data(frame)
        assert came is not None
        assert both.agent.come(*came)
    with pytest.raises(ProtocolError, match="no such thing"):
        await receiving
    assert got == ["good", "bad"]


async def read_some(pipe: Pipe, size: int) -> None:
    while size > 0:
        size -= len(await pipe.read())


async def test_messages_keep_their_borders(both: Both) -> None:
    ours, theirs = both.open()
    sent: list[Any] = [["o", b"x" * 300_000], ["r", 80, 24], {"a": None}]

    async def send() -> None:
        for message in sent:
            await ours.send(message)
        ours.finish()

    async def receive() -> list[Any]:
        got = []
        while (message := await theirs.receive()) is not None:
            got.append(message)
        return got

    assert (await both.until_done(send(), receive()))[1] == sent


async def test_a_message_over_the_bound_is_not_sent_and_not_taken(both: Both) -> None:
    ours, theirs = both.open()
    with pytest.raises(TooLargeError):
        await ours.send(bytes(MAX_MESSAGE_BYTES + 1))
    await ours.write((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
    both.settle()
    with pytest.raises(TooLargeError):
        await theirs.receive()


@pytest.mark.parametrize("garbage", [b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02\xc0\xc0", b"\x00\x00\x00\x00"])
async def test_what_is_no_message_is_a_protocol_error(both: Both, garbage: bytes) -> None:
    ours, theirs = both.open()
    await ours.write(garbage)
    both.settle()
    with pytest.raises(ProtocolError):
        await theirs.receive()


async def test_an_end_in_the_middle_of_a_message_is_told(both: Both) -> None:
    ours, theirs = both.open()
    await ours.write(b"\x00\x00\x00\x05ab")
    ours.finish()
    both.settle()
    with pytest.raises(ConflictError):
        await theirs.receive()


async def test_giving_up_reaches_reader_and_writer_of_the_other_end(both: Both) -> None:
    ours, theirs = both.open()
    writing = asyncio.ensure_future(theirs.write(bytes(limits.MAX_CREDIT_BYTES)))
    reading = asyncio.ensure_future(theirs.read())
    await asyncio.sleep(0)
    ours.reset("cancelled")
    both.settle()
    for task in (writing, reading):
        with pytest.raises(ConflictError, match="cancelled"):
            await task
    with pytest.raises(ConflictError):
        await ours.read()
    ours.reset("again")
    theirs.finish()


async def test_a_lost_link_ends_every_pipe(both: Both) -> None:
    ours, theirs = both.open()
    await ours.write(b"last")
    both.settle()
    both.wire.agent.link.lost()
    both.agent.lose()
    assert await theirs.read() == b"last", "what had come is still there"
    with pytest.raises(NotConnectedError):
        await theirs.read()
    with pytest.raises(NotConnectedError):
        await theirs.write(b"x")
    theirs.finish()
    theirs.reset("late")


async def test_nothing_is_written_after_the_end(both: Both) -> None:
    ours, _ = both.open()
    ours.finish()
    with pytest.raises(ConflictError):
        await ours.write(b"x")


async def test_a_closed_pipe_delivers_what_was_sent_and_takes_no_more(both: Both) -> None:
    """Whoever has answered need not wait for the other end to say goodbye, nor hold what it still says."""
    ours, theirs = both.open()
    await theirs.send(["value", 1])
    theirs.close()
    both.settle()
    assert await ours.receive() == ["value", 1]
    assert await ours.receive() is None
    writing = asyncio.ensure_future(ours.write(bytes(4 * WINDOW_BYTES)))
    for _ in range(100):
        both.settle()
        await asyncio.sleep(0)
    assert not writing.done()
    assert not theirs._arrived
    writing.cancel()
    ours.finish()
    both.settle()
    assert both.wire.agent.link._streams == {}


# without a task between ---------------------------------------------------------------------------------------------


async def test_messages_are_handed_over_while_the_frames_are_taken_in(both: Both) -> None:
    ours, theirs = both.open()
    await ours.send("before")
    both.settle()
    got: list[Any] = []
    taking = asyncio.ensure_future(theirs.receive_each(lambda message: got.append(message) is None))
    await asyncio.sleep(0)
    assert got == ["before"]
    assert ours.send_now(["a key", b"k"])
    assert ours.send_now(["a chunk", bytes(100_000)])
    both.settle()  # no turn of the loop
    assert got[1:] == [["a key", b"k"], ["a chunk", bytes(100_000)]]
    ours.finish()
    await both.until_done(taking)


async def test_who_wants_no_more_is_handed_no_more(both: Both) -> None:
    ours, theirs = both.open()
    got: list[Any] = []
    taking = asyncio.ensure_future(theirs.receive_each(lambda message: got.append(message) or len(got) < 2))
    await asyncio.sleep(0)
    for number in range(4):
        assert ours.send_now(number)
    both.settle()
    await taking
    assert got == [0, 1]
    assert await theirs.receive() == 2


async def test_what_a_taker_raises_is_raised_where_it_is_waited_for_and_not_where_frames_come(both: Both) -> None:
    ours, theirs = both.open()

    def take(message: Any) -> bool:
        raise ProtocolError(f"no {message}")

    taking = asyncio.ensure_future(theirs.receive_each(take))
    await asyncio.sleep(0)
    assert ours.send_now("meaning")
    both.settle()
    with pytest.raises(ProtocolError, match="no meaning"):
        await taking


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        (lambda ours: ours.reset("cancelled"), ConflictError),
        (lambda ours: ours._pipes.link.send(ours._number, b"\x00\x00\x00\x05ab") and ours.finish(), ConflictError),
        (lambda ours: ours._pipes.link.send(ours._number, b"\x00\x00\x00\x01\xc1"), ProtocolError),
    ],
)
async def test_a_taker_hears_of_an_end_as_any_reader_does(both: Both, ends: Any, error: type[Exception]) -> None:
    ours, theirs = both.open()
    taking = asyncio.ensure_future(theirs.receive_each(lambda _: True))
    await asyncio.sleep(0)
    ends(ours)
    both.settle()
    with pytest.raises(error):
        await taking


async def test_a_taker_gives_credit_and_a_lost_link_ends_it(both: Both) -> None:
    ours, theirs = both.open()
    size = 0

    def take(message: Any) -> bool:
        nonlocal size
        size += len(message)
        return True

    taking = asyncio.ensure_future(theirs.receive_each(take))
    await asyncio.sleep(0)
    for _ in range(100):
        assert ours.send_now(bytes(100_000))
        both.settle()
    assert size == 100 * 100_000
    both.wire.agent.link.lost()
    both.agent.lose()
    with pytest.raises(NotConnectedError):
        await taking


async def test_what_cannot_go_at_once_does_not_go_in_part_or_before_its_turn(both: Both) -> None:
    ours, theirs = both.open()
    large = bytes(limits.INITIAL_CREDIT_BYTES + WINDOW_BYTES)
    assert not ours.write_now(large)
    writing = asyncio.ensure_future(ours.write(large))
    await asyncio.sleep(0)
    assert not writing.done()
    both.settle()
    assert not ours.write_now(b"x"), "it would come in the middle"
    await both.until_done(read_some(theirs, len(large)))
    await writing
    both.settle()
    assert ours.write_now(b"x")
    ours.finish()
    with pytest.raises(ConflictError):
        ours.write_now(b"y")
    assert await both.until_done(read_all(theirs)) == [b"x"]


# handed on from one link to another ----------------------------------------------------------------------------------


class Relayed:
    """Two links with a relay between them: what the agent of the first sends, the agent of the second gets."""

    def __init__(self) -> None:
        self.near, self.far = Both(), Both()
        self.first, self.source = self.near.open()
        self.second, self.sink = self.far.open()
        self.relaying = [
            asyncio.ensure_future(self.first.relay(self.second)), asyncio.ensure_future(self.second.relay(self.first))
        ]  # fmt: skip

    def settle(self) -> None:
        self.near.settle()
        self.far.settle()

    async def turns(self, count: int = 300) -> None:
        for _ in range(count):
            self.settle()
            await asyncio.sleep(0)


async def test_bytes_are_handed_on_in_the_turn_in_which_they_come_and_both_ends_with_them() -> None:
    relayed = Relayed()
    await asyncio.sleep(0)
    assert relayed.source.write_now(b"there")
    relayed.settle()  # no turn of the loop
    assert await relayed.sink.read() == b"there"
    there, back = bytes(range(256)) * 20_000, b"back" * 1_000_000
    work = [
        asyncio.ensure_future(each)
        for each in (
            write_all(relayed.source, there), read_all(relayed.sink), write_all(relayed.sink, back),
            read_all(relayed.source),
        )
    ]  # fmt: skip
    while not all(task.done() for task in work):
        await relayed.turns(1)
    assert (work[1].result(), work[3].result()) == (there, back)
    await relayed.turns(5)
    assert all(task.done() for task in relayed.relaying)
    assert not relayed.first.is_open
    assert not relayed.second.is_open


async def test_a_reader_that_stops_stops_the_writer_beyond_the_relay() -> None:
    relayed = Relayed()
    writing = asyncio.ensure_future(relayed.source.write(bytes(16 * WINDOW_BYTES)))
    await relayed.turns()
    assert not writing.done()
    assert sum(map(len, relayed.sink._arrived)) <= WINDOW_BYTES
    assert sum(map(len, relayed.first._arrived)) <= WINDOW_BYTES, "what the relay holds"
    reading = asyncio.ensure_future(read_some(relayed.sink, 16 * WINDOW_BYTES))
    while not reading.done():
        await relayed.turns(1)
    await writing
    for task in relayed.relaying:
        task.cancel()
    await asyncio.gather(*relayed.relaying, return_exceptions=True)


@pytest.mark.parametrize("end", ["source", "sink"])
@pytest.mark.parametrize("is_full", [False, True])
async def test_either_end_that_gives_up_ends_the_relay(end: str, is_full: bool) -> None:
    relayed = Relayed()
    writing = asyncio.ensure_future(relayed.source.write(bytes(16 * WINDOW_BYTES if is_full else 10)))
    await relayed.turns()
    getattr(relayed, end).reset("cancelled")
    await relayed.turns()
    if not is_full and end == "sink":  # a source that says nothing more learns of it by who relays both ways
        assert relayed.relaying[1].done()
    else:
        assert any(task.done() and task.exception() is not None for task in relayed.relaying)
    for task in [*relayed.relaying, writing]:
        task.cancel()
    await asyncio.gather(*relayed.relaying, writing, return_exceptions=True)


FRAME = limits.MAX_STREAM_DATA_BYTES  # with a head of 16 bytes before what is of that size


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, FRAME - 16, FRAME - 15, FRAME, 300_000])
async def test_bytes_of_a_message_come_as_those_of_any_other(both: Both, size: int) -> None:
    """Few copies are made of them, and it is the same message."""
    ours, theirs = both.open()
    data = bytes(range(256)) * (size // 256 + 1)
    for given in (data[:size], memoryview(data)[:size], memoryview(bytearray(data))[:size]):
        _, (got, after) = await both.until_done(_bytes_and_more(ours, given), _two_messages(theirs))
        assert got == ["bytes", data[:size]]
        assert after == "after"


async def _two_messages(pipe: Pipe) -> list[Any]:
    return [await pipe.receive(), await pipe.receive()]


async def _bytes_and_more(pipe: Pipe, data: bytes | memoryview) -> None:
    await pipe.send_bytes("bytes", data)
    if isinstance(data, memoryview) and not data.readonly:  # what was sent stays as it was sent
        data[:] = bytes(len(data))
    await pipe.send("after")


async def test_bytes_beyond_a_message_are_refused(both: Both) -> None:
    ours, _ = both.open()
    with pytest.raises(TooLargeError):
        await ours.send_bytes("bytes", bytes(MAX_MESSAGE_BYTES))
