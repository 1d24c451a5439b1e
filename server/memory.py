"""What a server has loaded stays out of the way of the collector."""

from __future__ import annotations

import gc

from server.limits import GC_THRESHOLDS


def settle() -> None:
    """Let what is loaded now stay: a full collection would walk through all of it, some 70 ms without an answer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
