"""What the kernel says about files that change on whole filesystems, fanotify(7): who wrote, made or moved what.

Events name a directory by its handle and an entry in it by its name, and the process that did it; nothing is opened for
us and nobody is held up. Needs CAP_SYS_ADMIN, to turn handles into paths CAP_DAC_READ_SEARCH, and Linux 5.17.
Numbers are from linux/fanotify.h. Every function raises ``OSError`` with the kernel's own number.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
CREATE: Final = 0x100
DELETE: Final = 0x200
OPEN_EXEC: Final = 0x1000  # to be run
RENAME: Final = 0x10000000
ONDIR: Final = 0x40000000
Q_OVERFLOW: Final = 0x4000
_INIT: Final = 0x1 | 0x2 | 0x400 | 0x800  # FAN_CLOEXEC, FAN_NONBLOCK, FAN_REPORT_DIR_FID, FAN_REPORT_NAME
_ADD_FILESYSTEM: Final = 0x1 | 0x100  # FAN_MARK_ADD, FAN_MARK_FILESYSTEM
_DFID_NAME: Final = 2  # FAN_EVENT_INFO_TYPE_*
_OLD_DFID_NAME: Final = 10
_NEW_DFID_NAME: Final = 12
_VERSION: Final = 3  # FANOTIFY_METADATA_VERSION
_AT_FDCWD: Final = -100

READ_BYTES: Final = 64 << 10  # at once
_HEAD: Final = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
_INFO: Final = struct.Struct("=BBH")  # struct fanotify_event_info_header
_HANDLE: Final = struct.Struct("=8sIi")  # fsid, and struct file_handle up to its bytes

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]


class Entry(NamedTuple):
    """One entry of a directory."""

    filesystem: bytes  # its fsid
    handle: bytes  # of the directory: struct file_handle as it is
    name: bytes  # "." for the directory itself


class Event(NamedTuple):
    """One event, or several of the same process and entry that came together."""

    mask: int
    pid: int
    entry: Entry | None  # of a rename the old one; None for an overflow
    target: Entry | None  # of a rename


def start() -> int:
    """Return a new descriptor, which does not block."""
    return _checked(_libc.fanotify_init(_INIT, os.O_RDONLY | os.O_CLOEXEC), "fanotify_init")


def mark(descriptor: int, path: str, mask: int) -> None:
    """Hear of events on the whole filesystem that ``path`` lies on."""
    _checked(
        _libc.fanotify_mark(descriptor, _ADD_FILESYSTEM, mask, _AT_FDCWD, os.fsencode(path)), f"fanotify_mark {path}"
    )


def read(descriptor: int) -> list[Event]:
    """Return the events that wait, some of them if they are many; none if none do."""
    try:
        return list(_events(os.read(descriptor, READ_BYTES)))
    except BlockingIOError:
        return []


def fsid(path: str) -> bytes:
    """Return the number by which events name the filesystem that ``path`` lies on."""
    return struct.pack("=Q", os.statvfs(path).f_fsid & 0xFFFFFFFFFFFFFFFF)


def open_directory(mount: int, handle: bytes) -> int:
    """Return an ``O_PATH`` descriptor of the directory that a handle names, open_by_handle_at(2).

    Args:
        mount: A descriptor of something on the same filesystem.
        handle: As an event gave it.
    """
    kept = ctypes.create_string_buffer(handle, len(handle))
    return _checked(_libc.open_by_handle_at(mount, ctypes.byref(kept), os.O_PATH | os.O_CLOEXEC), "open_by_handle_at")


def _events(data: bytes) -> Iterator[Event]:
    position = 0
    while position + _HEAD.size <= len(data):
        size, version, _reserved, head, mask, _descriptor, pid = _HEAD.unpack_from(data, position)
        if version != _VERSION or size < head:
            raise OSError(71, "fanotify: a version of events that is not known")  # EPROTO
        entries = dict(_entries(data, position + head, position + size))
        entry = entries.get(_DFID_NAME) or entries.get(_OLD_DFID_NAME)
        yield Event(mask, pid, entry, entries.get(_NEW_DFID_NAME))
        position += size


def _entries(data: bytes, position: int, end: int) -> Iterator[tuple[int, Entry]]:
    while position + _INFO.size <= end:
        kind, _pad, size = _INFO.unpack_from(data, position)
        if size < _INFO.size:
            return
        if kind in (_DFID_NAME, _OLD_DFID_NAME, _NEW_DFID_NAME):
            at = position + _INFO.size
            filesystem, length, _type = _HANDLE.unpack_from(data, at)
            name_at = at + _HANDLE.size + length
            name = data[name_at : position + size].partition(b"\0")[0]
            yield kind, Entry(filesystem, data[at + 8 : name_at], name)
        position += size


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
