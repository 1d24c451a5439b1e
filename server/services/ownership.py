"""Handing a name over, and saying that a script should not be used any more.

Neither is needed for a script to run, and neither makes one run: what runs is decided by ``protocol.trust`` alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from protocol.errors import ArgumentError, DeniedError, NotFoundError, TrustError
from protocol.ownership import check_transfer
from protocol.signing import Envelope, peek
from server import clock
from server.access import ADMIN, ROLES, Caller
from server.core import Core
from server.services import namespace
from server.services.visibility import Viewer, may_see
from server.store.tables import names, scripts, transfers


async def transfer(core: Core, envelope: Envelope, caller: Caller) -> dict[str, Any]:
    """Make others the owners of a name. The same statement again is refused, as everything that is not newer.

    Raises:
        NotFoundError: Nobody has published the name, or it is not for this caller to see and the statement does not do.
        TrustError: The statement proves nothing.
        DeniedError: Its signer is no owner, or a new owner could not publish.
    """
    claimed = str(peek(envelope).get("name"))[:200]

    def store(connection: Connection) -> dict[str, Any]:
        row = namespace.find(connection, claimed)
        if row is None:
            raise NotFoundError(f"there is no script {claimed[:100]!r}")
        since = datetime.fromtimestamp(row.owned_since_us / 1e6, UTC) if row.owned_since_us else None
        before = namespace.owners_of(row)
        try:
            told = check_transfer(envelope, before, since, core.roster, clock.now())
        except (TrustError, DeniedError):
            _published(connection, caller, claimed, "")  # else the reason would tell that there is one, and whose
            raise
        connection.execute(
            update(names).where(names.c.name == told.name)
            .values(owners=namespace.owner_text(told.to), owned_since_us=int(told.issued.timestamp() * 1e6))
        )  # fmt: skip
        connection.execute(
            insert(transfers).values(name=told.name, envelope=envelope.to_json(), stored_us=clock.now_us())
        )
        core.ledger.append(
            connection, call="script.transfer", principal=caller.principal,
            arguments={"script": told.name, "from": before, "to": sorted(told.to), "reason": told.reason},
        )  # fmt: skip
        return {"name": told.name, "owners": sorted(set(told.to))}

    # Not while a version is on its way in: it would come in by those who were owners when it was looked at.
    async with core.publishing:
        return await core.database.write(store)


async def deprecate(core: Core, asked: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Deprecate a script or one of its versions, or take that back.

    Raises:
        NotFoundError: It is not published, or not for this caller to see; the replacement likewise.
        DeniedError: The caller neither owns it nor is an administrator.
        ArgumentError: There is no reason, or nothing to take back.
    """
    name, version = asked["name"], asked["version"] or ""
    reason, replacement = asked["reason"].strip(), asked["replacement"] or ""
    if not asked["undo"] and not reason:
        raise ArgumentError("whoever runs it has to be told a reason", parameter="reason")

    def store(connection: Connection) -> dict[str, Any]:
        _published(connection, caller, name, version)
        _check_owner(connection, caller, name)
        if asked["undo"]:
            if not namespace.undeprecate(connection, name, version):
                raise ArgumentError(f"{name} {version}".strip() + " is not deprecated", parameter="undo")
        else:
            if replacement:
                _published(connection, caller, replacement, "")
            namespace.deprecate(connection, name, version, reason, replacement, caller.principal)
        core.ledger.append(
            connection, call="script.undeprecate" if asked["undo"] else "script.deprecate", principal=caller.principal,
            arguments={"script": name, "version": version, "reason": reason, "replacement": replacement},
        )  # fmt: skip
        return {
            "name": name, "version": version or None,
            "deprecated": None if asked["undo"] else namespace.deprecation(connection, name, version),
        }  # fmt: skip

    return await core.database.write(store)


def _published(connection: Connection, caller: Caller, name: str, version: str) -> Row[Any]:
    query = select(scripts).where(scripts.c.name == name).order_by(scripts.c.rank.desc())
    rows = connection.execute(query if not version else query.where(scripts.c.version == version)).all()
    viewer = Viewer.of(caller)
    for row in rows:
        if may_see(connection, viewer, row):
            return row
    raise NotFoundError(f"there is no script {name[:100]!r}" + (f" of version {version[:40]}" if version else ""))


def _check_owner(connection: Connection, caller: Caller, name: str) -> None:
    row = namespace.find(connection, name)
    owners = [] if row is None else namespace.owners_of(row)
    is_admin = any(ADMIN in ROLES.get(role, ()) for role in caller.roles)
    if caller.principal not in owners and not is_admin:
        raise DeniedError(f"{name} belongs to {', '.join(owners) or 'nobody here'}", rule="ownership")
