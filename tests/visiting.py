"""Waits until no thread of ``kernel.visits`` is busy; if one stays so, says since which test, and what they do."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback

from kernel.visits import VISITS

PATIENCE_S = 60.0

_busy_since: list[str] = []  # the test after which threads were first busy, if they still are


def note(test: str) -> None:
    """Look, after a test, whether its threads are free."""
    if VISITS.wait(0):
        _busy_since.clear()
    elif not _busy_since:
        _busy_since.append(test)


async def all_back() -> None:
    """Return once all threads are free; an error tells which test left one busy."""
    if await asyncio.to_thread(VISITS.wait, PATIENCE_S):
        return
    frames = sys._current_frames()
    visits = [thread for thread in threading.enumerate() if thread.name == "visit" and thread.ident in frames]
    told = ["".join(traceback.format_stack(frames[thread.ident])) for thread in visits if thread.ident is not None]
    raise AssertionError(f"threads are busy, after {_busy_since or 'this test'}:\n" + "\n".join(told))
