"""Requests for access: asked by one person, decided by another; what is approved is a grant for a time.

Nobody reviews what he asks himself. A request that nobody decides in :data:`OPEN_S` is over. What was decided stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from protocol.errors import ConflictError, DeniedError, NotFoundError, RateError
from server import clock
from server.access import Caller
from server.core import Core
from server.services import access_grants
from server.services.access_rules import read_new_scope, read_scope
from server.store.tables import access_requests

OPEN_S: Final = 7 * 86_400.0
MAX_OPEN_OF_ONE: Final = 20  # of one principal, so that nobody is worn down


async def create(core: Core, asked: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """Ask for access.

    Raises:
        ArgumentError: Something of it is wrong; names what.
        RateError: Too many of the caller's wait already.
    """
    scope = read_new_scope(asked)
    identity, now_us = f"r_{secrets.token_hex(4)}", clock.now_us()

    def store(connection: Connection) -> dict[str, Any]:
        waiting = connection.execute(
            select(func.count()).where(
                access_requests.c.principal == caller.principal, access_requests.c.state == "open",
                access_requests.c.created_us > now_us - int(OPEN_S * 1e6),
            )
        ).scalar()  # fmt: skip
        if int(waiting or 0) >= MAX_OPEN_OF_ONE:
            raise RateError(f"{MAX_OPEN_OF_ONE} requests of yours wait already")
        connection.execute(
            insert(access_requests).values(
                id=identity, principal=caller.principal, scope=scope.to_plain(), ttl_s=asked["ttl_s"],
                reason=asked["reason"], state="open", created_us=now_us,
            )
        )  # fmt: skip
        made = view(find(connection, identity))
        core.ledger.append(connection, call="request.create", principal=caller.principal, arguments=made)
        return made

    return await core.database.write(store)


async def review(core: Core, identity: str, *, approved: bool, reason: str, caller: Caller) -> dict[str, Any]:
    """Approve or deny a request; what is approved is in force from now on.

    Raises:
        NotFoundError: There is none of this id.
        ConflictError: It was decided before, or is over.
        DeniedError: It is the caller's own.
    """

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        if row.principal == caller.principal:
            raise DeniedError("nobody reviews what he asks himself", rule="request: never one's own")
        state = state_of(row)
        if state != "open":
            raise ConflictError(f"request {identity} is {state}{f' by {row.decided_by}' if row.decided_by else ''}")
        grant = None
        if approved:
            grant = access_grants.add(
                connection, row.principal, read_scope(row.scope), principal=caller.principal, reason=row.reason,
                ttl_s=row.ttl_s, request=identity,
            )  # fmt: skip
        connection.execute(
            update(access_requests)
            .where(access_requests.c.id == identity)
            .values(
                state="approved" if approved else "denied", decided_us=clock.now_us(), decided_by=caller.principal,
                decision=reason, grant=grant,
            )
        )  # fmt: skip
        made = view(find(connection, identity))
        core.ledger.append(connection, call="request.review", principal=caller.principal, arguments=made)
        return made

    made = await core.database.write(store)
    core.access_changed.ring()
    return made


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a request.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(select(access_requests).where(access_requests.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no request {identity[:40]!r}")
    return row


def query(state: str | None, reviewable_by: str | None) -> Any:
    """Return the query for requests; those that somebody may review are open, and not their own."""
    found = select(access_requests)
    if reviewable_by is not None:
        state = "open"
        found = found.where(access_requests.c.principal != reviewable_by)
    if state is not None:
        kept = "open" if state == "expired" else state
        oldest_us = clock.now_us() - int(OPEN_S * 1e6)
        found = found.where(access_requests.c.state == kept)
        if kept == "open":
            is_old = access_requests.c.created_us <= oldest_us
            found = found.where(is_old if state == "expired" else ~is_old)
    return found


def state_of(row: Row[Any]) -> str:
    """Return open, approved, denied or expired."""
    is_old = row.created_us <= clock.now_us() - int(OPEN_S * 1e6)
    return "expired" if row.state == "open" and is_old else str(row.state)


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a request as the API shows it."""
    return {
        "id": row.id, "principal": row.principal, **row.scope, "ttl_s": row.ttl_s, "reason": row.reason,
        "state": state_of(row), "created": clock.text(row.created_us), "decided": clock.text(row.decided_us),
        "decided_by": row.decided_by, "decision": row.decision, "grant": row.grant,
    }  # fmt: skip
