"""A transfer as a script of bytes in and bytes out: whole, broken off and resumed, lied about."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.errors import ArgumentError, ConflictError, OutriderError, ProtocolError, TooLargeError, TrustError
from protocol.link import Link, Role, StreamData, StreamFinished, StreamOpened, StreamReset, StreamWritable
from protocol.transfer import PIECE_BYTES, PUT, Header, Receiving, Sending, blob_hash


def header(data: bytes, offset: int = 0) -> Header:
    return Header("sha256:" + hashlib.sha256(data).hexdigest(), len(data), offset)


class File:
    """The sending end's file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def feed(self, sending: Sending) -> None:
        at, size = sending.wanted()
        if size:
            sending.feed(self.data[at : at + size])


@settings(max_examples=30)
@given(st.integers(0, 3 * PIECE_BYTES + 7), st.data())
def test_bytes_arrive_once_and_in_order(size: int, draw: Any) -> None:
    data = hashlib.sha256(b"seed").digest() * (size // 32 + 1)
    data = data[:size]
    offset = draw.draw(st.integers(0, size))
    told = header(data, offset)
    file, sending, kept = File(data), Sending(told), bytearray(data[:offset])
    receiving = Receiving(told, hashlib.sha256(data[:offset]))
    while not sending.is_done:
        file.feed(sending)
        piece = bytes(sending.pending[: draw.draw(st.integers(50_000, PIECE_BYTES))])
        receiving.take(piece)
        kept += piece
        sending.sent(len(piece))
    receiving.finish()
    assert bytes(kept) == data


def over_a_link(data: bytes, *, cut_after: int | None = None) -> tuple[bytes, Link, Link, list[int]]:
    """Send over real links; returns what was kept, both links, and how much was outstanding each time."""
    agent, server = Link(Role.AGENT, next_record=1), Link(Role.SERVER, next_record=1)
    told = header(data)
    sending, file, kept = Sending(told), File(data), bytearray()
    stream = agent.open(PUT, told.to_plain(), is_two_way=True)
    receiving: Receiving | None = None
    outstanding = []
    is_finished = False
    while not is_finished:
        while not sending.is_done:
            file.feed(sending)
            taken = agent.send(stream, sending.pending)
            sending.sent(taken)
            if not taken:
                break
        frames = agent.take()
        if sending.is_done and receiving is not None and not receiving.is_whole and not frames:
            agent.finish(stream)
            frames = agent.take()
        waiting: list[bytes] = []
        for frame in frames:
            for event in server.receive(frame):
                match event:
                    case StreamOpened(header=opened):
                        receiving = Receiving(Header.parse(opened))
                    case StreamData(data=piece):
                        waiting.append(piece)
        assert receiving is not None
        outstanding.append(sum(map(len, waiting)))
        for piece in waiting:
            receiving.take(piece)
            kept += piece
            server.grant(stream, len(piece))
        if cut_after is not None and len(kept) >= cut_after:
            break
        if receiving.is_whole:
            receiving.finish()
            server.finish(stream)
        for frame in server.take():
            for event in agent.receive(frame):
                assert isinstance(event, StreamWritable | StreamFinished), event
                is_finished = is_finished or isinstance(event, StreamFinished)
    return bytes(kept), agent, server, outstanding


def test_over_a_link_with_a_window_and_a_receipt() -> None:
    """A megabyte through a window of a quarter: the receiver holds what it gave credit for."""
    data = bytes(range(256)) * 4096
    kept, _, _, outstanding = over_a_link(data)
    assert kept == data
    assert max(outstanding) <= limits.INITIAL_CREDIT_BYTES
    assert len(outstanding) > 3


def test_a_link_that_is_lost_tells_both_and_what_arrived_is_good_for_going_on() -> None:
    data = bytes(range(256)) * 4096
    kept, agent, server, _ = over_a_link(data, cut_after=300_000)
    assert [event for event in agent.lost() if isinstance(event, StreamReset)] == [StreamReset(1, "lost")]
    assert [event for event in server.lost() if isinstance(event, StreamReset)] == [StreamReset(1, "lost")]
    told = header(data, len(kept))
    receiving, sending = Receiving(told, hashlib.sha256(kept)), Sending(told)
    while not sending.is_done:
        File(data).feed(sending)
        receiving.take(bytes(sending.pending))
        sending.sent(len(sending.pending))
    receiving.finish()


def test_what_is_wrong_is_said() -> None:
    data = b"x" * 1000
    receiving = Receiving(header(data))
    receiving.take(data[:999])
    with pytest.raises(ProtocolError, match="only 999 of 1000 bytes arrived"):
        receiving.finish()
    with pytest.raises(TooLargeError, match="more arrived than the 1000 bytes that were said"):
        receiving.take(b"yz")
    assert receiving.position == 999, "what is over the bound is not counted"
    receiving.take(b"y")
    with pytest.raises(TrustError, match="does not have the hash that was said") as caught:
        receiving.finish()
    assert caught.value.reason == "wrong_digest"
    with pytest.raises(ArgumentError, match="must be hashed first"):
        Receiving(header(data, 1))


def test_a_file_that_changes_while_it_is_sent_is_noticed() -> None:
    for changed in (b"", b"x" * 2000):
        sending = Sending(header(b"x" * 1000))
        with pytest.raises(ConflictError, match="has changed while it was sent"):
            sending.feed(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "md5:" + "0" * 64}, {"hash": "sha256:" + "0" * 63}, {"hash": "sha256:" + "G" * 64}, {"hash": 1},
        {"hash": "sha256:" + "0" * 64 + "\n"}, {"hash": "../" + "0" * 64}, {"size": -1}, {"size": True},
        {"size": 1 << 60}, {"size": "1"}, {"offset": -1}, {"offset": 1001}, {"offset": 1.0}, {"more": 1},
    ],
)  # fmt: skip
def test_a_header_that_does_not_have_its_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Header.parse({**header(b"x" * 1000).to_plain(), **change})


@given(st.dictionaries(st.sampled_from(["hash", "size", "offset", "x"]), st.none() | st.integers() | st.text()))
def test_a_hostile_header_raises_only_the_documented_error(found: dict[str, Any]) -> None:
    try:
        Header.parse(found)
    except OutriderError as error:
        assert isinstance(error, ArgumentError)  # noqa: PT017 - anything else must fail as it is


def test_a_hash_has_one_spelling() -> None:
    assert blob_hash("0" * 64) == blob_hash("sha256:" + "0" * 64) == "sha256:" + "0" * 64
    for wrong in ("", "sha256:", "SHA256:" + "0" * 64, "A" * 64, "0" * 65, " " + "0" * 64):
        with pytest.raises(ArgumentError, match="blob: must be"):
            blob_hash(wrong, parameter="blob")
