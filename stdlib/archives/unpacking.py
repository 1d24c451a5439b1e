"""Unpacks an archive into a directory of our own, beside the place that it is for, and puts that there in one step.

So nobody ever sees half an archive, and nobody but us can reach into the directory while it is filled: it is ours alone
until it has its name. Every part of a name is opened without following anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable
from typing import Final

from kernel.files import RENAME_NOREPLACE, rename_at, sync_file_system
from protocol.errors import ConflictError, DeadlineError
from stdlib.archives.entries import Allowance, Entry, damaged
from stdlib.archives.names import Names
from stdlib.archives.tar_reader import TarReader
from stdlib.archives.zip_reader import ZipReader
from stdlib.paths import failure
from stdlib.places import Place

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE: Final = 0o755
CUT_SHORT: Final = "fs.extract was cut short"


def entries_of(
    fd: int, size: int, most_bytes: int, most_entries: int, is_over: Callable[[], bool] = lambda: False
) -> Iterable[Entry]:
    """Return the entries of an open archive, whatever kind of the known ones it is.

    Args:
        fd: Of the archive.
        size: In bytes.
        most_bytes: That it may hold.
        most_entries: That it may hold.
        is_over: Whether nobody waits for it any more; asked whenever it is read on, as there may be no entry for long.

    Raises:
        ArgumentError: It is of none.
    """
    allowance = Allowance(most_bytes)

    def read_at(length: int, place: int) -> bytes:
        if is_over():
            raise DeadlineError(CUT_SHORT)
        parts: list[bytes] = []
        while length and (piece := os.pread(fd, length, place)):
            parts.append(piece)
            place, length = place + len(piece), length - len(piece)
        return b"".join(parts)

    head = read_at(262, 0)
    if head.startswith(b"\x1f\x8b"):
        return TarReader(read_at, allowance, is_compressed=True).entries()
    if head[257:262] == b"ustar":
        return TarReader(read_at, allowance, is_compressed=False).entries()
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return ZipReader(read_at, size, allowance, most_entries).entries()
    raise damaged("it is neither tar, tar.gz nor zip")


class Unpacking:
    """One archive on its way to a place.

    Args:
        place: Where it goes: nothing is there, or an empty directory.
        most_entries: That it may hold.
        check: Called with the real path of everything before it is made; raises if that is not allowed.
        is_over: Whether nobody waits for it any more.
        keep: Called before it takes its place, with what is there and the filled directory, open.

    Raises:
        OutriderError: Something is there, or nothing can be made beside it.
    """

    def __init__(
        self,
        place: Place,
        most_entries: int,
        check: Callable[[str], None],
        is_over: Callable[[], bool],
        keep: Callable[[os.stat_result | None, int], None] = lambda _before, _filled: None,
    ) -> None:
        self._place = place
        self._names = Names(most_entries)
        self._check = check
        self._is_over = is_over
        self._keep = keep
        self._before = _empty_directory(place)
        self._temporary = f".outrider-{secrets.token_hex(8)}"
        try:
            os.mkdir(self._temporary, 0o700, dir_fd=place.held().directory)
            self._root = os.open(self._temporary, _DIRECTORY, dir_fd=place.directory)
        except OSError as error:
            raise failure(error, place.asked) from None

    def unpack(self, entries: Iterable[Entry]) -> int:
        """Unpack all entries and put the directory in its place; return how many there are.

        Raises:
            OutriderError: What the reader and the names raise, what is not allowed, what the system refuses. Nothing is
                left of it then.
        """
        try:
            modes: list[tuple[tuple[str, ...], Entry]] = []  # of directories, set last: one may keep us out
            for entry in entries:
                if self._is_over():
                    raise DeadlineError(CUT_SHORT)
                parts = self._names.accept(entry.name, is_directory=entry.is_directory)
                if parts:
                    self._check("/".join((self._place.real, *parts)))
                if entry.is_directory and parts:
                    os.close(self._directory(parts))
                    modes.append((parts, entry))
                elif parts:
                    self._file(parts, entry)
            for parts, entry in reversed(modes):
                self._finish(parts, entry)
            sync_file_system(self._root)
            self._keep(self._before, self._root)
            self._take_place()
        except OSError as error:
            raise failure(error, self._place.asked) from None
        finally:
            self._forget()
        return self._names.count

    def _directory(self, parts: tuple[str, ...]) -> int:
        """Return a descriptor of a directory below the root, made with those above it if it is not there."""
        holds = os.dup(self._root)
        for part in parts:
            try:
                is_new = _made(part, holds)
                below = os.open(part, _DIRECTORY, dir_fd=holds)
            finally:
                os.close(holds)
            holds = below
            if is_new:
                os.fchmod(holds, _DIRECTORY_MODE)  # whatever the agent's umask is
        return holds

    def _file(self, parts: tuple[str, ...], entry: Entry) -> None:
        directory = self._directory(parts[:-1])
        try:
            fd = os.open(parts[-1], _FILE, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
        with open(fd, "wb", buffering=0) as file:
            for piece in entry.content:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) or 0 :]
                if self._is_over():
                    raise DeadlineError(CUT_SHORT)
            os.fchmod(fd, entry.mode)
            if entry.mtime is not None:
                os.utime(fd, (entry.mtime, entry.mtime))

    def _finish(self, parts: tuple[str, ...], entry: Entry) -> None:
        fd = self._directory(parts)
        try:
            os.fchmod(fd, entry.mode | stat.S_IRWXU)
            if entry.mtime is not None:
                os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _take_place(self) -> None:
        place, before = self._place, self._before
        if before is not None:
            own = os.fstat(self._root)
            if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(self._root, before.st_uid, before.st_gid)
        os.fchmod(self._root, _DIRECTORY_MODE if before is None else before.st_mode & 0o1777)
        try:
            flags = RENAME_NOREPLACE if before is None else 0
            rename_at(place.directory, self._temporary, place.directory, place.name, flags)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise ConflictError(f"{place.asked} was changed by somebody else meanwhile") from None
            raise
        place.sync()

    def _forget(self) -> None:
        os.close(self._root)
        with contextlib.suppress(FileNotFoundError):  # it has taken its place
            shutil.rmtree(self._temporary, dir_fd=self._place.directory)


def _made(name: str, directory: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def _empty_directory(place: Place) -> os.stat_result | None:
    """Return what is at the place: an empty directory; None if nothing is.

    Raises:
        ConflictError: Something else is.
    """
    status = place.status()
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        fd = os.open(place.name, _DIRECTORY, dir_fd=place.directory)
        try:
            with os.scandir(fd) as found:
                if next(found, None) is None:
                    return status
        finally:
            os.close(fd)
    raise ConflictError(f"{place.asked} is there already, and is no empty directory")
