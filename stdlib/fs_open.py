"""``fs.open``: a file that stays open for its run, and is read bit by bit. It is decided on once, when it is opened."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import ArgumentError, NotFoundError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.fs import described
from stdlib.fs_content import MAX_READ_BYTES, Encoding, decoded, read_at
from stdlib.handles import Handle
from stdlib.parameters import Bounds
from stdlib.paths import Target

MAX_OFFSET = 1 << 53


class File(Handle):
    """An open regular file, with a place in it where the next read begins. Safe from any thread.

    Args:
        descriptor: Owned from here on.
        path: Where it is, and what its methods are decided on.
        shown: What the script calls it.
    """

    kind: ClassVar[str] = "file"

    def __init__(self, descriptor: int, path: str, shown: str) -> None:
        self.facts = Facts(path=path)
        self.shown = shown
        self.position = 0  # bytes from the start; only for who uses it
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    def fields(self) -> dict[str, Any]:
        """Return ``path``, as the script gave it."""
        return {"path": self.shown}

    @contextmanager
    def used(self) -> Iterator[int]:
        """Yield the descriptor. It stays open for as long, also when the file is closed meanwhile.

        Raises:
            NotFoundError: The file is closed.
        """
        with self._lock:
            if self._is_closed:
                raise NotFoundError(f"{self.shown} is closed")
            self._users += 1
        try:
            yield self._descriptor
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._is_closed and not self._users
        if is_last:
            os.close(self._descriptor)

    def close(self) -> Awaitable[None]:
        """Close it; whoever is in the middle of a read or write closes it behind them.

        On a thread: a file system may want to hear of it, and never answer.
        """
        return begun_apart(self.let_go)

    def let_go(self) -> None:
        """Close it here and now. May block."""
        with self._lock:
            is_last = not self._is_closed and not self._users
            self._is_closed = True
        if is_last:
            os.close(self._descriptor)


@call(
    "fs.open",
    tier=Tier.INSPECT,
    lua='local f = fs.open("/etc/hostname")\nf:close()',
    python='f = fs.open("/etc/hostname")\nf.close()',
)
def open_file(path: Target, mode: Literal["r"] = "r") -> File:
    """Open a regular file for reading (r). What is opened stays the same file, whatever becomes of its name.

    The handle has ``read``, ``seek``, ``stat`` and ``close``, and ``path``, as it was given.
    """
    if not stat.S_ISREG(path.status().st_mode):
        raise ArgumentError(f"path: {path.asked} is not a regular file", parameter="path")
    with path.opened(os.O_RDONLY) as fd:
        return File(os.dup(fd), path.real, path.asked)


@call(
    "file.read",
    tier=Tier.INSPECT,
    lua='local f = fs.open("/etc/hostname")\nlocal first = f:read(4)\nf:close()',
    python='f = fs.open("/etc/hostname")\nfirst = f.read(4)\nf.close()',
)
def read(
    file: File,
    length: Annotated[int, Bounds(0, MAX_READ_BYTES, "bytes")] = MAX_READ_BYTES,
    encoding: Encoding = "auto",
) -> str | bytes | None:
    """Return up to ``length`` bytes from where the last read ended, as ``fs.read`` does; nothing at the file's end."""
    with file.used() as fd:
        data = read_at(fd, int(length), file.position, file.shown)
        file.position += len(data)
    return decoded(data, encoding) if data or not length else None


@call(
    "file.seek",
    tier=Tier.INSPECT,
    lua='local f = fs.open("/etc/hostname")\nf:seek(-1, "end")\nf:close()',
    python='f = fs.open("/etc/hostname")\nf.seek(-1, "end")\nf.close()',
)
def seek(
    file: File,
    offset: Annotated[int, Bounds(-MAX_OFFSET, MAX_OFFSET, "bytes")] = 0,
    whence: Literal["start", "current", "end"] = "start",
) -> int:
    """Set where the next read begins, ``offset`` bytes from ``whence``, and return that from the file's start.

    It may lie behind the end, where nothing is to be read.
    """
    with file.used() as fd:
        base = {"start": 0, "current": file.position, "end": os.fstat(fd).st_size}[whence]
        position = base + int(offset)
        if not 0 <= position <= MAX_OFFSET:
            raise ArgumentError(f"offset: leads to {position}, outside of every file", parameter="offset")
        file.position = position
    return position


@call(
    "file.stat",
    tier=Tier.INSPECT,
    lua='local f = fs.open("/etc/hostname")\nlocal size = f:stat().size\nf:close()',
    python='f = fs.open("/etc/hostname")\nsize = f.stat()["size"]\nf.close()',
)
def status(file: File) -> dict[str, Any]:
    """Return what the open file is, as ``fs.stat`` does."""
    with file.used() as fd:
        return described(os.fstat(fd))
