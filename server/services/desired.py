"""What each agent should have: roster, withdrawals, freeze, secrets and schedules; and how it gets it.

- All of it is wanted state: sent whole, at connection and after each change, so a lost message costs nothing.
- One version counts every change of schedules, targets and labels. The agent says which one it has.
- Pushing never holds up who made the change: an agent that is away or slow gets it when it is back.
- To one agent one push goes at a time, so that no older state arrives after a newer one; of pushes that wait, one is
  enough, because it reads what is wanted when its turn comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, insert, select, update

from protocol.errors import OutriderError
from server.core import Core
from server.endpoint.links import LiveLink
from server.limits import REQUEST_TIMEOUT_S, WITHDRAWALS_PART_BYTES
from server.services.targets import Target
from server.store.tables import agents, meta, schedules, secrets, withdrawals

LOG = structlog.get_logger()
_VERSION = "schedules_version"


def version(connection: Connection) -> int:
    """Return the version of what is wanted."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == _VERSION)).scalar()
    return int(found or 1)


def changed(connection: Connection) -> None:
    """Something about schedules or whom they are for has changed."""
    following = str(version(connection) + 1)
    if not connection.execute(update(meta).where(meta.c.key == _VERSION).values(value=following)).rowcount:
        connection.execute(insert(meta).values(key=_VERSION, value=following))


def schedules_for(connection: Connection, agent: str) -> dict[str, Any]:
    """Return the body of ``schedules.set`` for an agent."""
    row = connection.execute(select(agents).where(agents.c.id == agent)).one()
    wanted = [
        {**each.spec, "order": None if each.order is None else json.loads(each.order)}
        for each in connection.execute(select(schedules).order_by(schedules.c.id))
        if each.spec.get("enabled", True) and Target.parse(each.target).matches(row.id, row.name, row.labels)
    ]
    return {"version": version(connection), "schedules": wanted}


def secrets_for(connection: Connection, agent: str) -> dict[str, Any]:
    """Return the body of ``secrets.set`` for an agent."""
    rows = connection.execute(
        select(secrets).where(secrets.c.agent == agent, secrets.c.sealed.is_not(None)).order_by(secrets.c.name)
    )
    return {
        "secrets": [
            {"name": row.name, "version": row.version, "scripts": row.scripts, "sealed": bytes(row.sealed)}
            for row in rows
        ]
    }


def everything(core: Core, connection: Connection, agent: str) -> list[tuple[str, dict[str, Any]]]:
    """Return all requests that bring an agent to what is wanted, in the order in which they must arrive."""
    row = connection.execute(select(agents.c.frozen, agents.c.freeze_reason).where(agents.c.id == agent)).one()
    wanted: list[tuple[str, dict[str, Any]]] = []
    if core.trusted is not None and core.trusted.envelope is not None:
        wanted.append(("roster.set", {"envelope": json.loads(core.trusted.envelope.to_json())}))
    texts = connection.execute(select(withdrawals.c.envelope).order_by(withdrawals.c.id)).scalars().all()
    wanted += [("withdrawals.set", {"envelopes": list(map(json.loads, part))}) for part in _parts(texts)]
    wanted.append(("freeze.set", {"frozen": row.frozen, "reason": row.freeze_reason}))
    wanted.append(("secrets.set", secrets_for(connection, agent)))
    wanted.append(("schedules.set", schedules_for(connection, agent)))
    return wanted


def _parts(texts: Sequence[str]) -> list[list[str]]:
    """Return envelopes in parts that each fit into a frame, at least one; agents only ever add what they are sent."""
    parts: list[list[str]] = [[]]
    size = 0
    for text in texts:
        size += len(text.encode())
        if parts[-1] and size > WITHDRAWALS_PART_BYTES:
            parts.append([])
            size = len(text.encode())
        parts[-1].append(text)
    return parts


async def push(core: Core, agent: str, link: LiveLink) -> None:
    """Bring one agent to what is wanted; what it refuses is logged, and the rest is sent all the same."""
    turn = core.links.turn(link)
    if turn.is_awaited:
        return
    turn.is_awaited = True
    async with turn.lock:
        turn.is_awaited = False
        await _push_now(core, agent, link)


async def _push_now(core: Core, agent: str, link: LiveLink) -> None:
    wanted = await core.database.read(lambda connection: everything(core, connection, agent))
    for method, body in wanted:
        try:
            await link.request(method, body, REQUEST_TIMEOUT_S)
        except OutriderError as error:
            LOG.warning("an agent did not take what is wanted", agent=agent, method=method, why=str(error))


def push_all(core: Core) -> None:
    """Bring all connected agents to what is wanted, without waiting for them."""
    for agent in core.links:
        push_soon(core, agent)


def push_soon(core: Core, agent: str) -> None:
    """Bring an agent to what is wanted, if it is connected, without waiting for it."""
    link = core.links.find(agent)
    if link is not None:
        core.background(push(core, agent, link))
