"""What a recording holds: names that can be sought by, events that survive being cut off."""

from __future__ import annotations

import os

import pytest

from protocol.errors import TooLargeError
from protocol.recording import MAX_EVENT_BYTES, Segment, end_of, output_between, pack, pack_output, segments, unpack

EVENTS = [(0, "begin", {"session": "s"}), (5, "output", 0, b"abc"), (9, "resize", 80, 24), (9, "output", 3, b"def")]


def written() -> bytes:
    return b"".join(pack(us, word, *values) for us, word, *values in EVENTS)


def test_events_come_back_as_they_were_written() -> None:
    data = written()
    events, size = unpack(data)
    assert size == len(data)
    assert [(each.us, each.word, *each.values) for each in events] == EVENTS


def test_cut_off_anywhere_the_whole_events_before_remain() -> None:
    data = written()
    for cut in range(len(data)):
        events, size = unpack(data[:cut])
        assert size <= cut
        assert [(each.us, each.word, *each.values) for each in events] == EVENTS[: len(events)]
        assert unpack(data[:size]) == (events, size)


@pytest.mark.parametrize(
    "damage", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", pack(1, "marker", "x")[:4] + b"\x90", b"\0" * 50]
)
def test_nothing_after_damage_is_believed(damage: bytes) -> None:
    assert len(unpack(written() + damage + written())[0]) == len(EVENTS)


def test_a_word_that_means_nothing_is_damage() -> None:
    assert unpack(pack(1, "shell", "x")) == ([], 0)


def test_names_say_what_seeking_needs() -> None:
    segment = Segment(7, 123, 456, False)
    assert Segment.parse(segment.name) == segment
    for name in ("", "x", "000001-1-1.zip", "1-1-1.zst", "../000001-1-1.zst", "000001-1-1.zst.part"):
        assert Segment.parse(name) is None


def test_of_a_segment_that_is_there_twice_the_sealed_one_counts() -> None:
    """A crash between the two leaves both."""
    names = ["000002-9-9.open", "000001-0-0.open", "000001-0-0.zst", "000003.part", "lost+found"]
    assert [each.name for each in segments(iter(names))] == ["000001-0-0.zst", "000002-9-9.open"]


def test_output_is_found_by_its_offset() -> None:
    events, _ = unpack(written())
    assert output_between(events, 0, 100) == b"abcdef"
    assert output_between(events, 2, 4) == b"cd"
    assert output_between(events, 6, 9) == b""
    assert end_of(events, 0) == 6
    assert end_of([], 42) == 42
    gap, _ = unpack(pack(1, "output", 0, b"ab") + pack(2, "gap", 2, 10) + pack(3, "output", 10, b"cd"))
    assert output_between(gap, 0, 20) == b"ab"
    assert end_of(gap[:2], 0) == 10


@pytest.mark.parametrize("size", [1, 255, 256, 65535, 65536])
@pytest.mark.parametrize("number", [0, 127, 128, 1 << 32, 1 << 53])
def test_output_is_the_event_that_any_other_way_of_writing_makes(size: int, number: int) -> None:
    data = os.urandom(size)
    made, length = unpack(pack_output(number, number, data) + pack(number, "exit", {}))
    assert made == unpack(pack(number, "output", number, data) + pack(number, "exit", {}))[0]
    assert length == len(pack_output(number, number, data) + pack(number, "exit", {}))


def test_output_that_nobody_would_read_back_is_not_written() -> None:
    with pytest.raises(TooLargeError):
        pack_output(0, 0, bytes(MAX_EVENT_BYTES))
