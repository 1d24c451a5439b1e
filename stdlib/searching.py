"""Searches in what others wrote, by patterns that scripts wrote, for calls that live on the event loop.

A search takes linear time, and yet a text of half a MiB by a pattern that means a large program took 23 s, for which
the loop, and so every run of the host, would stand still. So only a short one is made there; others go to a thread, one
pattern after the other, until nobody waits any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kernel.visits import begun_apart

if TYPE_CHECKING:
    from protocol.regex import Found, Regex

AT_ONCE_STEPS: Final = 250_000  # bytes times instructions; RE2 took up to 8 ns for each


async def searched(patterns: Sequence[Regex], text: bytes) -> list[Found | None]:
    """Return the first match of each pattern in ``text``, None for one that has none.

    Cancellation:
        Safe: the thread ends with the pattern that it is at.
    """
    if len(text) * sum(pattern.size for pattern in patterns) <= AT_ONCE_STEPS:
        return [pattern.search(text) for pattern in patterns]
    is_over = False

    def search() -> list[Found | None]:
        found: list[Found | None] = []
        for pattern in patterns:
            if is_over:
                break
            found.append(pattern.search(text))
        return found

    searching = begun_apart(search)
    try:
        return await asyncio.shield(searching)
    except asyncio.CancelledError:
        is_over = True
        raise
