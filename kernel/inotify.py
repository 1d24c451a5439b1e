"""What the kernel says about changes in directories, inotify(7): one descriptor, watches on it, events read from it.

Numbers are from linux/inotify.h. Every function raises ``OSError`` with the kernel's own number.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

IN_MODIFY: Final = 0x002
IN_ATTRIB: Final = 0x004
IN_CLOSE_WRITE: Final = 0x008
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_EXCL_UNLINK: Final = 0x04000000
IN_MASK_ADD: Final = 0x20000000
IN_ISDIR: Final = 0x40000000

READ_BYTES: Final = 64 << 10  # at once; one event has at most 272
_HEAD: Final = struct.Struct("=iIII")  # struct inotify_event
_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One event."""

    watch: int  # -1 for an overflow
    mask: int
    name: str  # in the directory that is watched; empty if it is about that itself. Undecodable bytes as surrogates


def start() -> int:
    """Return a new descriptor, which does not block."""
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def watch(descriptor: int, target: int, mask: int) -> int:
    """Watch what an ``O_PATH`` descriptor is open on, and return the watch's number.

    Its name is that of the kernel's link to it, so that nothing can be swapped meanwhile.
    """
    path = f"/proc/self/fd/{target}".encode()
    return _checked(_libc.inotify_add_watch(descriptor, path, ctypes.c_uint32(mask)), "inotify_add_watch")


def unwatch(descriptor: int, number: int) -> None:
    """End a watch."""
    _checked(_libc.inotify_rm_watch(descriptor, number), "inotify_rm_watch")


def read(descriptor: int) -> list[Event]:
    """Return the events that wait, some of them if they are many; none if none do."""
    try:
        return list(_events(os.read(descriptor, READ_BYTES)))
    except BlockingIOError:
        return []


def _events(data: bytes) -> Iterator[Event]:
    position = 0
    while position < len(data):
        number, mask, _cookie, size = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        name = data[position : position + size].partition(b"\0")[0]
        position += size
        yield Event(number, mask, os.fsdecode(name))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
