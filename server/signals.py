"""How one part of the server hears of another's change, within the event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict


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


class Endings:
    """Tells who waits for a run that its end is on disk."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def watch(self, run: str) -> asyncio.Future[None]:
        """Return what is done once ``run`` has ended. Watch before the run can end, and :meth:`forget` after."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[run].add(future)
        return future

    def forget(self, run: str, future: asyncio.Future[None]) -> None:
        """Nobody waits on ``future`` any more."""
        waiting = self._waiting.get(run)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[run]

    def ended(self, run: str) -> None:
        """The end of ``run`` is on disk."""
        for future in self._waiting.get(run, ()):
            if not future.done():
                future.set_result(None)
