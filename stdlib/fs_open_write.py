"""``fs.open_write``: a file that stays open for its run, and is changed in place, bit by bit.

For what ``fs.write`` and ``fs.write_stream`` cannot do: change a part of a large file, or one whose other hard links
are to see the change. What is written is there at once, and a crash leaves half of it. What a file of up to 16 MiB held
is kept before it is opened, so that it can be undone as a whole once it is closed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from kernel.visits import begun_apart
from protocol.errors import ArgumentError, DeniedError, TooLargeError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.fs_open import MAX_OFFSET, File
from stdlib.host import Host
from stdlib.journal import Journal
from stdlib.parameters import Bounds, Data
from stdlib.paths import failure
from stdlib.places import Place
from stdlib.replacing import NEW_MODE
from stdlib.undoing_entries import keep_closed, keep_opened

_EXAMPLE = 'fs.write("/tmp/ring", "12345")\n'


class WritableFile(File):
    """A file that may be changed as well.

    Args:
        descriptor: Owned from here on.
        path: Where it is, and what its methods are decided on.
        shown: What the script calls it.
        journal: Where what it held is kept, and under which entry; None if it is not.
    """

    def __init__(self, descriptor: int, path: str, shown: str, journal: tuple[Journal, str] | None = None) -> None:
        super().__init__(descriptor, path, shown)
        self._journal = journal

    def fields(self) -> dict[str, Any]:
        """Return ``path``, as the script gave it, and ``journal``, for ``fs.undo``."""
        return super().fields() | {"journal": None if self._journal is None else self._journal[1]}

    def close(self) -> Awaitable[None]:
        """Note what the file is now, so that it can be seen later whether somebody else changed it, and close it."""
        return super().close() if self._journal is None else begun_apart(self._finish, *self._journal)

    def _finish(self, journal: Journal, entry: str) -> None:
        try:
            with self.used() as fd:
                keep_closed(journal, entry, fd)
        finally:
            self.let_go()


def _writable(file: File) -> WritableFile:
    if not isinstance(file, WritableFile):
        raise DeniedError(f"{file.shown} was opened for reading only", rule="fs.open")
    return file


@call(
    "fs.open_write", tier=Tier.OPERATE, changes=True,
    lua=_EXAMPLE + 'local f = fs.open_write("/tmp/ring", {mode = "r+"})\nf:close()',
    python=_EXAMPLE + 'f = fs.open_write("/tmp/ring", mode="r+")\nf.close()',
)  # fmt: skip
def open_write(host: Host, path: Place, mode: Literal["r+", "w", "a"] = "r+") -> File:
    """Open a regular file to change it in place: one that is there (r+), emptied or made (w), or at its end (a).

    The handle has ``write``, ``truncate`` and ``sync``, and what that of ``fs.open`` has; and ``journal``, with which
    ``fs.undo`` writes back all that the file held, once it is closed and as long as nobody else has changed it. A file
    that held more than 16 MiB has no journal, as ``fs.changes`` says; one that holds more when it is closed is not
    taken back either.
    """
    before = path.regular()
    if before is None and mode == "r+":
        path.present()
    entry = None if host.journal is None else keep_opened(host.journal, path, before)
    kept = None if host.journal is None or entry is None else (host.journal, entry)
    flags = os.O_RDWR | (0 if mode == "r+" else os.O_CREAT) | (os.O_APPEND if mode == "a" else 0)
    with path.opened(flags, NEW_MODE) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ArgumentError(f"path: {path.asked} is not a regular file", parameter="path")
        if mode == "w":
            os.ftruncate(fd, 0)
        opened = WritableFile(os.dup(fd), path.real, path.asked, kept)
        opened.position = os.fstat(fd).st_size if mode == "a" else 0
        return opened


@call(
    "file.write", tier=Tier.OPERATE, under="fs.open_write",
    lua=_EXAMPLE + 'local f = fs.open_write("/tmp/ring")\nf:write("ab")\nf:close()',
    python=_EXAMPLE + 'f = fs.open_write("/tmp/ring")\nf.write("ab")\nf.close()',
)  # fmt: skip
def write(file: File, data: Data, at: Annotated[int, Bounds(0, MAX_OFFSET, "bytes")] | None = None) -> int:
    """Write ``at`` so many bytes from the start, or where the last read or write ended; return where this one ended.

    In mode ``a`` it is always written at the file's end.
    """
    target = _writable(file)
    if at is not None:
        target.position = int(at)
    if target.position + len(data) > MAX_OFFSET:
        raise TooLargeError(f"{file.shown} would be larger than {MAX_OFFSET} bytes")
    with target.used() as fd:
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(fd, view, target.position)
                view, target.position = view[done:], target.position + done
        except OSError as error:
            raise failure(error, file.shown) from None
        return target.position


@call(
    "file.truncate", tier=Tier.OPERATE, under="fs.open_write",
    lua=_EXAMPLE + 'local f = fs.open_write("/tmp/ring")\nf:truncate(2)\nf:close()',
    python=_EXAMPLE + 'f = fs.open_write("/tmp/ring")\nf.truncate(2)\nf.close()',
)  # fmt: skip
def truncate(file: File, size: Annotated[int, Bounds(0, MAX_OFFSET, "bytes")]) -> None:
    """Cut the file, or lengthen it with zeros; where the next read or write begins stays."""
    with _writable(file).used() as fd:
        try:
            os.ftruncate(fd, int(size))
        except OSError as error:
            raise failure(error, file.shown) from None


@call(
    "file.sync", tier=Tier.OPERATE, under="fs.open_write",
    lua=_EXAMPLE + 'local f = fs.open_write("/tmp/ring")\nf:sync()\nf:close()',
    python=_EXAMPLE + 'f = fs.open_write("/tmp/ring")\nf.sync()\nf.close()',
)  # fmt: skip
def sync(file: File) -> None:
    """Return when what was written is on the disk."""
    with _writable(file).used() as fd:
        try:
            os.fsync(fd)
        except OSError as error:
            raise failure(error, file.shown) from None
