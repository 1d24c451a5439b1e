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
from stdlib.kept_objects import KeptObjects
from stdlib.paths import DELETED, Target, named

_mounts = Mounts()


def learn() -> None:
    """Look which file systems answer at once, if that is not known. May wait: for a thread."""
    with suppress(OSError):  # no /proc: then none does
        _mounts.look()


class Opening:
    """One path that is opened on the event loop, and let go of there; :class:`stdlib.paths.Held`."""

    __slots__ = ("_fd", "_flags", "_kept", "path")

    def __init__(self, path: str, *, follow: bool = True, kept: KeptObjects | None = None) -> None:
        self.path = path  # as the script wrote it
        self._kept = kept  # what is to be decided on by another name, which takes a thread
        self._flags = 0 if follow else os.O_NOFOLLOW
        self._fd = -1  # owned; none

    def open(self) -> Target:
        """Return what the path names. Once.

        Raises:
            BlockingIOError: It cannot be told without waiting that there is something, and what it is.
        """
        try:
            if not _mounts.are_known:
                raise BlockingIOError
            fd = open_cached(self.path, self._flags)
            try:
                if _mounts.answers_at_once(fd):
                    real = named(fd)
                    if not real.endswith(DELETED):
                        target = Target(self.path, real, fd, self)
                        self._fd = fd
                        return target
                raise BlockingIOError
            except BaseException:  # of a file system that is not known: also to let go of it may take its time
                _close_apart(fd)
                raise
        except (OSError, OutriderError):  # the thread says what it is
            raise BlockingIOError from None

    def let_go(self) -> None:
        """Close it, if that was not done."""
        if self._fd >= 0:
            with suppress(BlockingIOError):  # closed all the same
                self.last_status()

    def last_status(self) -> os.stat_result | None:
        """Return what was opened is, and close it: one look tells both. None if that was done.

        Raises:
            BlockingIOError: It cannot be told, such as of a file system that was shut down after an error of its disk,
                or as it has to be looked for among what is kept from all calls.
        """
        fd, self._fd = self._fd, -1
        if fd < 0:
            return None
        try:
            status = os.fstat(fd)
        except OSError:
            _close_apart(fd)
            raise BlockingIOError from None
        if status.st_nlink == 1:
            os.close(fd)
        elif status.st_nlink:
            os.close(fd)
            if self._kept is not None and self._kept.may_be(status):
                raise BlockingIOError
        else:  # the last to let go of an object without a name frees all that it holds, on the disk as well
            _close_apart(fd)
        return status


class resolve_at_once(Opening):  # a context, as stdlib.paths.resolve
    """The context of the target that ``path`` names. On the event loop.

    Raises:
        BlockingIOError: As :meth:`Opening.open`.
    """

    __slots__ = ()

    def __enter__(self) -> Target:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.let_go()


def _close_apart(fd: int) -> None:
    begun_apart(os.close, fd)
