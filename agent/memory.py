"""Memory: what is loaded stays out of the way of the collector, what was freed goes back to the kernel."""

from __future__ import annotations

import ctypes
import gc

from agent.limits import GC_THRESHOLDS


def keep_what_is_loaded() -> None:
    """Leave what exists now out of all later collections: a full one would walk through all of it while a run waits."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def give_back() -> bool:
    """Return free memory of the C heap to the kernel; tell whether there was any. Takes a millisecond at most.

    Source:
        malloc_trim(3); other C libraries than glibc have none, and keep what they have.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim(0)) if trim is not None else False
