"""Turns, so many of each person at once: what takes a reader of the database for long is waited for among one's own.

There are few readers, and a search through all records may take one for seconds. Somebody who asks for many at once
waits for themselves, and the other readers are there for everybody else. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager


class Fair:
    """One kind of them.

    Args:
        most: Tells how many of one person's there may be at once, 1 or more.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._of: dict[Hashable, tuple[asyncio.Semaphore, list[None]]] = {}  # by person; one item for each that is here

    def __len__(self) -> int:
        return len(self._of)

    @asynccontextmanager
    async def turn(self, whose: Hashable) -> AsyncIterator[None]:
        """Let what is inside go on when it is its turn, in the order in which they came."""
        semaphore, here = self._of.setdefault(whose, (asyncio.Semaphore(self._most()), []))
        here.append(None)
        try:
            async with semaphore:
                yield
        finally:
            here.pop()
            if not here:
                del self._of[whose]
