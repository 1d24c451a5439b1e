"""One stream: credit bounds both directions, and it ends when both have."""

from __future__ import annotations

import pytest

from protocol import limits, messages
from protocol.errors import ProtocolError, TooLargeError
from protocol.messages import Kind
from protocol.streams import Stream


def ours(credit: int = 10, *, is_two_way: bool = False) -> Stream:
    return Stream(2, is_ours=True, is_two_way=is_two_way, send_credit=credit)


def theirs(*, is_two_way: bool = False) -> Stream:
    return Stream(3, is_ours=False, is_two_way=is_two_way, send_credit=0)


def test_no_more_is_queued_than_credit_was_given() -> None:
    stream = ours(10)
    assert (stream.queue(b"123456"), stream.queue(b"7890ab"), stream.queue(b"c")) == (6, 4, 0)
    stream.credited(1)
    assert stream.queue(b"cd") == 1
    assert [messages.unpack(stream.next_frame())[1][1] for _ in range(3)] == [b"123456", b"7890", b"c"]
    assert not stream.has_frames


def test_large_data_is_cut_so_that_others_get_their_turn() -> None:
    stream = ours(limits.MAX_STREAM_DATA_BYTES * 3)
    stream.queue(bytes(limits.MAX_STREAM_DATA_BYTES * 2 + 1))
    sizes = [len(messages.unpack(stream.next_frame())[1][1]) for _ in range(3)]
    assert sizes == [limits.MAX_STREAM_DATA_BYTES, limits.MAX_STREAM_DATA_BYTES, 1]


@pytest.mark.parametrize("size", [1, 4095, 4096, limits.MAX_STREAM_DATA_BYTES])
def test_a_frame_in_two_pieces_is_the_same_and_a_long_one_is_not_copied(size: int) -> None:
    whole, parted = ours(size), ours(size)
    data = bytes(range(256)) * (size // 256 + 1)
    whole.queue(data[:size])
    parted.queue(memoryview(data)[:size])
    pieces = parted.next_pieces()
    assert b"".join(pieces) == whole.next_frame()
    assert (type(pieces[1]) is memoryview and pieces[1].obj is data) is (size >= 4096)
    parted.finish()
    assert parted.next_pieces() == (messages.pack(Kind.FINISH, 2), b"")


def test_the_end_comes_after_what_waits() -> None:
    stream = ours()
    stream.queue(b"a")
    stream.finish()
    assert not stream.is_done
    assert [messages.unpack(stream.next_frame())[0] for _ in range(2)] == [Kind.DATA, Kind.FINISH]
    assert stream.is_done


def test_a_peer_may_send_only_what_it_has_credit_for() -> None:
    """Else one stream could fill the memory of the other side."""
    stream = theirs()
    stream.received(limits.INITIAL_CREDIT_BYTES)
    with pytest.raises(ProtocolError, match="more on stream 3 than it may"):
        stream.received(1)
    assert stream.grant(5) == 5
    stream.received(5)


def test_credit_is_bounded_both_ways() -> None:
    stream = theirs()
    assert stream.grant(limits.MAX_CREDIT_BYTES) == limits.MAX_CREDIT_BYTES - limits.INITIAL_CREDIT_BYTES
    assert (stream.grant(1), stream.grant(-1)) == (0, 0)
    with pytest.raises(TooLargeError):
        ours(limits.MAX_CREDIT_BYTES).credited(1)


def test_nobody_sends_on_a_stream_that_is_not_his() -> None:
    with pytest.raises(ProtocolError, match="may not send"):
        ours().received(1)
    assert ours().grant(5) == 0
    with pytest.raises(ProtocolError, match="ends twice"):
        ours().ended()


def test_an_end_comes_once_and_nothing_after_it() -> None:
    stream = theirs()
    stream.ended()
    assert stream.is_done
    with pytest.raises(ProtocolError):
        stream.ended()
    with pytest.raises(ProtocolError):
        stream.received(1)


def test_two_ways_end_apart() -> None:
    stream = ours(is_two_way=True)
    stream.ended()
    assert stream.may_send
    stream.finish()
    stream.next_frame()
    assert stream.is_done
