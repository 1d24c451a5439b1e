"""Which objects lie on file systems that answer from this host's own memory: those whose ``fstat`` never waits.

An object is known by the mount that it was opened on (``mnt_id`` in proc_pid_fdinfo(5)), never by its path: a directory
that holds a mount may be renamed, and nothing tells of that. Numbers of mounts are given again when a mount is gone, so
what was seen counts only while the kernel tells of no change (proc_pid_mountinfo(5): poll). As the object is open when
that is asked, its mount cannot have gone meanwhile.

Source: Linux, fs/proc/fd.c (fdinfo is made without asking the file system) and fs/proc_namespace.c (``poll_event``).
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

MOUNTS: Final = "/proc/self/mountinfo"
#: Types whose attributes are in memory with the object. All others may ask a server, another program or other hosts, or
#: another file system below them.
LOCAL: Final = frozenset({b"btrfs", b"devtmpfs", b"ext2", b"ext3", b"ext4", b"f2fs", b"ramfs", b"tmpfs", b"xfs"})
#: Types that may ask their server when a path ends at where they are mounted, even if that path is in memory
#: (``d_weak_revalidate``). With one of them about, no path is safe.
ASKING: Final = frozenset({b"9p", b"nfs", b"nfs4"})
MAX_BYTES: Final = 4 << 20  # of the list of mounts; 20,000 of them. With more, nothing counts as local
LOOK_S: Final = 1.0  # between two looks at the least: others may mount and unmount as often as they like
_READ_BYTES: Final = 64 << 10
MAX_KEPT: Final = 8  # descriptors of what tells of other descriptors; the loop opens one thing at a time
_INFO_BYTES: Final = 512  # of what is told of a descriptor; the mount is on its third line
_MOUNT: Final = b"mnt_id:\t"


def local_mounts(text: bytes) -> frozenset[int]:
    """Return the numbers of the mounts whose objects answer at once. Pure.

    Args:
        text: Of /proc/self/mountinfo.
    """
    found = set()
    for line in text.removesuffix(b"\n").split(b"\n"):  # the only end of a line that is escaped in names
        number, _, rest = line.partition(b" ")
        kind = rest.partition(b" - ")[2].partition(b" ")[0]  # no field before it can hold that: blanks are escaped
        if kind in ASKING or not number.isdigit():
            return frozenset()
        if kind in LOCAL:
            found.add(int(number))
    return frozenset(found)


class _Seen:
    """The list of mounts as it was read, and its descriptor, which tells of the first change since it was opened."""

    def __init__(self, fd: int) -> None:
        self._fd = fd  # owned
        self._poll = select.poll()
        self._poll.register(fd, select.POLLPRI | select.POLLERR)
        self._polling = threading.Lock()
        text = bytearray()
        while (data := os.read(fd, _READ_BYTES)) and len(text) <= MAX_BYTES:
            text += data
        self.local = local_mounts(bytes(text)) if len(text) <= MAX_BYTES else frozenset()
        self.is_stale = False

    def has_changed(self) -> bool:
        """Tell whether it is not the list any more. Never waits; true while another thread is asking."""
        if self.is_stale or not self._polling.acquire(False):
            return True
        try:
            self.is_stale = bool(self._poll.poll(0))  # the kernel tells once
            return self.is_stale
        finally:
            self._polling.release()

    def __del__(self) -> None:  # when nobody looks at it any more: another thread may still do so when it is replaced
        os.close(self._fd)


class _Numbers:
    """The number of the mount of each open object.

    What tells of a descriptor (/proc/self/fdinfo) is made anew at each read from its beginning, of whatever is open
    under its number then (``seq_show`` in Linux's fs/proc/fd.c). So a few of these stay open, and one system call does
    for which opening, reading and closing are three.
    """

    def __init__(self) -> None:
        self._kept: dict[int, int] = {}  # descriptor -> what tells of it; owned
        self._process = os.getpid()  # whose they are: in a child they would tell of its parent's

    def of(self, fd: int) -> int:
        """Return the number of the mount that ``fd`` was opened on; -1 if that is not told.

        Raises:
            OSError: As the kernel says; ``FileNotFoundError`` if ``fd`` is not open.
        """
        info = self._kept.get(fd)
        if info is None or self._process != os.getpid():
            return self._of_new(fd)
        return _number_in(os.pread(info, _INFO_BYTES, 0))

    def _of_new(self, fd: int) -> int:
        info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        is_kept = False
        try:
            text = os.pread(info, _INFO_BYTES, 0)
            if len(self._kept) < MAX_KEPT and self._process == os.getpid():
                is_kept = self._kept.setdefault(fd, info) == info
        finally:
            if not is_kept:
                os.close(info)
        return _number_in(text)

    def __del__(self) -> None:
        for info in self._kept.values():
            os.close(info)


class Mounts:
    """The mounts that this process sees. Nothing is known before the first look.

    Args:
        path: Of the list of mounts.
        clock: Monotonic seconds.
    """

    def __init__(self, path: str = MOUNTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen: _Seen | None = None
        self._numbers = _Numbers()
        self._looks_at_s = clock()  # not before
        self._lock = threading.Lock()

    def look(self) -> None:
        """Read the list if it was found to have changed, at most once in ``LOOK_S``. May wait; safe from any thread.

        Raises:
            OSError: It cannot be read.
        """
        seen = self._seen
        if (seen is not None and not seen.is_stale) or self._clock() < self._looks_at_s:
            return
        with self._lock:
            if self._seen is not seen:  # another thread was here
                return
            self._looks_at_s = self._clock() + LOOK_S
            self._seen = _Seen(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))

    @property
    def are_known(self) -> bool:
        """Whether there are local ones, and no path asks anybody that is opened from memory. Never waits."""
        seen = self._seen
        return seen is not None and bool(seen.local) and not seen.has_changed()

    def answers_at_once(self, fd: int) -> bool:
        """Tell whether an open object lies on a mount of a local type. Never waits; False where that is not known.

        Raises:
            OSError: The kernel does not tell which mount it is.
        """
        seen = self._seen
        if seen is None:
            return False
        return self._numbers.of(fd) in seen.local and not seen.has_changed()


def _number_in(text: bytes) -> int:
    """Return the number of the mount in what is told of a descriptor; -1 if there is none."""
    digits = text.partition(_MOUNT)[2].partition(b"\n")[0]
    return int(digits) if digits.isdigit() else -1
