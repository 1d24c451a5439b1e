"""Grants: kept, listed, ended; and asked, when somebody without the role runs or schedules a script.

What was scheduled under a grant stops with it: such schedules are paused when the grant ends or is taken away.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from protocol.errors import DeniedError, NotFoundError, UnavailableError
from server import clock
from server.access import RUN as MAY_RUN
from server.access import SCHEDULE as MAY_SCHEDULE
from server.access import Caller
from server.core import Core
from server.services import desired, permits
from server.services.permits import Asked, Permit
from server.store.prepared import Prepared
from server.store.tables import grants, schedules

LOG = structlog.get_logger()
LOOK_EVERY_S: Final = 30.0  # for grants that have ended
_NEEDED: Final[Mapping[str, str]] = {permits.RUN: MAY_RUN, permits.SCHEDULE: MAY_SCHEDULE}
_IN_FORCE = Prepared(
    select(grants)
    .where((grants.c.expires_us.is_(None)) | (grants.c.expires_us > bindparam("now")))
    .order_by(grants.c.id)
)


def candidates(connection: Connection, caller: Caller, action: str, script: str) -> list[Permit] | None:
    """Return the grants that may allow a caller to do something; None if a role of theirs allows it anyway.

    Raises:
        DeniedError: Neither does. It does not say whether there is such a script.
    """
    if caller.may(_NEEDED[action]):
        return None
    now_us = clock.now_us()
    found = [
        permit
        for permit in map(_permit, _IN_FORCE.all(connection, now=now_us))
        if _is_for(permit, caller, now_us) and permit.names(action, script)
    ]
    if not found:
        caller.require(_NEEDED[action])
    return found


def names_granted(connection: Connection, caller: Caller) -> Callable[[str], bool]:
    """Return what tells whether a grant in force lets a caller do anything with a script of some name."""
    now_us = clock.now_us()
    held = [permit for permit in map(_permit, _IN_FORCE.all(connection, now=now_us)) if _is_for(permit, caller, now_us)]
    return lambda name: any(permit.names(action, name) for permit in held for action in permit.actions)


def _is_for(permit: Permit, caller: Caller, now_us: int) -> bool:
    return permit.is_for(caller.principal, caller.roles, caller.groups, now_us)


def choose(permitted: Sequence[Permit] | None, asked: Asked) -> str | None:
    """Return the id of the grant that allows all that is asked; None where none is needed.

    Raises:
        DeniedError: None does; says why, of the first one.
    """
    if permitted is None:
        return None
    objections = []
    for permit in permitted:
        objection = permit.objection(asked)
        if objection is None:
            return permit.id
        objections.append(f"grant {permit.id}: {objection}")
    raise DeniedError(f"no grant allows this ({objections[0]})", rule=objections[0].partition(":")[0])


def _permit(row: Any) -> Permit:
    return permits.read(row.id, row.who, row.scripts, row.target, row.parameters, row.actions, row.expires_us)


# keeping -------------------------------------------------------------------------------------------------------------


async def create(core: Core, asked: dict[str, Any], principal: str) -> dict[str, Any]:
    """Make a grant.

    Raises:
        ArgumentError: Something of it is wrong; names what.
    """
    identity, now_us = secrets.token_hex(4), clock.now_us()
    expires_us = None if asked["ttl_s"] is None else now_us + int(asked["ttl_s"] * 1e6)
    actions = sorted(set(asked["actions"]))
    permits.read(identity, asked["who"], asked["scripts"], asked["target"], asked["parameters"], actions, expires_us)
    told = {key: asked[key] for key in ("who", "scripts", "target", "parameters", "reason")} | {"actions": actions}

    def store(connection: Connection) -> dict[str, Any]:
        connection.execute(
            insert(grants).values(id=identity, principal=principal, created_us=now_us, expires_us=expires_us, **told)
        )
        core.ledger.append(
            connection, call="grant.create", principal=principal,
            arguments={"grant": identity, **told, "expires": clock.text(expires_us)},
        )  # fmt: skip
        return view(find(connection, identity))

    return await core.database.write(store)


async def remove(core: Core, identity: str, principal: str) -> None:
    """Take a grant away, and pause what was scheduled under it."""

    def store(connection: Connection) -> None:
        find(connection, identity)
        connection.execute(delete(grants).where(grants.c.id == identity))
        paused = _pause(connection, identity)
        core.ledger.append(
            connection, call="grant.remove", principal=principal, arguments={"grant": identity, "paused": paused}
        )

    await core.database.write(store)
    desired.push_all(core)


def _pause(connection: Connection, identity: str) -> list[str]:
    """Pause the schedules under a grant and return their ids."""
    paused = []
    for row in connection.execute(select(schedules).where(schedules.c.permit == identity)).all():
        if row.spec.get("enabled", True):
            connection.execute(
                update(schedules).where(schedules.c.id == row.id).values(spec=row.spec | {"enabled": False})
            )
            paused.append(row.id)
    if paused:
        desired.changed(connection)
    return paused


async def watch(core: Core) -> None:
    """Pause what was scheduled under grants that have ended, until the server ends."""
    while True:
        try:
            if await core.database.write(lambda connection: pause_ended(core, connection)):
                desired.push_all(core)
        except UnavailableError as error:  # a full disk; the next time will do
            LOG.warning("ended grants could not be looked at", why=str(error))
        await asyncio.sleep(LOOK_EVERY_S)


def pause_ended(core: Core, connection: Connection) -> list[str]:
    """Pause the schedules of all grants that have ended; return their ids."""
    ended = select(grants.c.id).where(grants.c.expires_us <= clock.now_us())
    rows = connection.execute(select(schedules.c.permit).where(schedules.c.permit.in_(ended)).distinct())
    found = []
    for (identity,) in rows.all():
        paused = _pause(connection, identity)
        if paused:
            core.ledger.append(
                connection, call="grant.end", principal="outrider-server",
                arguments={"grant": identity, "paused": paused},
            )  # fmt: skip
        found += paused
    return found


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a grant.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(select(grants).where(grants.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no grant {identity[:40]!r}")
    return row


def query(who: str | None) -> Any:
    """Return the query for all grants, or for those of somebody."""
    return select(grants) if who is None else select(grants).where(grants.c.who == who)


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a grant as the API shows it."""
    return {
        "id": row.id, "who": row.who, "scripts": row.scripts, "target": row.target, "parameters": row.parameters,
        "actions": row.actions, "reason": row.reason, "by": row.principal, "created": clock.text(row.created_us),
        "expires": clock.text(row.expires_us),
        "in_force": row.expires_us is None or row.expires_us > clock.now_us(),
    }  # fmt: skip
