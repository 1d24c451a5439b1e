"""Access grants: kept, asked when a session opens and each time it is used, and ended with all that stands on them.

- A session stands on one grant. When that is revoked or runs out, its sessions are closed at once; where the host is
  away, as soon as it is back, and meanwhile nothing can be done in them through this server.
- The host gets the grant's end as the session's, so that it ends there also without this server.
- What the roles had before is a grant as well: shipped, listed, and to be removed by whoever does not want it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, func, insert, select, update

from protocol.errors import ConflictError, DeniedError, NotFoundError, OutriderError, UnavailableError
from protocol.tiers import Tier
from server import clock
from server.access import Caller
from server.core import Core
from server.services import access_rules
from server.services import agents as agent_service
from server.services.access_rules import AccessGrant, Asked, guarded_targets, named_users, read_new_scope
from server.store.tables import access_grants, agents, sessions

LOG = structlog.get_logger()
LOOK_EVERY_S: Final = 30.0  # at the latest; the next end is waited for exactly
SHIPPED_BY: Final = "outrider-server"  # principal of the grants that a new database has
LIVE: Final = ("opening", "asking", "open")
MAX_REQUESTS_TOLD: Final = 5  # targets in the hint of a refusal


@dataclass(frozen=True, slots=True)
class Standing:
    """What a session stands on."""

    grant: AccessGrant
    layer: dict[str, Any]  # what the host narrows the session to
    users: tuple[str, ...]
    longest_s: float | None  # until the grant ends


def choose(
    connection: Connection, caller: Caller, asked: Mapping[str, Any], agent: Row[Any], *, user: str = ""
) -> Standing:
    """Return what a caller's session would stand on: of the grants that allow it, the one that lasts longest; of those
    that last equally long one that is for all users.

    Args:
        connection: To look with.
        caller: Who asks.
        asked: The session.
        agent: Its host.
        user: As whom it is, where that is known already.

    Raises:
        DeniedError: None does; says why, and how to ask for one.
    """
    now_us = clock.now_us()
    wanted = Asked(
        asked["kind"], Tier.parse(asked["tier"]), agent.id, agent.name, agent.labels, guarded_targets(asked["grant"]),
        _users(asked, user),
    )  # fmt: skip
    objections: list[str] = []
    fitting: list[AccessGrant] = []
    for grant in _in_force(connection, now_us):
        if not grant.is_for(caller.principal, caller.roles, caller.groups):
            continue
        objection = grant.objection(wanted)
        if objection is None:
            fitting.append(grant)
        else:
            objections.append(f"{grant.id}: {objection}")
    if not fitting:
        raise _refusal(caller, asked, wanted, objections)
    grant = max(
        fitting, key=lambda each: (each.expires_us is None, each.expires_us or 0, not each.scope.users, each.id)
    )
    left_s = None if grant.expires_us is None else (grant.expires_us - now_us) / 1_000_000
    users = grant.scope.users if asked["kind"] in access_rules.BOUND_BY["users"] else ()
    return Standing(grant, grant.narrowing(asked["kind"]), users, left_s)


def _users(asked: Mapping[str, Any], user: str) -> tuple[str, ...]:
    """Return as whom a session is asked for; of no meaning for kinds that start no programs."""
    if asked["kind"] not in access_rules.BOUND_BY["users"]:
        return ()
    named = tuple(named_users(asked["grant"]))
    return named if not user or user in named else (*named, user)


def _refusal(caller: Caller, asked: Mapping[str, Any], wanted: Asked, objections: list[str]) -> DeniedError:
    words = ["outrider", "request", "create", "--on", wanted.name, "--kind", wanted.kind, "--tier", wanted.tier.label]
    for pattern in wanted.named[:MAX_REQUESTS_TOLD]:
        words += ["--targets", pattern.text]
    for user in wanted.users[:MAX_REQUESTS_TOLD]:
        words += ["--users", user]
    guarded = " and ".join(dict.fromkeys(pattern.text for pattern in wanted.named[:MAX_REQUESTS_TOLD]))
    what = f"{guarded} must be named by a grant" if guarded else f"no access grant lets {caller.principal} do this"
    why = f" ({objections[0]})" if objections else ""
    command = f"{shlex.join(words)} --for 2h --reason ..."
    return DeniedError(f"{what}{why}; ask with: {command}", rule="access: no grant")


def check(connection: Connection, session: Row[Any]) -> None:
    """Return if the grant that a session stands on holds now.

    Raises:
        DeniedError: It was revoked, or is over, or is not for the session's host any more.
    """
    if session.access is None:  # opened before there were grants
        return
    query = _WITH_HOST.join_from(access_grants, agents, agents.c.id == session.agent)
    row = connection.execute(query.where(access_grants.c.id == session.access)).first()
    objection = None if row is None else _objection(row, clock.now_us())
    if row is None or objection is not None:
        raise DeniedError(
            f"the access grant {session.access} that session {session.id} stands on {objection or 'is over'}",
            rule="access: over",
        )


_WITH_HOST: Final = select(
    access_grants, agents.c.id.label("host_id"), agents.c.name.label("host_name"), agents.c.labels.label("host_labels")
)


def _objection(row: Row[Any], now_us: int) -> str | None:
    """Return why a grant lets nobody be on a host now; None if it may.

    Args:
        row: The grant, with the host.
        now_us: Of this server's clock.
    """
    grant = access_rules.read(row)
    if not grant.is_in_force(now_us):
        return "is over"
    if not grant.scope.target.matches(row.host_id, row.host_name, row.host_labels):
        return f"is for {grant.scope.target.text}, which {row.host_name} is not now"
    return None


def check_joining(connection: Connection, caller: Caller, session: Row[Any], user: str) -> None:
    """Return if somebody else than its owner may act in a session: whoever types in it needs what opens one.

    Args:
        connection: To look with.
        caller: Who would.
        session: Open.
        user: Whom its terminal is of, as its host says; empty if that is the agent's own or not known yet.

    Raises:
        DeniedError: No access grant of theirs is for it; says how to ask for one.
        NotFoundError: Its host was removed.
    """
    agent = agent_service.find(connection, session.agent)
    asked = {"kind": session.kind, "tier": session.tier, "grant": session.grant}
    standing = choose(connection, caller, asked, agent, user=user)
    if standing.users and user not in standing.users:
        raise DeniedError(
            f"the access grant {standing.grant.id} of {caller.principal} is for {', '.join(standing.users)}, and this"
            f" terminal is of {user or 'the agent itself'}",
            rule="access: users",
        )


def _in_force(connection: Connection, now_us: int) -> Iterable[AccessGrant]:
    # What is shipped stands first, whatever the clock said when the database was made.
    oldest_first = access_grants.c.principal != SHIPPED_BY, access_grants.c.created_us
    rows = connection.execute(select(access_grants).where(access_grants.c.revoked_us.is_(None)).order_by(*oldest_first))
    return [grant for grant in map(access_rules.read, rows) if grant.is_in_force(now_us)]


# keeping -------------------------------------------------------------------------------------------------------------


def add(
    connection: Connection, who: str, scope: access_rules.Scope, *, principal: str, reason: str,
    ttl_s: float | None, request: str | None = None,
) -> str:  # fmt: skip
    """Keep a new grant, and return its id."""
    identity, now_us = f"a_{secrets.token_hex(4)}", clock.now_us()
    connection.execute(
        insert(access_grants).values(
            id=identity, who=who, scope=scope.to_plain(), reason=reason, principal=principal, request=request,
            created_us=now_us, expires_us=None if ttl_s is None else now_us + int(ttl_s * 1e6),
        )
    )  # fmt: skip
    return identity


async def create(core: Core, asked: Mapping[str, Any], principal: str) -> dict[str, Any]:
    """Make a grant.

    Raises:
        ArgumentError: Something of it is wrong; names what.
    """
    who, scope = access_rules.check_name(asked["who"]), read_new_scope(asked)

    def store(connection: Connection) -> dict[str, Any]:
        identity = add(
            connection, who, scope, principal=principal, reason=asked["reason"], ttl_s=asked["ttl_s"]
        )  # fmt: skip
        made = view(find(connection, identity))
        core.ledger.append(connection, call="access.create", principal=principal, arguments=made)
        return made

    made = await core.database.write(store)
    core.access_changed.ring()
    return made


async def revoke(core: Core, identity: str, reason: str, principal: str) -> dict[str, Any]:
    """Revoke a grant, and end every session that stands on it.

    Raises:
        NotFoundError: There is none of this id.
        ConflictError: It was revoked before.
    """

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        if row.revoked_us is not None:
            raise ConflictError(f"the access grant {identity} was revoked by {row.revoked_by}")
        connection.execute(
            update(access_grants)
            .where(access_grants.c.id == identity)
            .values(revoked_us=clock.now_us(), revoked_by=principal)
        )
        core.ledger.append(
            connection, call="access.revoke", principal=principal, arguments={"access": identity, "reason": reason}
        )
        return view(find(connection, identity))

    answer = await core.database.write(store)
    core.access_changed.ring()
    await end_unfounded(core)
    return answer


async def watch(core: Core) -> None:
    """End sessions at the moment that their grants end, until the server does."""
    while True:
        changed = core.access_changed.ticket()
        try:
            await end_unfounded(core)
            left_s = await core.database.read(next_end_s)
        except UnavailableError as error:
            LOG.warning("access grants could not be looked at", why=str(error))
            left_s = LOOK_EVERY_S
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await changed.wait()


def next_end_s(connection: Connection) -> float:
    """Return the seconds until the next grant ends, at most ``LOOK_EVERY_S``."""
    soonest = connection.execute(
        select(func.min(access_grants.c.expires_us)).where(
            access_grants.c.expires_us > clock.now_us(), access_grants.c.revoked_us.is_(None)
        )
    ).scalar()
    return clock.until_s(soonest, LOOK_EVERY_S)


async def end_unfounded(core: Core, agent: str | None = None) -> None:
    """Close every session whose grant does not hold any more; on one agent, or on all that are connected."""
    found = await core.database.read(lambda connection: _unfounded(connection, agent))
    await asyncio.gather(*(_end(core, row, why) for row, why in found if row.agent in core.links))


def _unfounded(connection: Connection, agent: str | None) -> list[tuple[Row[Any], str]]:
    query = (
        _WITH_HOST.add_columns(sessions.c.id.label("session"), agents.c.id.label("agent"))
        .join_from(sessions, access_grants, access_grants.c.id == sessions.c.access)
        .join(agents, agents.c.id == sessions.c.agent)
        .where(sessions.c.status.in_(LIVE))
    )
    rows = connection.execute(query if agent is None else query.where(sessions.c.agent == agent))
    now_us = clock.now_us()
    return [(row, why) for row in rows if (why := _objection(row, now_us)) is not None]


async def _end(core: Core, row: Any, why: str) -> None:
    from server.services.live import close_session  # which asks this module when one opens

    try:
        await close_session(core, row.session, f"the access grant {row.id} {why}", "outrider-server")
    except OutriderError as error:  # looked at again when the host is back
        LOG.warning("a session without its grant could not be closed", session=row.session, why=str(error))


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a grant.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(select(access_grants).where(access_grants.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no access grant {identity[:40]!r}")
    return row


def query(who: str | None, *, is_all: bool) -> Any:
    """Return the query for the grants that are meant; without ``is_all`` for those in force."""
    found = select(access_grants) if who is None else select(access_grants).where(access_grants.c.who == who)
    if is_all:
        return found
    now_us = clock.now_us()
    return found.where(
        access_grants.c.revoked_us.is_(None),
        access_grants.c.expires_us.is_(None) | (access_grants.c.expires_us > now_us),
    )


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a grant as the API shows it."""
    scope = row.scope if isinstance(row.scope, dict) else json.loads(row.scope)
    return {
        "id": row.id, "who": row.who, **scope, "reason": row.reason, "by": row.principal, "request": row.request,
        "created": clock.text(row.created_us), "expires": clock.text(row.expires_us),
        "revoked": clock.text(row.revoked_us), "revoked_by": row.revoked_by,
        "in_force": access_rules.read(row).is_in_force(clock.now_us()),
    }  # fmt: skip
