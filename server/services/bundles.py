"""Which bundles a host may have: what its schedules and the orders to it name, and what that requires; nothing else.

- A digest is no secret: every host hears of all approvals, and those hold it. So who knows one gets nothing by that.
- What an agent tells counts for nothing: of a run that it says it began, the digest is its own word. Only runs that
  this server has ordered count (``runs.ordered``), until they have ended; a lost one may still be on its host.
- What is not there and what is not for this host are refused alike, and looked for alike.
- All of it is looked up in what is on disk, so an agent that comes back, and a server that was started anew, find the
  same. What schedules name is remembered until schedules, names or labels change, or a grant ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, bindparam, select, text

from protocol.errors import NotFoundError, OutriderError
from server import clock
from server.core import Core
from server.services import desired
from server.services import scripts as script_service
from server.store.prepared import Prepared
from server.store.tables import runs

MAX_REQUIRED: Final = 16_384  # bundles that all that one host may have requires; what is beyond it gets no host
# As text, for a statement with parameters does not show SQLite that the index holds what it asks for.
_IS_ORDERED = text("ordered = 1 AND status IN ('queued', 'running', 'lost')")
_ORDERED = Prepared(
    select(runs.c.id).where(runs.c.agent == bindparam("of"), runs.c.digest == bindparam("asked"), _IS_ORDERED).limit(1)
)
_ALL_ORDERED = Prepared(select(runs.c.digest).distinct().where(runs.c.agent == bindparam("of"), _IS_ORDERED))


async def require_for(core: Core, agent: str, digest: str) -> None:
    """Return if a host may have a bundle.

    Raises:
        NotFoundError: It may not, or there is none; in the same words.
    """
    if await core.database.read(lambda connection: _is_named(core, connection, agent, digest)):
        return
    # One at a time: others shall not have all readers taken by it. And of one host, or it would have all the turns.
    async with core.handing.turn(agent), core.handing.searching:
        if await core.database.read(lambda connection: _is_required(core, connection, agent, digest)):
            return
    raise NotFoundError(f"there is no bundle {digest[:80]} for this host")


def _is_named(core: Core, connection: Connection, agent: str, digest: str) -> bool:
    if digest in _scheduled(core, connection, agent):
        return True
    return _ORDERED.first(connection, of=agent, asked=digest) is not None


def _is_required(core: Core, connection: Connection, agent: str, digest: str) -> bool:
    ordered = (row.digest for row in _ALL_ORDERED.all(connection, of=agent))
    return _leads_to(core, connection, {*_scheduled(core, connection, agent), *ordered}, digest)


def _leads_to(core: Core, connection: Connection, roots: Iterable[str], digest: str) -> bool:
    """Tell whether what some bundles require, directly or not, holds another."""
    seen = set(roots)
    waiting = list(seen)
    while waiting and len(seen) <= MAX_REQUIRED:
        for required in _requires(core, connection, waiting.pop()):
            if required == digest:
                return True
            if required not in seen:
                seen.add(required)
                waiting.append(required)
    return False


def _scheduled(core: Core, connection: Connection, agent: str) -> frozenset[str]:
    """Return the digests that the schedules of a host name."""
    version = desired.version(connection)
    held = core.handing.named(agent, version, clock.now_us())
    if held is None:
        held, until_us = desired.scheduled_digests(connection, agent)
        core.handing.name(agent, version, until_us, held)
    return held


def _requires(core: Core, connection: Connection, digest: str) -> tuple[str, ...]:
    """Return what a bundle requires, by digest; nothing if it is not here, or somebody has spoilt it."""
    held = core.handing.required(digest)
    if held is None:
        try:
            row = script_service.by_digest(connection, digest)
            manifest = core.repository.bundle(row.name, row.version, digest).manifest
        except OutriderError:  # it may be published yet; and whoever fetches it is told what is wrong with it
            return ()
        held = tuple(item.digest for item in manifest.requires)
        core.handing.require(digest, held)
    return held
