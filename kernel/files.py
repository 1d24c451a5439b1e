"""Opening and renaming through the kernel where Python's ``os`` has no word for how. No call changes more than it says.

These may wait for a disk, so unlike the calls beside them they let other threads run; but for :func:`open_cached`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any, Final

# linux/openat2.h
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_CACHED: Final = 0x20  # Linux 5.12

# linux/fs.h
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

AT_FDCWD: Final = -100  # fcntl.h
_AT_EMPTY_PATH: Final = 0x1000
_OPENAT2: Final = 437  # asm-generic/unistd.h, the same on every processor

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall_at_once: Final = ctypes.PyDLL(None, use_errno=True).syscall  # of what never waits: no thread gets a turn


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES: Final = ctypes.sizeof(_OpenHow)
_ENCODING: Final = sys.getfilesystemencoding()  # what os.fsencode does, at a quarter of its cost: a walk asks for each


@cache
def _how(flags: int, mode: int, resolve: int) -> Any:
    """Return what the kernel reads and never writes; only the callers' constants are ever asked for."""
    return ctypes.byref(_OpenHow(flags, mode, resolve))


def open_at(directory: int, path: str, flags: int, *, resolve: int = RESOLVE_NO_MAGICLINKS, mode: int = 0) -> int:
    """Return a descriptor of ``path`` below ``directory`` (or AT_FDCWD), as openat2(2); closed on exec.

    Raises:
        OSError: As the kernel says; EOPNOTSUPP if it has no openat2 (Linux 5.6).
    """
    name, how = path.encode(_ENCODING, "surrogateescape"), _how(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        fd = _libc.syscall(_OPENAT2, directory, name, how, _HOW_BYTES)
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number == errno.ENOSYS:
            raise OSError(errno.EOPNOTSUPP, "this kernel has no openat2 (Linux 5.6)")
        if number not in (errno.EINTR, errno.EAGAIN):  # EAGAIN: a rename raced with the kernel's own checks
            raise OSError(number, os.strerror(number))


def open_cached(path: str, flags: int = 0, *, resolve: int = RESOLVE_NO_MAGICLINKS) -> int:
    """Return an ``O_PATH`` descriptor of ``path`` as :func:`open_at`, if the kernel finds it in its memory alone.

    No file system is asked for anything: neither a name nor a right is looked up on a disk or across a network, no
    program answers for a file system of its own, nothing is mounted on the way.

    Raises:
        OSError: As the kernel says; ``BlockingIOError`` where something would have to be asked, EINVAL by a kernel
            that cannot tell (before Linux 5.12).
    """
    name, how = (
        path.encode(_ENCODING, "surrogateescape"),
        _how(os.O_PATH | os.O_CLOEXEC | flags, 0, resolve | RESOLVE_CACHED),
    )
    fd = _syscall_at_once(_OPENAT2, AT_FDCWD, name, how, _HOW_BYTES)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


def rename_at(old_directory: int, old: str, new_directory: int, new: str, flags: int = 0) -> None:
    """Rename as renameat2(2), with RENAME_NOREPLACE or RENAME_EXCHANGE.

    Raises:
        OSError: As the kernel says; EINVAL if the file system cannot do what ``flags`` ask.
    """
    done = _libc.renameat2(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags)
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def give(fd: int, uid: int, gid: int) -> None:
    """Give an open object to a user and a group, itself: also a symlink, and one that is open by ``O_PATH`` only.

    Raises:
        OSError: As the kernel says; fchownat(2).
    """
    if _libc.fchownat(fd, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), _AT_EMPTY_PATH) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_file_system(fd: int) -> None:
    """Make everything durable that was written to the file system of an open file, as syncfs(2).

    Raises:
        OSError: As the kernel says.
    """
    if _libc.syncfs(fd) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
