"""The time that the server believes in, kept over its end: one row, written once a minute and never for a request.

Removing the row is how a person says that the clock was wrong for long and is right now (``outrider-server clock``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from protocol.errors import UnavailableError
from server import clock, limits
from server.core import Core
from server.store.tables import meta

_KEY: Final = "believed_us"  # in the table meta
LOG = structlog.get_logger()


def kept(connection: Connection) -> int | None:
    """Return the newest time that was believed for long, in microseconds since 1970 UTC; None if none is kept."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == _KEY)).scalar()
    return None if found is None else int(found)


def take_up(connection: Connection) -> None:
    """Believe what was believed when the server ended."""
    clock.believed.begin(kept(connection), clock.lived_us())


def forget(connection: Connection) -> int | None:
    """Have the host's clock believed anew; return what was kept."""
    before = kept(connection)
    connection.execute(delete(meta).where(meta.c.key == _KEY))
    return before


async def look(core: Core) -> None:
    """Look at the clocks once, and keep what is believed.

    Raises:
        UnavailableError: The disk refuses; what is believed meanwhile is right all the same.
    """
    await core.database.write(_look)
    behind_us = clock.believed.behind_us(clock.host_us(), clock.lived_us())
    if behind_us and not core.is_clock_behind:
        behind_s = round(behind_us / 1e6)
        LOG.warning(
            "the clock of the host was set back; what expired stays expired (outrider-server clock)", behind_s=behind_s
        )
        await core.database.write(
            lambda connection: core.ledger.append(
                connection, call="server.clock", principal="outrider-server", arguments={"behind_s": behind_s}
            )
        )
    core.is_clock_behind = behind_us > 0


def _look(connection: Connection) -> None:
    before = kept(connection)
    following = clock.believed.look(before, clock.host_us(), clock.lived_us())
    if following is None or following == before:
        return
    if before is None:
        connection.execute(insert(meta).values(key=_KEY, value=str(following)))
    else:
        connection.execute(update(meta).where(meta.c.key == _KEY).values(value=str(following)))


async def watch(core: Core) -> None:
    """Look once a minute. Never ends."""
    while True:
        await asyncio.sleep(limits.CLOCK_LOOK_S)
        with suppress(UnavailableError):  # a full disk; the next time will do
            await look(core)
