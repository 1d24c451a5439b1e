"""How one part of the server hears of another's change, within the event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any


class Bell:
    """Wakes everybody who waits; carries nothing. Take a ticket, look, and only then wait: no change is missed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Return what will be set at the next ring."""
        return self._next

    def ring(self) -> None:
        """Something changed."""
        self._next.set()
        self._next = asyncio.Event()


async def wait_for_any(tickets: Iterable[asyncio.Event], timeout_s: float) -> bool:
    """Wait for one of several; return False if none came in time."""
    waits = [asyncio.ensure_future(ticket.wait()) for ticket in tickets]
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for each in waits:
            each.cancel()


Shown = dict[str, Any]
"""A run as the API shows it."""


class Endings:
    """Tells who waits for a run that its end is on disk, or is told ahead and on its way there."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Shown | None]]] = defaultdict(set)

    def watch(self, run: str) -> asyncio.Future[Shown | None]:
        """Return what is done once ``run`` has ended. Watch before the run can end, and :meth:`forget` after.

        Its result is the run as it will be read, if it is told ahead (:mod:`server.endpoint.ahead`); None: read it.
        """
        future: asyncio.Future[Shown | None] = asyncio.get_running_loop().create_future()
        self._waiting[run].add(future)
        return future

    def forget(self, run: str, future: asyncio.Future[Shown | None]) -> None:
        """Nobody waits on ``future`` any more."""
        waiting = self._waiting.get(run)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[run]

    @property
    def are_watched(self) -> bool:
        """Whether anybody waits for any of them."""
        return bool(self._waiting)

    def is_watched(self, run: str) -> bool:
        """Tell whether anybody waits for the end of ``run``."""
        return run in self._waiting

    def ended(self, run: str, shown: Shown | None = None) -> None:
        """The end of ``run`` is on disk; or it is told ahead, and ``shown`` is what will be read."""
        for future in self._waiting.get(run, ()):
            if not future.done():
                future.set_result(shown)
