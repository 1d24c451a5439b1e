"""The order in which a link's frames leave: control first, then credit, then streams and records in turn.

What only its newest value matters for (acknowledgement, pong, credit of one stream) is kept once, so a peer that makes
us answer and does not read cannot make this grow without bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from protocol import limits, messages
from protocol.messages import Kind
from protocol.streams import Stream

Pieces = tuple[bytes, bytes | memoryview]
"""A frame: its beginning, and its rest, which may be empty."""


class Outbox:
    """Frames of one link that were not taken yet.

    Args:
        next_record: The sequence of the first record that will be queued.
    """

    def __init__(self, next_record: int) -> None:
        self.sent_through = next_record - 1  # newest record that was taken
        self.is_empty = True  # there is nothing to take; known at any time, as it is asked for each key
        self._control: deque[bytes] = deque()
        self._acknowledgement: int | None = None
        self._pong: int | None = None
        self._credit: dict[int, int] = {}  # stream -> bytes
        self._turn: deque[Stream | None] = deque()  # who has frames, in order of their turn; None is the records
        self._batches: deque[list[bytes]] = deque()

    def _look(self) -> None:
        self.is_empty = (
            not (self._turn or self._control or self._credit) and self._acknowledgement is self._pong is None
        )

    def __len__(self) -> int:
        """Return how many control frames wait."""
        return len(self._control)

    def control(self, frame: bytes) -> None:
        """Queue a control frame; these keep their order."""
        self._control.append(frame)
        self.is_empty = False

    def acknowledge(self, through: int) -> None:
        """Queue an acknowledgement; it replaces one that waits."""
        self._acknowledgement = through
        self.is_empty = False

    def pong(self, number: int) -> None:
        """Queue a pong; it replaces one that waits."""
        self._pong = number
        self.is_empty = False

    def credit(self, stream: int, size: int) -> None:
        """Queue credit; it adds to what waits for the same stream."""
        self._credit[stream] = self._credit.get(stream, 0) + size
        self.is_empty = False

    def stream(self, stream: Stream) -> None:
        """Give a stream that has frames its turn."""
        if stream.has_frames and not stream.in_turn:
            stream.in_turn = True
            self._turn.append(stream)
            self.is_empty = False

    def forget(self, stream: Stream) -> None:
        """Drop what waits for a stream that is gone."""
        self._credit.pop(stream.number, None)
        if stream.in_turn:
            self._turn.remove(stream)
            stream.in_turn = False
        self._look()

    def records(self, blobs: Sequence[bytes]) -> None:
        """Queue records, cut into batches that fit a frame."""
        if not blobs:
            return
        if not self._batches:
            self._turn.append(None)
        self._batches += batches(blobs)
        self.is_empty = False

    def next_frame(self) -> tuple[bytes, Stream | None] | None:
        """Return the most urgent frame, with the stream that it was of if that is one of its own frames."""
        found = self.next_pieces()
        return None if found is None else (b"".join(found[0]), found[1])

    def next_pieces(self) -> tuple[Pieces, Stream | None] | None:
        """Return the same, the frame in two pieces as :meth:`protocol.streams.Stream.next_pieces` says."""
        found = self._next_pieces()
        self._look()
        return found

    def _next_pieces(self) -> tuple[Pieces, Stream | None] | None:
        if self._control:
            return (self._control.popleft(), b""), None
        if self._acknowledgement is not None:
            through, self._acknowledgement = self._acknowledgement, None
            return (messages.pack(Kind.ACKNOWLEDGE, through), b""), None
        if self._credit:
            return (messages.pack(Kind.CREDIT, *self._credit.popitem()), b""), None
        if self._pong is not None:
            number, self._pong = self._pong, None
            return (messages.pack(Kind.PONG, number), b""), None
        return self._next_in_turn()

    def _next_in_turn(self) -> tuple[Pieces, Stream | None] | None:
        if not self._turn:
            return None
        stream = self._turn.popleft()
        if stream is None:
            return (self._next_records(), b""), None
        pieces = stream.next_pieces()
        if stream.has_frames:
            self._turn.append(stream)
        else:
            stream.in_turn = False
        return pieces, stream

    def _next_records(self) -> bytes:
        batch = self._batches.popleft()
        if self._batches:
            self._turn.append(None)
        frame = messages.pack(Kind.RECORDS, self.sent_through + 1, batch)
        self.sent_through += len(batch)
        return frame


def batches(blobs: Sequence[bytes]) -> list[list[bytes]]:
    """Cut records into batches that fit a frame, in order."""
    made: list[list[bytes]] = []
    size = 0
    for blob in blobs:
        full = not made or len(made[-1]) >= limits.MAX_RECORD_BATCH or size + len(blob) > limits.MAX_RECORD_BATCH_BYTES
        if full:
            made.append([])
            size = 0
        made[-1].append(blob)
        size += len(blob)
    return made
