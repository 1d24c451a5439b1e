"""Secrets, as sealed: kept for each agent, pushed to it, readable by nobody here.

- A box is opaque to the server. What it is for (agent, name, version, scripts) is bound into it by whoever sealed it,
  so what is changed here only makes a box that opens nowhere.
- Versions of a name only grow, over removal too: agents refuse what is older than what they have seen.
- To set a secret on some agents leaves it on the others as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from protocol.errors import ArgumentError, ConflictError, NotFoundError, TooLargeError
from protocol.sealing import MAX_BOX_BYTES, Context, attested, check_name
from protocol.signing import Envelope, decode_base64
from server import clock, limits
from server.core import Core
from server.services import agents as agent_service
from server.services import desired
from server.store.tables import agents, secrets


def checked_key(connection: Connection, agent: str, statement: Any) -> str:
    """Return an agent's statement about its sealing key as it is kept.

    Raises:
        TrustError: It is not the agent's own, or about another one.
        ArgumentError: It is no statement.
    """
    envelope = Envelope.from_json(statement)
    identity = agent_service.key_of(connection, agent)
    if identity is None:
        raise NotFoundError("this agent was removed")
    attested(envelope, agent, identity)
    return envelope.to_json()


def next_version(connection: Connection, name: str) -> int:
    """Return the version that the next secret of this name must have at least."""
    newest = connection.execute(select(func.max(secrets.c.version)).where(secrets.c.name == name)).scalar()
    return int(newest or 0) + 1


async def put(core: Core, asked: Mapping[str, Any], principal: str) -> dict[str, Any]:
    """Keep boxes of one secret and send each to its agent.

    Raises:
        ArgumentError: The name, the scripts or a box does not have its form; or an agent is not there.
        ConflictError: An agent had this version, or a newer one, before.
        TooLargeError: An agent would have more secrets than it takes.
    """
    name, version, scripts = check_name(asked["name"]), asked["version"], tuple(asked["scripts"])
    boxes = {agent: _box(agent, text) for agent, text in asked["sealed"].items()}
    if not boxes:
        raise ArgumentError("sealed for no agent", parameter="sealed")
    for agent in boxes:
        Context(agent, name, version, scripts)  # its form is what is looked at

    def store(connection: Connection) -> dict[str, Any]:
        for agent in boxes:
            _check_room(connection, agent, name)
            _check_newer(connection, agent, name, version)
        row = {"version": version, "scripts": list(scripts), "principal": principal, "created_us": clock.now_us()}
        for agent, box in sorted(boxes.items()):
            connection.execute(delete(secrets).where(secrets.c.name == name, secrets.c.agent == agent))
            connection.execute(insert(secrets).values(name=name, agent=agent, sealed=box, **row))
        core.ledger.append(
            connection, call="secret.set", principal=principal,
            arguments={"name": name, "version": version, "scripts": list(scripts), "agents": sorted(boxes)},
        )  # fmt: skip
        return view(connection, name)

    answer = await core.database.write(store)
    for agent in boxes:
        desired.push_soon(core, agent)
    return answer


async def remove(core: Core, name: str, principal: str) -> None:
    """Take a secret away from every agent.

    Raises:
        NotFoundError: There is none of this name.
    """

    def store(connection: Connection) -> list[str]:
        held = _holders(connection, name)
        if not held:
            raise NotFoundError(f"there is no secret {name[:100]!r}")
        connection.execute(update(secrets).where(secrets.c.name == name).values(sealed=None))
        core.ledger.append(
            connection, call="secret.remove", principal=principal, arguments={"name": name, "agents": held}
        )
        return held

    for agent in await core.database.write(store):
        desired.push_soon(core, agent)


def listing(connection: Connection) -> list[dict[str, Any]]:
    """Return every secret that some agent has, by name. No value is here, so none can be shown."""
    names = connection.execute(
        select(secrets.c.name).where(secrets.c.sealed.is_not(None)).distinct().order_by(secrets.c.name)
    ).scalars()
    return [view(connection, name) for name in names]


def view(connection: Connection, name: str) -> dict[str, Any]:
    """Return one secret as the API shows it.

    Raises:
        NotFoundError: No agent has it.
    """
    rows = connection.execute(
        select(secrets, agents.c.name.label("host"))
        .join(agents, agents.c.id == secrets.c.agent)
        .where(secrets.c.name == name, secrets.c.sealed.is_not(None), agents.c.removed_us.is_(None))
        .order_by(agents.c.name)
    ).all()
    if not rows:
        raise NotFoundError(f"there is no secret {name[:100]!r}")
    return {
        "name": name,
        "next_version": next_version(connection, name),
        "hosts": [
            {
                "agent": row.agent, "host": row.host, "version": row.version, "scripts": row.scripts,
                "principal": row.principal, "created": clock.text(row.created_us),
            }
            for row in rows
        ],
    }  # fmt: skip


def _box(agent: str, text: str) -> bytes:
    box = decode_base64(text, where=f"sealed: {agent[:80]}")
    if not 0 < len(box) <= MAX_BOX_BYTES:
        raise ArgumentError(f"a sealed secret has at most {MAX_BOX_BYTES} bytes", parameter="sealed")
    return box


def _check_room(connection: Connection, agent: str, name: str) -> None:
    if agent_service.key_of(connection, agent) is None:
        raise ArgumentError(f"there is no agent {agent[:80]!r}", parameter="sealed")
    others = connection.execute(
        select(func.count()).where(secrets.c.agent == agent, secrets.c.name != name, secrets.c.sealed.is_not(None))
    ).scalar()
    if int(others or 0) >= limits.MAX_SECRETS_PER_AGENT:
        raise TooLargeError(f"an agent takes at most {limits.MAX_SECRETS_PER_AGENT} secrets")


def _check_newer(connection: Connection, agent: str, name: str, version: int) -> None:
    found = connection.execute(
        select(secrets.c.version).where(secrets.c.agent == agent, secrets.c.name == name)
    ).scalar()
    if found is not None and version <= found:
        raise ConflictError(
            f"the agent {agent} had version {found} of the secret {name} before; {version} is not newer"
        )


def _holders(connection: Connection, name: str) -> list[str]:
    rows = connection.execute(select(secrets.c.agent).where(secrets.c.name == name, secrets.c.sealed.is_not(None)))
    return sorted(rows.scalars())
