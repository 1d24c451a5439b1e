"""Puts the interpreter's own code into huge pages, so that a forked process need not map it piece by piece.

Code is mapped from its file: each process that runs it takes a fault for every 64 KiB of it that it touches first, and
small entries crowd the processor's table of them. A worker runs so little that this is a tenth of its faults. So the
zygote, once, before it has any wall, puts a copy that can be run and not written in the place of the file's pages. The
copy is writable only before it can be run, and only where nothing else knows of it.
"""

from __future__ import annotations

import ctypes
from typing import Final, NamedTuple

HUGE_BYTES: Final = 2 * 1024 * 1024  # x86_64, and aarch64 with pages of 4 KiB
_MAPS: Final = "/proc/self/maps"
_MAX_MAPS_BYTES: Final = 1024 * 1024
_PRIVATE_MEMORY: Final = 0x02 | 0x20  # MAP_PRIVATE | MAP_ANONYMOUS; asm-generic/mman-common.h
_READ_WRITE: Final = 1 | 2
_READ_RUN: Final = 1 | 4
_COLLAPSE: Final = 25  # MADV_COLLAPSE, linux/mman.h; Linux 6.1
_MOVE_HERE: Final = 1 | 2  # MREMAP_MAYMOVE | MREMAP_FIXED; linux/mman.h
_FAILED: Final = ctypes.c_void_p(-1).value

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
_libc.mremap.restype = ctypes.c_void_p


class Mapping(NamedTuple):
    """One line of proc_pid_maps(5)."""

    begin: int
    end: int
    rights: str  # ``r-xp``
    file: str  # empty if it is of none


def mappings(text: str) -> list[Mapping]:
    """Return what ``text``, of a process's maps, lists. Pure.

    Raises:
        ValueError: It is no such text.
    """
    found = []
    for line in text.splitlines():
        place, rights, _offset, _device, _inode, *file = line.split(None, 5)
        begin, end = (int(each, 16) for each in place.split("-"))
        found.append(Mapping(begin, end, rights, file[0] if file else ""))
    return found


def code_around(listed: list[Mapping], inside: int) -> Mapping | None:
    """Return the code around the address ``inside``, if there is a huge page of it; None if there is none. Pure.

    What lies before the code in its file (the tables that a linker reads) is taken along if its first page needs it.
    """
    around = [place for place, each in enumerate(listed) if each.begin <= inside < each.end]
    if not around or listed[around[0]].rights != "r-xp" or not listed[around[0]].file.startswith("/"):
        return None
    code, before = listed[around[0]], listed[around[0] - 1] if around[0] else None
    begin, first = code.begin, code.begin // HUGE_BYTES * HUGE_BYTES
    if before is not None and (before.end, before.file, before.rights) == (code.begin, code.file, "r--p"):
        begin = first if before.begin <= first else begin
    if -(-begin // HUGE_BYTES) >= code.end // HUGE_BYTES:
        return None
    return code._replace(begin=begin)


def join() -> int:
    """Put the interpreter's code into huge pages, and return how many bytes of it; 0 where that cannot be.

    For a process with one thread. Needs /proc.
    """
    try:
        with open(_MAPS, encoding="utf-8", errors="surrogateescape") as file:
            listed = mappings(file.read(_MAX_MAPS_BYTES))
    except (OSError, ValueError):
        return 0
    code = code_around(listed, ctypes.cast(ctypes.pythonapi.PyEval_EvalCode, ctypes.c_void_p).value or 0)
    return 0 if code is None else _replaced(code.begin, code.end - code.begin)


def _replaced(begin: int, size: int) -> int:
    room = (-(-size // HUGE_BYTES) + 2) * HUGE_BYTES  # as each byte of it must lie in its page as it does in the code
    given = _libc.mmap(None, room, _READ_WRITE, _PRIVATE_MEMORY, -1, 0)
    if given == _FAILED:
        return 0
    first = -(-given // HUGE_BYTES) * HUGE_BYTES
    copy = first + begin % HUGE_BYTES
    ctypes.memmove(copy, begin, size)
    is_moved = (
        all(_libc.madvise(at, HUGE_BYTES, _COLLAPSE) == 0 for at in range(first, copy + size, HUGE_BYTES))
        and _libc.mprotect(copy, size, _READ_RUN) == 0
        and _libc.mremap(copy, size, size, _MOVE_HERE, begin) == begin
    )
    rest = ((given, copy), (copy + size, given + room)) if is_moved else ((given, given + room),)
    for low, high in rest:
        if low < high:
            _libc.munmap(low, high - low)
    return size if is_moved else 0
