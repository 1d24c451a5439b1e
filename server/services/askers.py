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
        connection.execute(update(sessions).where(sessions.c.id == identity).values(asker_waits=False))
        return live.view(live.find(connection, identity))

    return await core.database.write(store)


async def left(core: Core, identity: str) -> None:
    """The asker has gone without having been told: end what was asked for."""
    await core.database.write(
        lambda connection: connection.execute(
            update(sessions).where(sessions.c.id == identity).values(asker_waits=True)
        )
    )
    core.held.discard(identity)
    await _end(core, identity)


async def end_abandoned(core: Core, agent: str) -> None:
    """End what nobody waits for any more, on a host that is back."""

    def look(connection: Connection) -> list[str]:
        query = select(sessions.c.id).where(
            sessions.c.agent == agent, sessions.c.asker_waits.is_(True), sessions.c.status.not_in(live.OVER)
        )
        return [str(each) for each in connection.execute(query).scalars()]

    for identity in await core.database.read(look):
        if identity not in core.held:
            await _end(core, identity)


async def _end(core: Core, identity: str) -> None:
    try:
        await live.close_session(core, identity, _GONE, _CLOSER)
    except NotConnectedError:
        LOG.info("a session whose asker has gone is closed once its host is back", session=identity)
    except OutriderError as error:  # as above: a host that does not answer comes back with another link
        LOG.warning("a session whose asker has gone could not be closed", session=identity, why=str(error))
