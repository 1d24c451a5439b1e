"""Lays out the zygote's memory so that forking it, and ending a fork, costs little.

Each page that is in use costs a fork twice: its entry is copied, and dropped when the worker ends; each page that a
worker writes is copied whole. So:

- Python's arenas are taken from the C heap while the zygote loads (:func:`join_arenas`), so that all it holds lies in
  one piece, which the kernel can then hold in a few huge pages (:func:`join_pages`): 4,000 entries fewer to copy.
- Python's own pools have holes as well (:func:`fill_pools`). One that a worker fills is a copy of a page; and where few
  are left in a pool, a loop that makes and drops numbers closes it and opens it again at each turn, for a twentieth of
  its time.
- Imports leave thousands of small holes in the C heap. A worker would fill them, and each one costs a copy of a page of
  its own: 150 pages and half a millisecond until a Lua state stands. So the zygote fills the holes itself, once, with
  chunks that nobody uses (:func:`fill_holes`); they are memory that it has already.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any, Final

MAX_CHUNKS: Final = 20_000  # against an allocator that never says where its heap ends; 430 were needed when measured
MAX_BYTES: Final = 4 * 1024 * 1024
_LARGEST: Final = 64 * 1024
_SIZES: Final = (
    _LARGEST,
    *(2**n for n in range(15, 8, -1)),
    *range(496, 16, -16),
)  # large first: they must fit somewhere

_BLOCK_BYTES: Final = 16  # CPython's Objects/obmalloc.c: what it serves itself are blocks of one to 32 of these
_LARGEST_BLOCK: Final = 512
_BLOCKS_IN_A_ROW: Final = 64  # so many new ones lie side by side at the end of a pool, of large ones fewer
_ROW_BYTES: Final = 8 * 1024  # about: half a pool
MAX_BLOCKS: Final = 4_000  # of one size; at most 1,000 were needed when measured

_POOL_BYTES: Final = 16 * 1024  # CPython's Objects/obmalloc.c: what an arena is cut into, aligned
_LEARNT_BYTES: Final = 2 * 1024 * 1024  # glibc serves from its heap what is smaller than the largest mapping it freed
_HUGE_BYTES: Final = 2 * 1024 * 1024  # of one huge page: x86_64, and aarch64 with pages of 4 KiB
_COLLAPSE: Final = 25  # MADV_COLLAPSE, linux/mman.h; Linux 6.1

_libc: Final = ctypes.CDLL(None)
_libc.malloc.argtypes, _libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
_libc.free.argtypes, _libc.free.restype = [ctypes.c_void_p], None
_libc.sbrk.argtypes, _libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class _Allocator(ctypes.Structure):
    """``PyObjectArenaAllocator``: both functions get the context first."""

    _fields_ = [("context", ctypes.c_void_p), ("allocate", ctypes.c_void_p), ("release", ctypes.c_void_p)]


_first: Final = _Allocator()  # CPython's own
_plugs: list[object] = []
_begin: list[int] = []  # where the heap ended when arenas were joined to it


def join_arenas() -> None:
    """From now on, have Python's arenas from the C heap, one beside the other. Only before there is a second thread.

    No C of ours is needed: ``memalign(alignment, size)`` takes its arguments as an arena's allocator gets them. What is
    given back meanwhile is kept, for which a function that does nothing stands in; nearly nothing is.
    """
    ctypes.pythonapi.PyObject_GetArenaAllocator(ctypes.byref(_first))
    _libc.free(_libc.malloc(_LEARNT_BYTES))
    _begin.append(_libc.sbrk(0))
    allocate, nothing = (ctypes.cast(function, ctypes.c_void_p) for function in (_libc.memalign, _libc.labs))
    ctypes.pythonapi.PyObject_SetArenaAllocator(ctypes.byref(_Allocator(_POOL_BYTES, allocate, nothing)))


def part_arenas() -> None:
    """Have arenas from CPython's own allocator again: what a script gives back is then given back to the kernel."""
    if _begin:
        ctypes.pythonapi.PyObject_SetArenaAllocator(ctypes.byref(_first))


def join_pages() -> int:
    """Put the heap into huge pages and return how many the kernel made; 0 where it cannot. Nothing else changes."""
    if not _begin:
        return 0
    first = _begin[0] // _HUGE_BYTES * _HUGE_BYTES  # the kernel refuses it if not all of it is heap
    end = _libc.sbrk(0) // _HUGE_BYTES * _HUGE_BYTES
    return sum(_libc.madvise(at, _HUGE_BYTES, _COLLAPSE) == 0 for at in range(first, end, _HUGE_BYTES))


def fill_holes() -> int:
    """Fill the holes of the C heap and return how many chunks it took."""
    end = _libc.malloc(_LARGEST) or 0  # what lies above is no hole
    chunks = used_bytes = 0
    for size in _SIZES:
        while chunks < MAX_CHUNKS and used_bytes < MAX_BYTES:
            chunks, used_bytes = chunks + 1, used_bytes + size
            if (_libc.malloc(size) or end) >= end:
                break
    return chunks


def fill_pools() -> int:
    """Fill the holes of Python's pools with what is kept for ever; return how many blocks that took.

    A pool that is new is told by blocks that lie one behind the other. These are given back: the next ones are there.
    """
    before = len(_plugs)
    for size in range(_LARGEST_BLOCK, 0, -_BLOCK_BYTES):
        make, enough = _maker(size), min(_BLOCKS_IN_A_ROW, _ROW_BYTES // size)
        at = in_a_row = 0
        for _ in range(MAX_BLOCKS):
            made = make()
            in_a_row = in_a_row + 1 if id(made) == at + size else 1
            at = id(made)
            _plugs.append(made)
            if in_a_row == enough:
                del made, _plugs[-enough:]
                break
    return len(_plugs) - before


def _maker(size: int) -> Callable[[], Any]:
    """Return what makes an object that is one block of ``size`` bytes, and none that is kept for the next one."""
    if size == _BLOCK_BYTES:
        return object
    if size == 2 * _BLOCK_BYTES:
        return partial(int, "1000003")
    return partial(bytes, size - _BLOCK_BYTES // 2 - b"".__sizeof__())
