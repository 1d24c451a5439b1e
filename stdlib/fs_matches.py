"""Matches of ``fs.grep`` on their way to the script: with the lines around them, in pieces that fit into a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from stdlib.fs_lines import LINES, Line

MAX_SHOWN_BYTES = 2048  # of one line that is given; a match may lie behind that
GIVEN_BYTES = 64 << 10  # at once, about; with what is in a batch already it fits into a frame
ROW_BYTES = 64  # what a match counts for beside its texts


class Rows:
    """The matches of one file: given once all the lines around them are there."""

    def __init__(self, before: int, after: int) -> None:
        self._after = after
        self._last: deque[Line] = deque(maxlen=before)
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []  # the newest of them, which get lines after them; at most ``after``
        self._size = 0  # about, in characters

    def add(self, row: dict[str, Any], *, with_before: bool) -> None:
        """Note a match."""
        if with_before:
            row["before"] = list(self._last)
            self._size += sum(map(len, self._last))
        self._size += ROW_BYTES + len(row["text"])
        self._rows.append(row)
        if self._after:
            row["after"] = []
            self._waiting.append(row)

    def follow(self, line: Line) -> None:
        """Give a line to the matches before it."""
        for row in self._waiting:
            row["after"].append(line)
            self._size += len(line)
        while self._waiting and len(self._waiting[0]["after"]) >= self._after:
            del self._waiting[0]

    def remember(self, line: Line) -> None:
        """Keep a line for the matches after it."""
        self._last.append(line)

    @property
    def is_waiting(self) -> bool:
        """Whether a match still gets lines."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether it is time to give what is there."""
        return self._size >= GIVEN_BYTES or len(self._rows) >= LINES + self._after

    def ready(self, *, is_end: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Take those that get nothing more, in pieces that fit into a frame with what is in a batch already."""
        count = len(self._rows) if is_end else len(self._rows) - len(self._waiting)
        piece: list[dict[str, Any]] = []
        size = 0
        for row in self._rows[:count]:
            piece.append(row)
            size += _size(row)
            if size >= GIVEN_BYTES or len(piece) >= LINES:
                yield piece
                piece, size = [], 0
        yield piece
        self._rows, self._size = self._rows[count:], 0


def _size(row: dict[str, Any]) -> int:
    around = (*row.get("before", ()), *row.get("after", ()))
    return ROW_BYTES + len(row["text"]) + sum(map(len, around))


def short(line: Line) -> Line:
    """Return a line as it is given: what is too long is cut, not within a character."""
    if len(line) * 4 <= MAX_SHOWN_BYTES:  # no character takes more
        return line
    if isinstance(line, bytes):
        return line[:MAX_SHOWN_BYTES]
    data = line.encode()
    return line if len(data) <= MAX_SHOWN_BYTES else data[:MAX_SHOWN_BYTES].decode("utf-8", "ignore")
