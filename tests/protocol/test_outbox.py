"""The order in which frames leave, and that what a peer can make us say stays bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits, messages
from protocol.messages import Kind
from protocol.outbox import Outbox, batches
from protocol.streams import Stream


def drain(outbox: Outbox) -> list[tuple[Kind, list[Any]]]:
    found = []
    while (taken := outbox.next_frame()) is not None:
        found.append(messages.unpack(taken[0]))
    return found


def stream(number: int, *pieces: bytes) -> Stream:
    made = Stream(number, is_ours=True, is_two_way=False, send_credit=1000)
    for piece in pieces:
        made.queue(piece)
    return made


def test_control_goes_first_and_streams_take_turns_with_records() -> None:
    """A large bundle must not hold up a cancellation, nor a chatty stream the records."""
    outbox = Outbox(5)
    outbox.stream(stream(2, b"a", b"b"))
    outbox.stream(stream(4, b"c", b"d"))
    outbox.records([b"r"])
    outbox.pong(1)
    outbox.credit(6, 10)
    outbox.acknowledge(3)
    outbox.control(messages.pack(Kind.PING, 9))
    assert drain(outbox) == [
        (Kind.PING, [9]), (Kind.ACKNOWLEDGE, [3]), (Kind.CREDIT, [6, 10]), (Kind.PONG, [1]),
        (Kind.DATA, [2, b"a"]), (Kind.DATA, [4, b"c"]), (Kind.RECORDS, [5, [b"r"]]),
        (Kind.DATA, [2, b"b"]), (Kind.DATA, [4, b"d"]),
    ]  # fmt: skip
    assert outbox.sent_through == 5


def test_of_what_only_the_newest_matters_only_the_newest_is_kept() -> None:
    """A peer that pings and never reads must not fill our memory."""
    outbox = Outbox(1)
    for number in range(10_000):
        outbox.pong(number)
        outbox.acknowledge(number)
        outbox.credit(2, 1)
    assert drain(outbox) == [(Kind.ACKNOWLEDGE, [9999]), (Kind.CREDIT, [2, 10_000]), (Kind.PONG, [9999])]


def test_a_stream_that_is_gone_says_nothing_more() -> None:
    outbox, gone = Outbox(1), stream(2, b"a")
    outbox.stream(gone)
    outbox.stream(gone)
    outbox.credit(2, 5)
    outbox.forget(gone)
    assert (drain(outbox), gone.in_turn) == ([], False)


@settings(max_examples=40)
@given(st.lists(st.integers(1, limits.MAX_RECORD_BYTES), max_size=40))
def test_batches_keep_every_record_in_order_and_fit_a_frame(sizes: list[int]) -> None:
    blobs = [bytes([at % 256]) * size for at, size in enumerate(sizes)]
    made = batches(blobs)
    assert [blob for batch in made for blob in batch] == blobs
    assert all(batch and sum(map(len, batch)) <= limits.MAX_RECORD_BATCH_BYTES for batch in made)
    outbox = Outbox(1)
    outbox.records(blobs)
    assert sum(len(values[1]) for _, values in drain(outbox)) == len(blobs) == outbox.sent_through


def test_many_small_records_are_cut_too() -> None:
    assert [len(batch) for batch in batches([b"x"] * 2500)] == [1000, 1000, 500]
