"""Paths on the host: opened first, decided on what was opened, then used through the descriptor.

A path is opened with ``O_PATH`` (which has no effect on what it names) and ``RESOLVE_NO_MAGICLINKS``, so that
``/proc/self/root`` and its like lead nowhere. The rule is then decided on the real path of the descriptor, and the work
is done on the descriptor: symlinks, ``..`` and renames between the steps do not help. For what does not exist, the
decision is on the deepest directory that does, and the remainder.

What was replaced or removed between being opened and being named has lost its name, and the kernel calls it by another:
its old path and `` (deleted)``, which a rule about that path does not fit. Such an object is never decided on.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple, Protocol

from kernel.files import (
    AT_FDCWD,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    open_at,
)
from protocol.errors import ArgumentError, DeniedError, NotFoundError, OutriderError, UnavailableError

MAX_OPENINGS = 16  # of one path that is replaced between being opened and being named
_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # flags of what is opened for use
DELETED = " (deleted)"  # what the kernel puts behind a name that is not the object's any more; proc_pid_fd(5)


class Gone(NotFoundError):
    """What was opened has no name any more, so nothing can be decided on it."""


class Held(Protocol):
    """What holds a target on the event loop."""

    def last_status(self) -> os.stat_result | None:
        """Return what it is, and close it; ``BlockingIOError`` where that cannot be told."""


class Target(NamedTuple):  # made for each call with a path; a frozen class takes three times as long
    """A path that was opened, or found missing."""

    asked: str  # as the script wrote it
    real: str  # resolved; for a missing file: what it would be
    fd: int  # O_PATH descriptor, -1 if missing
    held: Held | None = None  # by whom, if it is used on the event loop (stdlib.at_once)
    before: os.stat_result | None = None  # what it was before it was named, so that its name is counted in it

    @property
    def is_at_once(self) -> bool:
        """Whether it is used on the event loop: what would wait is to raise ``BlockingIOError``."""
        return self.held is not None

    @property
    def exists(self) -> bool:
        """Whether there is something."""
        return self.fd >= 0

    def present(self) -> Target:
        """Return self.

        Raises:
            NotFoundError: There is nothing.
        """
        if not self.exists:
            raise about(self.asked, NotFoundError(f"{self.asked} does not exist"))
        return self

    def status(self) -> os.stat_result:
        """Return what the opened object is."""
        return os.fstat(self.present().fd)

    def status_if_any(self) -> os.stat_result | None:
        """Return what the opened object is, None for what is missing."""
        return os.fstat(self.fd) if self.fd >= 0 else None

    def last_status(self) -> os.stat_result | None:
        """Return what the opened object is, None for what is missing; nothing more may be asked about it after that.

        Raises:
            BlockingIOError: On the event loop only, where that cannot be told.
        """
        if self.held is not None:
            return self.held.last_status()
        return self.status_if_any()

    def opened(self, flags: int, status: os.stat_result | None = None) -> Opened:
        """Return a context of a descriptor of the very same object, open for use. Only files and directories open.

        Args:
            flags: Of open(2).
            status: What :meth:`status` gave, where that was asked already: what an object is never changes.

        Raises:
            NotFoundError: There is nothing.
            ArgumentError: Neither a regular file nor a directory.
            UnavailableError: The system refuses.
        """
        return Opened(self.reopened(flags, status or self.status()))

    def reopened(self, flags: int, status: os.stat_result) -> int:
        """Return what :meth:`opened` does without the context: a descriptor that the caller closes."""
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ArgumentError(f"{self.asked} is neither a regular file nor a directory", parameter="path")
        try:
            return os.open(f"/proc/self/fd/{self.fd}", flags | _ALWAYS)
        except OSError as error:
            raise failure(error, self.asked) from None


class Opened:
    """A descriptor that is closed at the end of a ``with``; contextlib's own would cost as much as to read a file."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def about(path: str, error: OutriderError) -> OutriderError:
    """Return an error that says which path it is about, as that was asked for."""
    error.path = path
    return error


def failure(error: OSError, path: str) -> OutriderError:
    """Return the error of ours for what the system said about ``path``."""
    return about(path, _meant(error, path))


def _meant(error: OSError, path: str) -> OutriderError:
    told = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError(f"{path} does not exist")
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeniedError(f"{path}: the agent's own user may not ({told})", rule="the host's permissions")
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
        return ArgumentError(f"{path}: {told}", parameter="path")
    return UnavailableError(f"{path}: {told}")


class resolve:  # it reads as the function that it would be if contextlib's contexts cost less
    """The context of the target that ``path`` names; closes it at the end.

    Raises:
        ArgumentError: It leads through a magic link, in a circle, or is too long.
        DeniedError: The agent's own user may not go there.
    """

    __slots__ = ("_follow", "_path", "_target")

    def __init__(self, path: str, *, follow: bool = True) -> None:
        self._path = path
        self._follow = follow
        self._target: Target | None = None

    def __enter__(self) -> Target:
        self._target = _resolve(self._path, self._follow)
        return self._target

    def __exit__(self, *_: object) -> None:
        if self._target is not None and self._target.exists:
            os.close(self._target.fd)


def _resolve(path: str, follow: bool) -> Target:
    for _ in range(MAX_OPENINGS):
        try:
            fd = _open_path(path, 0 if follow else os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise failure(error, path) from None
            return Target(path, _missing(path), -1)
        try:
            before = os.fstat(fd)
            return Target(path, real_of(fd), fd, before=before)
        except Gone:  # another one has its name now, or nothing: that is what the path names
            os.close(fd)
        except BaseException:
            os.close(fd)
            raise
    raise about(path, UnavailableError(f"{path} is replaced again and again"))


def _open_path(path: str, extra: int = 0) -> int:
    return open_at(AT_FDCWD, path, os.O_PATH | extra)


def open_beneath(root: int, relative: str, flags: int, *, one_fs: bool = False) -> int:
    """Open what a path without a first slash names beneath a directory that is held, and follow no symlink to it.

    Whatever is swapped meanwhile, what is opened lies beneath ``root``; where that is, :func:`real_of` tells. With
    ``one_fs`` no mount is crossed (``EXDEV``).

    Raises:
        OSError: The kernel's own.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | (RESOLVE_NO_XDEV if one_fs else 0)
    if not flags & os.O_PATH:  # which goes with few others, and has no effect on what it opens
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    return open_at(root, relative or ".", flags, resolve=resolve)


def named(fd: int) -> str:
    """Return what the kernel calls an open object: a real path, perhaps with ``DELETED`` behind it. Asks no disk.

    Raises:
        ArgumentError: It has no path, or one that the kernel does not tell as it is longer than a page.
    """
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    except OSError as error:
        raise ArgumentError(
            f"the real path cannot be told: {os.strerror(error.errno or 0)}", parameter="path"
        ) from None
    if not name.startswith("/"):
        raise ArgumentError("the path does not lead to a file in the file system", parameter="path")
    return name


def real_of(fd: int) -> str:
    """Return the real path of an open object, as which it is there now.

    Raises:
        ArgumentError: As :func:`named`.
        Gone: It is there no more.
    """
    name = named(fd)
    if not name.endswith(DELETED):
        return name
    for real in (name, name.removesuffix(DELETED)):  # a file may be called so; what is mounted may have lost its origin
        if _is_at(real, fd):
            return real
    raise Gone("the path leads to what was removed or replaced meanwhile")


def _is_at(real: str, fd: int) -> bool:
    try:
        there = open_at(AT_FDCWD, real, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    except OSError:
        return False
    try:
        return os.path.samestat(os.fstat(there), os.fstat(fd))
    finally:
        os.close(there)


def _missing(path: str) -> str:
    """Return what the real path of a missing file would be: its deepest existing directory, then the rest."""
    head, rest = path.rstrip("/"), ""
    while head:
        head, _, name = head.rpartition("/")
        rest = f"{name}/{rest}" if rest else name
        try:
            fd = _open_path(head or "/")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            raise failure(error, path) from None
        try:
            base = real_of(fd).rstrip("/")
        except Gone:
            continue
        finally:
            os.close(fd)
        # A name of two dots cannot be resolved below a directory that does not exist: it stays and fits no pattern.
        return f"{base}/{rest}"
    return path
