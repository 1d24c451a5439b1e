"""Names on the host that may come, go or change: the directory is held, so what was decided is what is changed.

A :class:`~stdlib.paths.Target` is an object. A place is an entry of a directory: the directory is open, the name is one
word in it, and everything is done relative to the two. Whoever swaps a link or moves the directory meanwhile moves the
very directory that was decided on, and changes nothing else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernel.files import AT_FDCWD, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, open_at
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from stdlib.kept_objects import KeptObjects
from stdlib.paths import about, failure, real_of, resolve

MAX_NAME_BYTES = 255  # NAME_MAX, linux/limits.h; every file system that we know of has this or less
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of a directory, there or not."""

    asked: str  # as the script wrote it
    real: str  # the real path of the directory, and the name
    name: str  # never empty, ``.`` or ``..``
    directory: int  # O_PATH descriptor; -1 if there is no such directory
    kept: KeptObjects | None = None  # what the entry must not be when it is opened

    def held(self) -> Place:
        """Return self.

        Raises:
            NotFoundError: There is no directory to hold the entry.
        """
        if self.directory < 0:
            raise NotFoundError(f"the directory of {self.asked} does not exist")
        return self

    def status(self) -> os.stat_result | None:
        """Return what the entry is, without following it; None if there is none."""
        try:
            return os.stat(self.name, dir_fd=self.held().directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(error, self.asked) from None

    def present(self) -> os.stat_result:
        """Return what the entry is; ``NotFoundError`` if there is none."""
        status = self.status()
        if status is None:
            raise NotFoundError(f"{self.asked} does not exist")
        return status

    def regular(self) -> os.stat_result | None:
        """Return what the entry is if it is a regular file; None if there is none.

        Raises:
            ArgumentError: It is something else.
        """
        status = self.status()
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise ArgumentError(f"path: {self.asked} is not a regular file", parameter="path")
        return status

    @contextmanager
    def opened(self, flags: int, mode: int = 0) -> Iterator[int]:
        """Yield a descriptor of the entry itself, never of what a link leads to.

        Raises:
            NotFoundError: There is none.
            DeniedError: It is kept from all calls: it came here after the call was decided on.
            ConflictError: It lost its name meanwhile, and nobody can tell what other names it has.
            OutriderError: As ``stdlib.paths.failure``.
        """
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(self.name, flags, mode, dir_fd=self.held().directory)
        except OSError as error:
            raise failure(error, self.asked) from None
        try:
            if self.kept is not None:
                self._require_free(self.kept, os.fstat(fd))
            yield fd
        finally:
            os.close(fd)

    def _require_free(self, kept: KeptObjects, status: os.stat_result) -> None:
        if kept.name_of(status) is not None:
            raise about(self.asked, DeniedError(f"{self.asked} is kept from all calls", rule="kept objects"))
        there = self.status()  # after the other: what still has its name here had it then, and has no other
        if there is None or not os.path.samestat(there, status):
            raise about(self.asked, ConflictError(f"{self.asked} was replaced meanwhile"))

    def sync(self) -> None:
        """Make the directory's entries durable."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.held().directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def place(path: str, *, follow: bool, kept: KeptObjects | None = None) -> Iterator[Place]:
    """Yield the place that ``path`` names; closes its directory at the end.

    Args:
        path: Absolute.
        follow: Whether a last symlink stands for what it leads to.
        kept: What it must not be when it is opened.

    Raises:
        ArgumentError: It names a directory by ``.``, ``..`` or a last slash, leads in a circle or through a magic link,
            or to nothing through a last symlink.
        DeniedError: The agent's own user may not go there.
    """
    found = _place(path, follow)
    try:
        yield found if kept is None else replace(found, kept=kept)
    finally:
        if found.directory >= 0:
            os.close(found.directory)


def _place(path: str, follow: bool) -> Place:
    head, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        raise ArgumentError(f"path: {path} must end in the name of an entry", parameter="path")
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise ArgumentError(f"path: {path}: the name is longer than {MAX_NAME_BYTES} bytes", parameter="path")
    if follow:
        with resolve(path) as target:
            if target.exists:
                return _at(path, target.real)
        with resolve(path, follow=False) as entry:
            if entry.exists:
                raise ArgumentError(f"path: {path} is a symlink that leads to nothing", parameter="path")
    with resolve(head or "/") as directory:
        if not directory.exists:
            return Place(path, f"{directory.real.rstrip('/')}/{name}", name, -1)
        if not stat.S_ISDIR(directory.status().st_mode):
            raise ArgumentError(f"path: {head} is not a directory", parameter="path")
        return Place(path, f"{directory.real.rstrip('/')}/{name}", name, os.dup(directory.fd))


def _at(path: str, real: str) -> Place:
    """Return the place of an object that was just resolved. Its real path has no links, unless one is swapped in."""
    head, _, name = real.rpartition("/")
    if not name:
        raise ArgumentError(f"path: {path} is the root directory", parameter="path")
    try:
        fd = open_at(AT_FDCWD, head or "/", _DIRECTORY, resolve=RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        raise failure(error, path) from None
    try:
        return Place(path, f"{real_of(fd).rstrip('/')}/{name}", name, fd)
    except BaseException:
        os.close(fd)
        raise
