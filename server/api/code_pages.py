"""Code that is compared, page by page: each pair of versions once for all of its pages, and few at the same time.

Comparing lines is Python's own work, and of files that were made for it takes 18 s, whoever looks: with a thread of
everybody's for each who asks, files, blobs and recordings would wait for it. So it has threads of its own, and each
person one turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy import Connection

from protocol.bundle import Bundle
from protocol.errors import ArgumentError
from server.api.pages import Page, make_cursor, read_cursor
from server.core import Core
from server.services import reviews
from server.services.remembered import Remembered
from server.services.visibility import Viewer

MAX_PARTS: Final = 8  # of one page
MAX_AT_ONCE: Final = 2  # comparisons; each holds a thread, and much of a processor
_threads: Final = ThreadPoolExecutor(MAX_AT_ONCE, "compare")
_HELD: Final = Remembered(4)  # pairs, each up to two bundles as text; they depend on nothing but two digests


async def code_page(
    core: Core, viewer: Viewer, find: Callable[[Connection], tuple[Bundle | None, Bundle]], limit: int,
    cursor: str | None,
) -> Page:  # fmt: skip
    """Return a page of what differs between two bundles, or of a whole one.

    Args:
        core: The server.
        viewer: Who looks; all strangers are one.
        find: Returns the bundles, None before a whole one, if the viewer may see them.
        limit: Most parts.
        cursor: Of the page before.

    Raises:
        ArgumentError: The cursor is none of such a list.
        OutriderError: What ``find`` raises.
    """
    start = read_cursor(cursor, [int])[0] if cursor is not None else 0
    if start < 0:
        raise ArgumentError("the cursor is not one of this list", parameter="cursor")
    async with core.comparing.turn(viewer.principal):
        before, after = await core.database.read(find)
        parts = await _compared(before, after)
    end = start + min(limit, MAX_PARTS)
    return Page(items=parts[start:end], next=make_cursor([end]) if end < len(parts) else None)


async def _compared(before: Bundle | None, after: Bundle) -> list[dict[str, Any]]:
    key = (None if before is None else before.digest, after.digest)
    held: list[dict[str, Any]] | None = _HELD.find(key)
    if held is None:
        held = await asyncio.get_running_loop().run_in_executor(_threads, reviews.code_parts, before, after)
        _HELD.keep(key, held)
    return held
