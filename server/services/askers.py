"""Whoever asks for a session and waits, on one connection, until the owner of its host has answered.

- An asker whose connection ends, however it does, has gone: the question is withdrawn, and the session does not open.
  One that has opened meanwhile, without the asker having been told, is closed.
- It is written down that an asker waits. So where the host is away just then, or this server ends, it is made good as
  soon as the host is back: nobody holds the session then.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import Connection, select, update

from policies.ceiling import MAX_CONSENT_TIMEOUT_S
from protocol.errors import DeadlineError, NotConnectedError, OutriderError
from server.core import Core
from server.services import live
from server.store.tables import sessions

LOG = structlog.get_logger()
LONGEST_S: Final = MAX_CONSENT_TIMEOUT_S + 60.0  # of waiting; the host's own answer comes before
_GONE: Final = "whoever asked for it has gone"
_CLOSER: Final = "outrider-server"  # principal of what this server does by itself
_ABANDONED: Final = (sessions.c.asker_waits.is_(True), sessions.c.status.not_in(live.OVER))  # unless somebody holds it


async def decided(core: Core, identity: str) -> dict[str, Any]:
    """Return a session once the owner of its host has answered; from then on its asker does not wait any more.

    Raises:
        DeniedError: The answer was no.
        DeadlineError: The host told none.
    """
    try:
        await live.decided(core, identity, LONGEST_S)
    except TimeoutError:
        raise DeadlineError("the host told no answer of its owner in time") from None

    def store(connection: Connection) -> dict[str, Any]:
        _waits(connection, identity, False)
        return live.view(live.find(connection, identity))

    return await core.database.write(store)


async def left(core: Core, identity: str) -> None:
    """The asker has gone without having been told: end what was asked for."""
    core.held.add(identity)  # until this has ended, so that it is not ended a second time for a host that comes back
    try:
        await core.database.write(lambda connection: _waits(connection, identity, True))
        await _end(core, identity)
    finally:
        core.held.discard(identity)


async def end_abandoned(core: Core, agent: str) -> None:
    """End what nobody waits for any more, on a host that is back."""

    def look(connection: Connection) -> list[str]:
        query = select(sessions.c.id).where(sessions.c.agent == agent, *_ABANDONED)
        return [str(each) for each in connection.execute(query).scalars()]

    for identity in await core.database.read(look):
        if identity not in core.held:
            core.held.add(identity)
            try:
                await _end(core, identity)
            finally:
                core.held.discard(identity)


async def _end(core: Core, identity: str) -> None:
    """Close a session, if that is still to be done; whoever calls this holds it."""
    query = select(sessions.c.id).where(sessions.c.id == identity, *_ABANDONED)
    if await core.database.read(lambda connection: connection.execute(query).first()) is None:
        return
    try:
        await live.close_session(core, identity, _GONE, _CLOSER)
    except NotConnectedError:
        LOG.info("a session whose asker has gone is closed once its host is back", session=identity)
    except OutriderError as error:  # as above: a host that does not answer comes back with another link
        LOG.warning("a session whose asker has gone could not be closed", session=identity, why=str(error))
    else:
        await core.database.write(lambda connection: _waits(connection, identity, False))


def _waits(connection: Connection, identity: str, is_so: bool) -> None:
    connection.execute(update(sessions).where(sessions.c.id == identity).values(asker_waits=is_so))
