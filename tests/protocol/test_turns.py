"""Frames in, and what they give rise to out in the same turn; what the peer has no room for waits for it."""

from __future__ import annotations

import asyncio

import pytest

from protocol import events, limits
from protocol.link import Link, Role
from protocol.turns import Turns


class Way:
    """What frames leave by, with room or without."""

    def __init__(self) -> None:
        self.may_send = True
        self.at_once: list[bytes] = []
        self.waited: list[bytes] = []

    def send_now(self, frame: bytes, rest: bytes | memoryview = b"") -> None:
        self.at_once.append(b"".join((frame, rest)))

    def offer(self, frame: bytes) -> bool:
        if self.may_send:
            self.at_once.append(frame)
        return self.may_send

    async def send(self, frame: bytes) -> None:
        await asyncio.sleep(0)
        self.waited.append(frame)


@pytest.fixture
def way() -> Way:
    return Way()


def made(way: Way, seen: list[events.Event] | None = None) -> tuple[Link, Turns]:
    link = Link(Role.SERVER, next_record=1)
    return link, Turns(link, way, (seen if seen is not None else []).append, asyncio.Event())


def pinged() -> bytes:
    other = Link(Role.AGENT, next_record=1)
    other.ping()
    frame = other.next_frame()
    assert frame is not None
    return frame


async def test_what_a_frame_gives_rise_to_goes_out_with_it(way: Way) -> None:
    _, turns = made(way)
    turns.take(pinged())
    assert len(way.at_once) == 1


async def test_what_the_peer_has_no_room_for_waits_and_goes_in_order(way: Way) -> None:
    link, turns = made(way)
    way.may_send = False
    for _ in range(3):
        link.ping()
    turns.wake()
    assert way.at_once == []
    sending = asyncio.create_task(turns.send())
    while len(way.waited) < 1:
        await asyncio.sleep(0)
    way.may_send = True
    link.ping()
    turns.wake()  # while one that was taken out waits, nothing may go before it
    while len(way.waited) < 4:
        await asyncio.sleep(0)
    assert way.at_once == []
    assert len(set(way.waited)) == 4
    turns.end()
    await sending


async def test_nothing_is_taken_or_sent_after_the_end(way: Way) -> None:
    seen: list[events.Event] = []
    link, turns = made(way, seen)
    turns.end()
    turns.take(pinged())
    link.ping()
    turns.wake()
    await turns.send()
    assert (way.at_once, way.waited, seen) == ([], [], [])


async def test_bytes_of_a_stream_go_at_once_and_are_what_would_have_gone(way: Way) -> None:
    link, turns = made(way)
    stream = link.open("session", {}, is_two_way=True)
    turns.wake()
    assert turns.put(stream, b"a key")
    (_, frame) = way.at_once
    other = Link(Role.SERVER, next_record=1)
    assert other.open("session", {}, is_two_way=True) == stream
    other.send(stream, b"a key")
    assert frame == other.take()[-1]
    assert link.credit(stream) == other.credit(stream)


async def test_bytes_of_a_stream_overtake_nothing(way: Way) -> None:
    link, turns = made(way)
    stream = link.open("session", {}, is_two_way=True)
    assert not turns.put(stream, b"before it is opened over there")
    turns.wake()
    for waits in (link.ping, lambda: link.send(stream, b"before"), lambda: link.acknowledge(0)):
        waits()
        assert not turns.put(stream, b"after")
        link.take()
        assert turns.put(stream, b"after")
    link.finish(stream)
    assert not turns.put(stream, b"after the end")


async def test_bytes_go_at_once_only_where_there_is_room_and_credit(way: Way) -> None:
    link, turns = made(way)
    stream = link.open("session", {}, is_two_way=True)
    turns.wake()
    way.may_send = False
    assert not turns.put(stream, b"x")
    way.may_send = True
    assert not turns.put(stream, bytes(limits.MAX_STREAM_DATA_BYTES + 1)), "that is two frames"
    assert turns.put(stream, bytes(limits.MAX_STREAM_DATA_BYTES))
    assert turns.put(stream, bytes(link.credit(stream)))
    assert not turns.put(stream, b"x"), "beyond the credit"
    assert not turns.put(stream + 2, b"x"), "there is no such stream"
    assert not turns.put(stream, b"")
    turns.end()
    assert not turns.put(stream, b"x")


async def test_while_frames_are_taken_bytes_wait_for_the_rest_of_the_answer(way: Way) -> None:
    """So that the answers to many frames go out together."""
    link = Link(Role.SERVER, next_record=1)
    put: list[bool] = []
    turns = Turns(link, way, lambda _: put.append(turns.put(stream, b"x")), asyncio.Event())
    stream = link.open("session", {}, is_two_way=True)
    turns.wake()
    other = Link(Role.AGENT, next_record=1)
    other.open("session", {}, is_two_way=True)
    for frame in other.take():
        turns.take(frame)
    assert put == [False]
