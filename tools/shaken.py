"""Delays at random where threads and loops hand over to each other: what a test takes for an order, it often is not.

A machine of another speed, or with other work, lets another one of two be first. ``make shake`` has them change places
more often than any machine does: a result of a thread comes late, a write waits, a loop stands still for a moment. All
of it may happen; a test that fails then fails somewhere some day.

A plugin for pytest: ``SHAKE=seed python -m pytest -p tools.shaken``. Only this process is shaken, not the programs
that tests start.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from kernel import visits
from server.store.database import Database

OFTEN: Final = 0.25  # of the times that something is handed over
LONGEST_S: Final = 0.012  # long enough for what others do in between, which takes milliseconds
STANDSTILLS: Final = 0.004  # of a loop's turns
STANDSTILL_S: Final = 0.03


def pytest_configure() -> None:
    """Begin before any test does."""
    begin(os.environ["SHAKE"])


def begin(seed: str) -> None:
    """Shake this process from now on; the same seed gives the same delays, as far as threads come in the same order."""
    by_chance = random.Random(seed)

    def wait() -> None:
        if by_chance.random() < OFTEN:
            time.sleep(by_chance.random() ** 3 * LONGEST_S)  # mostly short ones

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def late(*given: Any) -> Any:
            wait()
            return function(*given)

        return late

    loop: Any = asyncio.BaseEventLoop
    threadsafe, in_executor, turn = loop.call_soon_threadsafe, loop.run_in_executor, loop._run_once

    def call_soon_threadsafe(self: Any, *given: Any, **more: Any) -> Any:
        if threading.get_ident() != self._thread_id:
            wait()
        return threadsafe(self, *given, **more)

    def run_in_executor(self: Any, executor: Any, function: Callable[..., Any], *given: Any) -> Any:
        return in_executor(self, executor, before(function), *given)

    def run_once(self: Any) -> None:
        if by_chance.random() < STANDSTILLS:
            time.sleep(by_chance.random() ** 2 * STANDSTILL_S)
        turn(self)

    loop.call_soon_threadsafe, loop.run_in_executor, loop._run_once = call_soon_threadsafe, run_in_executor, run_once
    shaken: Any = visits._Bell
    shaken.ring = before(shaken.ring)
    writer: Any = Database
    writer._run = before(writer._run)
