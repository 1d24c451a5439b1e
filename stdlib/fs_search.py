"""``fs.grep``: lines of files in which a pattern is found, in time linear in their length, whatever both hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from protocol.errors import OutriderError
from protocol.regex import Regex
from protocol.tiers import Tier
from stdlib.catalogue import Permit, call
from stdlib.fs_content import opened_file, read_at
from stdlib.fs_lines import LINES, Line, Told, forward, pattern
from stdlib.fs_magic import HEAD_BYTES, is_binary
from stdlib.fs_tree import MAX_ERRORS
from stdlib.parameters import Bounds, Length
from stdlib.paths import Target

MAX_MATCHES = 1_000_000  # of one call
MAX_CONTEXT = 20  # lines before and after a match
MAX_FILE_BYTES = 1 << 30  # of one file that are searched
MAX_SHOWN_BYTES = 2048  # of one line that is given; a match may lie behind that
GIVEN_BYTES = 64 << 10  # at once, about; with what is in a batch already it fits into a frame
ROW_BYTES = 64  # what a match counts for beside its texts

Lines = Annotated[int, Bounds(0, MAX_CONTEXT, "lines")]


@dataclass(slots=True)
class _Account:
    """What the summary says."""

    matches: int = 0
    files: int = 0
    binary: int = 0
    missing: int = 0
    cut: int = 0
    partly: int = 0
    truncated: bool = False
    failed: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)

    def fail(self, path: str, error: OutriderError) -> None:
        """Note a file that could not be searched."""
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"path": path, "code": error.code, "message": error.message})

    def summary(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "matches": self.matches, "files": self.files, "binary": self.binary, "missing": self.missing,
            "cut": self.cut, "partly": self.partly, "truncated": self.truncated, "failed": self.failed,
            "errors": self.errors,
        }  # fmt: skip


@call(
    "fs.grep",
    tier=Tier.INSPECT,
    lua='for found in fs.grep({"/etc/passwd"}, "^root:") do print(found.path, found.line, found.text) end',
    python='for found in fs.grep(["/etc/passwd"], "^root:"):\n    print(found["path"], found["line"], found["text"])',
)
def grep(
    permit: Permit,
    paths: list[Target],
    regex: Annotated[str, Length(2000)],
    max: Annotated[int, Bounds(1, MAX_MATCHES, "matches")] = 1000,
    before: Lines = 0,
    after: Lines = 0,
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    """Give each line of regular files in which ``regex`` is found, as ``path``, ``line`` (from 1) and ``text``.

    With ``before`` or ``after`` so many lines around it are given too, in lists of these names. A line is text, or
    bytes if it is not UTF-8; one of more than 64 KiB is searched, and one of more than 2 KiB given, up to there. Files
    that look binary are not searched. The syntax of patterns is that of RE2, as of ``regex.test``.

    The summary is ``matches``, ``files`` (searched), ``binary`` and ``missing`` (not searched), ``cut`` (lines that
    were longer), ``partly`` (files searched only in their first GiB), ``truncated`` (``max`` ended it), ``failed``, and
    ``errors``, the first of those, each with ``code`` and ``message``.
    """
    return _grep(permit, paths, pattern(regex, "regex"), int(max), int(before), int(after))


def _grep(
    permit: Permit, paths: list[Target], regex: Regex, most: int, before: int, after: int
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    account = _Account()
    for path in paths:
        if permit.is_over or account.truncated:
            break
        if not path.exists:
            account.missing += 1
            continue
        try:
            yield from _grep_file(permit, path, regex, most, (before, after), account)
        except OutriderError as error:
            account.fail(path.asked, error)
    return account.summary()


class _Rows:
    """Matches on their way to the script: given once all the lines around them are there."""

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


def _grep_file(
    permit: Permit, path: Target, regex: Regex, most: int, context: tuple[int, int], account: _Account
) -> Generator[list[dict[str, Any]], None, None]:
    told, rows, number = Told(), _Rows(*context), 0
    is_remembered = context[0] > 0
    with opened_file(path) as fd:
        if is_binary(read_at(fd, HEAD_BYTES, 0, path.asked)):
            account.binary += 1
            return
        account.files += 1
        for block in forward(fd, path.asked, told, most_bytes=MAX_FILE_BYTES):
            for line in block:
                number += 1
                if rows.is_waiting:
                    rows.follow(short(line))
                if not account.truncated and regex.search(line) is not None:
                    if account.matches < most:
                        account.matches += 1
                        row = {"path": path.asked, "line": number, "text": short(line)}
                        rows.add(row, with_before=is_remembered)
                    else:
                        account.truncated = True
                if is_remembered:
                    rows.remember(short(line))
                if rows.is_full:
                    yield from rows.ready()
                if account.truncated and not rows.is_waiting:
                    break
            yield from rows.ready()
            if permit.is_over or (account.truncated and not rows.is_waiting):
                break
        yield from rows.ready(is_end=True)
    account.cut += told.cut
    account.partly += told.is_partly


def short(line: Line) -> Line:
    """Return a line as it is given: what is too long is cut, not within a character."""
    if len(line) * 4 <= MAX_SHOWN_BYTES:  # no character takes more
        return line
    if isinstance(line, bytes):
        return line[:MAX_SHOWN_BYTES]
    data = line.encode()
    return line if len(data) <= MAX_SHOWN_BYTES else data[:MAX_SHOWN_BYTES].decode("utf-8", "ignore")
