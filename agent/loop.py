"""Which event loop the agent runs on, and how its process ends."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn


def loop_factory() -> Any:
    """Return what makes uvloop's loop where there is one; None means asyncio's own."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        return None
    return uvloop.new_event_loop


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run something on a loop of its own; raises what it raises. The loop stays open: see :func:`leave`."""
    runner = asyncio.Runner(loop_factory=loop_factory())
    runner.run(work)


def leave(status: int) -> NoReturn:
    """End the process, once what is registered for its end is done and what it said is out.

    A loop that looks up a name cannot be closed, nor can its threads be joined, before the resolver has answered or
    given up: without an answer that takes half a minute, all the time that service managers give. The agent looks up
    its server's name whenever there is no link, and what matters is on the disk by now.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(status)
