"""Memory of either side of a transfer: what was freed is kept for what comes next, up to a bound."""

from __future__ import annotations

import ctypes
from typing import Final

KEPT_BYTES: Final = 8 << 20  # free at the end of the heap, before any of it goes back to the kernel
OWN_BYTES: Final = 2 << 20  # of one thing that is mapped by itself, and goes back as soon as it is freed
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed() -> bool:
    """Let pieces of files, of half a MiB, be made in memory that is there; tell whether that can be said here.

    Without it each is mapped, cleared page by page, and unmapped: a fifth of the processor time of a download.

    Source:
        mallopt(3); other C libraries than glibc have none, and do as they do.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(option is not None and option(_MMAP_THRESHOLD, OWN_BYTES) and option(_TRIM_THRESHOLD, KEPT_BYTES))
