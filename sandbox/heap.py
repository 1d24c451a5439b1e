"""Makes the zygote's heap whole before it is forked, so that a worker's memory lies together.

Imports leave thousands of small holes in the C heap. A worker would fill them, and each one costs a copy of a page of
its own: 150 pages and half a millisecond until a Lua state stands. So the zygote fills the holes itself, once, with
chunks that nobody uses; they are memory that it has already.
"""

from __future__ import annotations

import ctypes
from typing import Final

MAX_CHUNKS: Final = 20_000  # against an allocator that never says where its heap ends; 430 were needed when measured
MAX_BYTES: Final = 4 * 1024 * 1024
_LARGEST: Final = 64 * 1024
_SIZES: Final = (
    _LARGEST,
    *(2**n for n in range(15, 8, -1)),
    *range(496, 16, -16),
)  # large first: they must fit somewhere


def fill_holes() -> int:
    """Fill the holes of the C heap and return how many chunks it took."""
    malloc = ctypes.CDLL(None).malloc
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    end = malloc(_LARGEST) or 0  # what lies above is no hole
    chunks = used_bytes = 0
    for size in _SIZES:
        while chunks < MAX_CHUNKS and used_bytes < MAX_BYTES:
            chunks, used_bytes = chunks + 1, used_bytes + size
            if (malloc(size) or end) >= end:
                break
    return chunks
