"""Which event loop a command runs on that carries bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` on uvloop's loop where there is one, else on asyncio's own, and return what it returns."""
    try:
        import uvloop

        factory: Any = uvloop.new_event_loop
    except ImportError:  # no wheel for this platform
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
