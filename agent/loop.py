"""Which event loop the agent runs on."""

from __future__ import annotations

from typing import Any


def loop_factory() -> Any:
    """Return what makes uvloop's loop where there is one; None means asyncio's own."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        return None
    return uvloop.new_event_loop
