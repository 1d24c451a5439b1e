"""What a recording of a terminal holds: events in order, each an array with its time and its word. Pure.

    [us, "begin", about]      first in every segment: what the session is, and the terminal's state where it begins
    [us, "output", offset, data]   [us, "input", by, data]   [us, "resize", cols, rows]
    [us, "presence", about]   [us, "process", about]   [us, "notice", text]   [us, "marker", label, by]
    [us, "sources", about]    from what the next two are made, and what they lack
    [us, "file", about]       a change of files       [us, "untold", about]    so many of both that came too fast
    [us, "gap", from, to]     output that was lost    [us, "exit", about]

Times are microseconds since the terminal was opened and never run backwards. A segment is a sequence of events, each
with its length in front; one that was cut off in the middle of an event ends before it. Segments are named by what
seeking needs: number, time and offset of output at which they begin.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protocol.errors import OutriderError, TooLargeError
from protocol.frames import LENGTH_BYTES, SHORT_BLOBS, blob_head, decode, encode, prefixed

MAX_EVENT_BYTES: Final = 256 << 10
WORDS: Final = frozenset({
    "begin", "output", "input", "resize", "presence", "process", "notice", "marker", "gap", "exit", "sources", "file",
    "untold",
})  # fmt: skip
_OUTPUT_HEAD: Final = struct.Struct(">IBBQ7sBQ")  # its length, then what stands before the bytes of output
_FOUR: Final = 0x94  # a list of four
_EIGHT_BYTES: Final = 0xCF  # a number of eight bytes, not negative
_OUTPUT: Final = b"\xa6output"
_NAME: Final = re.compile(r"(\d{6})-(\d{1,16})-(\d{1,16})\.(open|zst)")


class Event(NamedTuple):
    """One event."""

    us: int
    word: str
    values: list[Any]


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of a recording, by its name."""

    number: int
    us: int  # time at which it begins
    offset: int  # of the output that it begins with
    is_sealed: bool  # compressed, and never written again

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.number:06d}-{self.us}-{self.offset}.{'zst' if self.is_sealed else 'open'}"

    @classmethod
    def parse(cls, name: str) -> Segment | None:
        """Return the segment that a file's name means, None if it means none."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(int(match[1]), int(match[2]), int(match[3]), match[4] == "zst")


def segments(names: Iterator[str]) -> list[Segment]:
    """Return the segments among files, in order; of one that is there twice, the sealed one, which was whole first."""
    found: dict[int, Segment] = {}
    for name in names:
        segment = Segment.parse(name)
        if segment is not None and (segment.number not in found or segment.is_sealed):
            found[segment.number] = segment
    return [found[number] for number in sorted(found)]


def pack(us: int, word: str, *values: Any) -> bytes:
    """Return an event as it is written."""
    return prefixed(encode([us, word, *values], max_bytes=MAX_EVENT_BYTES))


def pack_output(us: int, offset: int, data: bytes) -> bytes:
    """Return the event ``output``, which nearly all are, in few steps."""
    head = SHORT_BLOBS[len(data)] if len(data) < len(SHORT_BLOBS) else blob_head(len(data))
    size = _OUTPUT_HEAD.size - LENGTH_BYTES + len(head) + len(data)
    if size > MAX_EVENT_BYTES:
        raise TooLargeError(f"an event has at most {MAX_EVENT_BYTES} bytes")
    first = _OUTPUT_HEAD.pack(size, _FOUR, _EIGHT_BYTES, us, _OUTPUT, _EIGHT_BYTES, offset)
    return b"".join((first, head, data))


def unpack(data: bytes) -> tuple[list[Event], int]:
    """Return the whole events at the beginning of ``data``, and how many bytes they take.

    What follows them is an event that was cut off, or damage: nothing after it can be trusted.
    """
    events: list[Event] = []
    position = 0
    while position + LENGTH_BYTES <= len(data):
        length = int.from_bytes(data[position : position + LENGTH_BYTES], "big")
        end = position + LENGTH_BYTES + length
        if length > MAX_EVENT_BYTES or end > len(data):
            break
        event = _event(data[position + LENGTH_BYTES : end])
        if event is None:
            break
        events.append(event)
        position = end
    return events, position


def _event(body: bytes) -> Event | None:
    try:
        value = decode(body, max_bytes=MAX_EVENT_BYTES)
    except OutriderError:
        return None
    if type(value) is not list or len(value) < 2 or type(value[0]) is not int or value[1] not in WORDS:
        return None
    return Event(value[0], value[1], value[2:])


def end_of(events: list[Event], offset: int) -> int:
    """Return the offset of output after ``events`` that begin at ``offset``."""
    for event in reversed(events):
        if event.word == "output":
            return int(event.values[0]) + len(event.values[1])
        if event.word == "gap":
            return int(event.values[1])
    return offset


def output_between(events: list[Event], begin: int, end: int) -> bytes:
    """Return the output from offset ``begin`` to ``end``, as far as it is there without a hole."""
    parts: list[bytes] = []
    at = begin
    for event in events:
        if event.word == "output" and at < end:
            offset, data = event.values
            if offset <= at < offset + len(data):
                part = data[at - offset : end - offset]
                parts.append(part)
                at += len(part)
        elif event.word == "gap" and event.values[0] <= at < event.values[1]:
            break
    return b"".join(parts)
