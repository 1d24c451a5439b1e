"""Files here that come from a host: written beside their place, durable before they take it, never through a link.

What a host says about names is believed by nobody: a name is one word below a directory that is held, and no link on
the way to it is followed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cli.wire import shown
from protocol.errors import ArgumentError, ConflictError, OutriderError, UnavailableError

PIECE_BYTES: Final = 1 << 20
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def local_failure(error: OSError, path: str) -> OutriderError:
    """Return the error of ours for what this machine says about a path."""
    return UnavailableError(f"{shown(path)}: {os.strerror(error.errno) if error.errno else error}")


def umask() -> int:
    """Return this process's umask; there is no other way to read it than to set it."""
    value = os.umask(0o077)
    os.umask(value)
    return value


class Incoming:
    """A file that comes: what is there of it lies beside its place as ``.NAME.outrider-part``, also after a break.

    Args:
        directory: Held by the caller for as long as this lives.
        name: One word in it.
        told: How the place is called in errors.

    Raises:
        ConflictError: Another copy writes it now.
        UnavailableError: It cannot be written here.
    """

    def __init__(self, directory: int, name: str, told: str) -> None:
        self._directory = directory
        self._name = name
        self._told = told
        self._part = f".{name}.outrider-part"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self._part, flags, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # the name leaves no room for more
                raise local_failure(error, told) from None
            self._part = f".outrider-part-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
            try:
                self._fd = os.open(self._part, flags, 0o600, dir_fd=directory)
            except OSError as again:
                raise local_failure(again, told) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise ConflictError(f"{shown(told)}: another copy writes it now") from None
        self.size = os.fstat(self._fd).st_size  # bytes that are there

    def hash(self) -> str:
        """Return the sha256 of what is there, in hexadecimal digits."""
        return hash_of(self._fd, self.size)

    def empty(self) -> None:
        """Begin anew."""
        os.ftruncate(self._fd, 0)
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append; raises UnavailableError."""
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self._fd, view, self.size)
                view, self.size = view[done:], self.size + done
        except OSError as error:
            raise local_failure(error, self._told) from None

    def finish(self, mode: int, mtime: float | None) -> None:
        """Put it in its place; raises UnavailableError."""
        try:
            os.fchmod(self._fd, mode)
            if mtime is not None:
                os.utime(self._fd, (mtime, mtime))
            os.fsync(self._fd)
            os.rename(self._part, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as error:
            raise local_failure(error, self._told) from None

    def close(self) -> None:
        """Let go of it; what is there stays for the next time, unless that is nothing."""
        if not self.size:
            with suppress(OSError):  # it has taken its place, or nobody needs it
                os.unlink(self._part, dir_fd=self._directory)
        os.close(self._fd)


def hash_of(fd: int, size: int) -> str:
    """Return the sha256 of the first ``size`` bytes of an open file, in hexadecimal digits."""
    made, offset = hashlib.sha256(), 0
    while offset < size and (data := os.pread(fd, min(PIECE_BYTES, size - offset), offset)):
        made.update(data)
        offset += len(data)
    return made.hexdigest()


class Tree:
    """A directory here that a tree of a host is written below.

    Args:
        path: Made if it is missing; here a link is followed, as it is the user's own word.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.makedirs(path, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise local_failure(error, path) from None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._root)

    @contextmanager
    def parent(self, relative: str) -> Iterator[tuple[int, str]]:
        """Yield the open directory of something below, and its name there.

        Raises:
            ArgumentError: It does not lie below.
            OutriderError: Its directory cannot be entered.
        """
        from stdlib.paths import open_beneath  # with the kernel's calls; only folders need it

        check_below(relative)
        head, _, name = relative.rpartition("/")
        try:
            fd = open_beneath(self._root, head, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise local_failure(error, f"{self.path}/{head}") from None
        try:
            yield fd, name
        finally:
            os.close(fd)

    def directory(self, relative: str) -> None:
        """Make a directory below, if it is missing; one that is a link is none."""
        with self.parent(relative) as (fd, name):
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o777, dir_fd=fd)
                os.close(os.open(name, _DIRECTORY | os.O_CLOEXEC, dir_fd=fd))
            except OSError as error:
                raise local_failure(error, f"{self.path}/{relative}") from None

    def link(self, relative: str, text: str) -> None:
        """Make a symlink below, or leave one that says the same."""
        with self.parent(relative) as (fd, name):
            try:
                os.symlink(text, name, dir_fd=fd)
            except FileExistsError:
                if _link_text(name, fd) != text:
                    raise ConflictError(f"{shown(f'{self.path}/{relative}')} is there already") from None
            except OSError as error:
                raise local_failure(error, f"{self.path}/{relative}") from None


def _link_text(name: str, fd: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return None


def check_below(relative: str) -> None:
    """Return if a path is one or more words, and none of them leads elsewhere.

    Raises:
        ArgumentError: It is not.
    """
    if any(word in ("", ".", "..") or "\0" in word for word in relative.split("/")):
        raise ArgumentError(f"the host gave the name {shown(relative)!r:.200}, which does not lie below")


def mode_for(directory: int, name: str, theirs: int, *, keeps: bool) -> int:
    """Return the permission bits of a file that is about to take its place.

    Those of the file that is there; of a new one theirs without what the umask takes. With ``keeps`` theirs as they
    are. Never setuid or setgid.
    """
    if keeps:
        return theirs & 0o777
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return theirs & 0o777 & ~umask()
    return stat.S_IMODE(there.st_mode) & 0o777 if stat.S_ISREG(there.st_mode) else theirs & 0o777 & ~umask()
