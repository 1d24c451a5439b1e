"""``fs.tail``: what was added to a file since the last time, across rotation, whoever asks and however long after.

A cursor says which file was read (device and inode), how far, and a fingerprint of its start, so that another file of
the same inode, or the same file written anew, is told apart. It is a text that the script keeps and gives back; one of
a script's own making leads to nothing that the call may not read anyway.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from policies.model import Facts
from protocol.errors import ArgumentError, OutriderError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_content import opened_file, read_at
from stdlib.fs_lines import MAX_LINE_BYTES, Line, whole_line
from stdlib.host import Host
from stdlib.kept_objects import is_permitted
from stdlib.parameters import Bounds, Length
from stdlib.paths import Target, open_beneath, real_of, resolve

MAX_LINES = 10_000  # of one call
MAX_BYTES = 512 << 10  # of one call; a frame holds twice that
MAX_SIBLINGS = 10_000  # entries of a directory among which a file that was renamed is looked for
FINGERPRINT_BYTES = 1024  # at most, of the start of a file
_CURSOR: Final = re.compile(r"1\.([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.([0-9a-f]{1,14})\.([0-9a-f]{1,3})\.([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one file was read."""

    device: int
    inode: int
    offset: int
    known: int  # bytes of the file's start that the fingerprint is of
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return what a text stands for.

        Raises:
            ArgumentError: It is none that a call gave.
        """
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ArgumentError("cursor: is none that fs.tail gave", parameter="cursor")
        device, inode, offset, known = (int(digits, 16) for digits in found.groups()[:4])
        return cls(device, inode, offset, min(known, FINGERPRINT_BYTES), found[5])

    @classmethod
    def of(cls, fd: int, offset: int, shown: str) -> Cursor:
        """Return the cursor of an open file that was read up to ``offset``."""
        status = os.fstat(fd)
        known = min(offset, FINGERPRINT_BYTES - 1)
        return cls(status.st_dev, status.st_ino, offset, known, _fingerprint(fd, known, shown))

    @property
    def text(self) -> str:
        """What a script keeps."""
        return f"1.{self.device:x}.{self.inode:x}.{self.offset:x}.{self.known:x}.{self.fingerprint}"

    def names(self, status: os.stat_result) -> bool:
        """Tell whether a file has the device and inode that were read."""
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def is_continued_by(self, fd: int, shown: str) -> bool:
        """Tell whether an open file of that inode still holds what was read, and perhaps more."""
        return os.fstat(fd).st_size >= self.offset and _fingerprint(fd, self.known, shown) == self.fingerprint


def _fingerprint(fd: int, length: int, shown: str) -> str:
    return hashlib.sha256(read_at(fd, length, 0, shown)).hexdigest()[:16]


@dataclass(slots=True)
class _Taken:
    """What one call has gathered."""

    limit: int  # lines
    lines: list[Line]
    size_bytes: int = 0
    is_more: bool = False


@call(
    "fs.tail",
    tier=Tier.INSPECT,
    lua='local tail = fs.tail("/etc/passwd", {start = "beginning"})\nprint(#tail.lines, tail.cursor)',
    python='tail = fs.tail("/etc/passwd", start="beginning")\nprint(len(tail["lines"]), tail["cursor"])',
)
def tail(
    host: Host,
    permit: Permit,
    path: Target,
    cursor: Annotated[str, Length(100)] | None = None,
    limit: Annotated[int, Bounds(1, MAX_LINES, "lines")] = 1000,
    start: Literal["end", "beginning"] = "end",
) -> dict[str, Any] | None:
    """Return the whole lines that were added to a file since ``cursor``, or nothing if there is no such file.

    Without a cursor nothing is new yet: reading begins at the ``start`` that is given. What is returned are ``lines``,
    as ``fs.lines`` gives them; ``cursor``, to be given the next time; ``more``, whether there are more already;
    ``rotated``, whether the file was replaced, truncated or written anew; ``missed``, whether lines may be lost
    by that.

    A file that was renamed within its directory is read to its end first. A line is given when it is ended; one of more
    than 64 KiB comes in pieces. At most 512 KiB are read at once.
    """
    if not path.exists:
        return None
    with opened_file(path) as fd:
        if cursor is None:
            offset = 0 if start == "beginning" else _end(fd, path.asked)
            return _answer(fd, path, offset, _Taken(int(limit), []))
        return _go_on(host, permit, path, fd, Cursor.parse(cursor), _Taken(int(limit), []))


def _end(fd: int, shown: str) -> int:
    """Return where the last whole line ends, so that one that is being written comes as a whole later."""
    size = os.fstat(fd).st_size
    first = max(0, size - MAX_LINE_BYTES)
    end = read_at(fd, size - first, first, shown).rfind(b"\n")
    return first + end + 1 if end >= 0 else (size if first else 0)


def _go_on(host: Host, permit: Permit, path: Target, fd: int, cursor: Cursor, taken: _Taken) -> dict[str, Any]:
    if cursor.names(os.fstat(fd)):
        if cursor.is_continued_by(fd, path.asked):
            return _answer(fd, path, cursor.offset, taken)
        return _answer(fd, path, 0, taken, rotated=True, missed=True)
    before = _take_renamed(host, permit, path, cursor, taken)
    if before is not None and taken.is_more:
        return _told(before, taken, rotated=False, missed=False)
    return _answer(fd, path, 0, taken, rotated=True, missed=before is None)


def _answer(
    fd: int, path: Target, offset: int, taken: _Taken, *, rotated: bool = False, missed: bool = False
) -> dict[str, Any]:
    offset = _take(fd, path.asked, offset, taken, is_finished=False)
    return _told(Cursor.of(fd, offset, path.asked), taken, rotated=rotated, missed=missed)


def _told(cursor: Cursor, taken: _Taken, *, rotated: bool, missed: bool) -> dict[str, Any]:
    return {
        "lines": taken.lines, "cursor": cursor.text, "more": taken.is_more, "rotated": rotated, "missed": missed,
    }  # fmt: skip


def _take(fd: int, shown: str, offset: int, taken: _Taken, *, is_finished: bool) -> int:
    """Gather lines from ``offset`` on, and return where they end. A file that ``is_finished`` gets no more of them."""
    data = read_at(fd, MAX_BYTES - taken.size_bytes, offset, shown)
    begin = 0
    while begin < len(data):
        if len(taken.lines) >= taken.limit:
            taken.is_more = True
            return offset + begin
        end = data.find(b"\n", begin, begin + MAX_LINE_BYTES + 1)
        if end < 0 and len(data) - begin <= MAX_LINE_BYTES:  # not ended yet, or cut by our own bound
            break
        stop = end if end >= 0 else begin + MAX_LINE_BYTES
        taken.lines.append(whole_line(data[begin:stop]))
        begin = stop + 1 if end >= 0 else stop
    taken.size_bytes += begin
    is_whole = offset + len(data) >= os.fstat(fd).st_size
    if is_whole and is_finished and begin < len(data):
        taken.lines.append(whole_line(data[begin:]))
        taken.size_bytes += len(data) - begin
        begin = len(data)
    taken.is_more = not is_whole
    return offset + begin


def _take_renamed(host: Host, permit: Permit, path: Target, cursor: Cursor, taken: _Taken) -> Cursor | None:
    """Gather what is left of the file that was read before, if it is still in the directory, under whatever name."""
    directory, _, name = path.real.rpartition("/")
    try:
        with resolve(directory or "/") as held:
            old = _renamed(held, cursor, name)
            if old is None:
                return None
            try:
                if not (
                    permit.permits(Facts(path=old.real)) and is_permitted(host.kept, permit, old.before or old.status())
                ):
                    return None
                with opened_file(old) as fd:
                    if not cursor.is_continued_by(fd, old.asked):
                        return None
                    offset = _take(fd, old.asked, cursor.offset, taken, is_finished=True)
                    return Cursor.of(fd, offset, old.asked)
            finally:
                os.close(old.fd)
    except OutriderError:  # it cannot be read, as if it were gone: the answer says that lines may be missed
        return None


def _renamed(directory: Target, cursor: Cursor, name: str) -> Target | None:
    with directory.opened(os.O_RDONLY | os.O_DIRECTORY) as listing, os.scandir(listing) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_SIBLINGS:
                return None
            if entry.inode() == cursor.inode and entry.name != name:
                return _same(directory, cursor, entry.name)
    return None


def _same(directory: Target, cursor: Cursor, name: str) -> Target | None:
    """Return a sibling, opened, if it is the file of the cursor."""
    try:
        fd = open_beneath(directory.fd, name, os.O_PATH | os.O_NOFOLLOW)
    except OSError:  # gone or swapped since it was listed
        return None
    try:
        status = os.fstat(fd)
        if cursor.names(status) and stat.S_ISREG(status.st_mode):
            return Target(name, real_of(fd), fd, before=status)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
