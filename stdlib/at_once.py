"""Paths that are opened on the event loop itself, as nothing about them has to be waited for; all others are not.

A thread costs a call more than to look at a file does. So what some calls need of a path (``@call(at_once=True)``) is
first tried where the gate is: the path must be in the kernel's memory, and lie on a file system that answers from it.
Whatever is not so, and whatever goes wrong, is ``BlockingIOError``: the call is then made on a thread from its
beginning, and only that tells of errors. So there is one way to fail, and nothing is given that no thread would give.

What is opened and what it is decided on is as in ``stdlib.paths``: the very object, by its real path.
"""

from __future__ import annotations

import os
from contextlib import suppress

from kernel.files import open_cached
from kernel.mounts import Mounts
from kernel.visits import begun_apart
from protocol.errors import OutriderError
from stdlib.paths import DELETED, Target, named

_mounts = Mounts()


def learn() -> None:
    """Look which file systems answer at once, if that is not known. May wait: for a thread."""
    with suppress(OSError):  # no /proc: then none does
        _mounts.look()


class resolve_at_once:  # a context, as stdlib.paths.resolve
    """The context of the target that ``path`` names. On the event loop.

    Raises:
        BlockingIOError: It cannot be told without waiting that there is one, and what it is.
    """

    __slots__ = ("_follow", "_path", "_target")

    def __init__(self, path: str, *, follow: bool = True) -> None:
        self._path = path
        self._follow = follow
        self._target: Target | None = None

    def __enter__(self) -> Target:
        try:
            self._target = _opened(self._path, 0 if self._follow else os.O_NOFOLLOW, self)
        except (OSError, OutriderError):  # the thread says what it is
            raise BlockingIOError from None
        return self._target

    def __exit__(self, *_: object) -> None:
        with suppress(BlockingIOError):  # closed all the same
            self.last_status()

    def last_status(self) -> os.stat_result | None:
        """Return what was opened is, and close it: one look tells both. None if that was done.

        Raises:
            BlockingIOError: It cannot be told, such as of a file system that was shut down after an error of its disk.
        """
        target, self._target = self._target, None
        if target is None:
            return None
        try:
            status = os.fstat(target.fd)
        except OSError:
            _close_apart(target.fd)
            raise BlockingIOError from None
        if status.st_nlink:
            os.close(target.fd)
        else:  # the last to let go of an object without a name frees all that it holds, on the disk as well
            _close_apart(target.fd)
        return status


def _opened(path: str, flags: int, held: resolve_at_once) -> Target:
    if not _mounts.are_known:
        raise BlockingIOError
    fd = open_cached(path, flags)
    try:
        if _mounts.answers_at_once(fd):
            real = named(fd)
            if not real.endswith(DELETED):
                return Target(path, real, fd, held)
        raise BlockingIOError
    except BaseException:  # of a file system that is not known: also to let go of it may take its time
        _close_apart(fd)
        raise


def _close_apart(fd: int) -> None:
    begun_apart(os.close, fd)
