"""Whether a write reaches the disk, for ``/readyz``.

Anybody may ask, so many share one write, and the next one is made a while later: strangers cannot keep the disk busy.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import Connection, insert, update

from protocol.errors import OutriderError
from server import clock, limits
from server.store.database import Database
from server.store.tables import meta

_KEY = "probe"


class Probe:
    """Remembers what the last look found."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._looked_at_s = float("-inf")  # monotonic
        self._problem: str | None = None

    async def problem(self, database: Database) -> str | None:
        """Return why nothing can be written now, None if it can."""
        async with self._lock:
            if time.monotonic() - self._looked_at_s >= limits.PROBE_EVERY_S:
                self._problem = await _write(database)
                self._looked_at_s = time.monotonic()
            return self._problem


async def _write(database: Database) -> str | None:
    try:
        async with asyncio.timeout(limits.PROBE_TIMEOUT_S):
            await database.write(_touch)
    except OutriderError as error:
        return error.message
    except TimeoutError:
        return f"no write in {limits.PROBE_TIMEOUT_S:g} s"
    return None


def _touch(connection: Connection) -> None:
    """Change something: a transaction that changes nothing never meets the disk."""
    now = str(clock.now_us())
    if not connection.execute(update(meta).where(meta.c.key == _KEY).values(value=now)).rowcount:
        connection.execute(insert(meta).values(key=_KEY, value=now))
