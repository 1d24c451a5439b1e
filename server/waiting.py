"""Connections that have not said yet what they are for, or not proved it: bounded for each one's and in all.

One more than there may be ends the oldest: that of the same address or person where theirs are too many, else that of
whoever has most of them. So who floods drives out their own, and an honest peer, who has said its word in a moment,
stays. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from protocol.errors import DeadlineError, UnavailableError


class Waiting:
    """Those of one kind."""

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[object, asyncio.Timeout]] = {}  # whose -> each, oldest first, and its time
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @asynccontextmanager
    async def hold(
        self, whose: Hashable, timeout_s: float, late: str, *, most: int, most_of_one: int
    ) -> AsyncIterator[None]:
        """Let what is inside wait for one connection.

        Args:
            whose: Address or person.
            timeout_s: Above 0.
            late: What did not come, as the error says it: ``no proof``.
            most: Of all, 1 or more.
            most_of_one: Of ``whose``, 1 to ``most``.

        Raises:
            DeadlineError: It took too long.
            UnavailableError: It was one of too many, and the oldest.
        """
        if len(self._of.get(whose, ())) >= most_of_one:
            self._end_oldest(whose)
        elif self._count >= most:
            self._end_oldest(max(self._of, key=lambda each: len(self._of[each])))
        this, made_way = object(), False
        try:
            async with asyncio.timeout(timeout_s) as bound:
                self._of.setdefault(whose, {})[this] = bound
                self._count += 1
                try:
                    yield
                finally:
                    made_way = self._remove(whose, this) is None
        except TimeoutError:
            if made_way:
                raise UnavailableError("too many connections say nothing; the oldest makes way: try again") from None
            raise DeadlineError(f"{late} in {timeout_s:g} s") from None

    def _end_oldest(self, whose: Hashable) -> None:
        bound = self._remove(whose, next(iter(self._of[whose])))
        if bound is not None:
            bound.reschedule(asyncio.get_running_loop().time())

    def _remove(self, whose: Hashable, this: object) -> asyncio.Timeout | None:
        theirs = self._of.get(whose, {})
        bound = theirs.pop(this, None)
        if bound is not None:
            self._count -= 1
            if not theirs:
                del self._of[whose]
        return bound
