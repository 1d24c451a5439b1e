"""Sessions of people on hosts: opened, used and closed through here. What a session did is told by the agent's records.

- A session is written down before the agent hears of it. It is ``open`` once the agent says so; its end is the agent's
  record, or the refusal that kept it from opening. While the host's owner is asked it is ``asking``.
- Only who opened a session makes calls in it. Whether it may be opened at all, the agent decides again, by the
  operator's signature or by what its owner lets the server's word do.
- The agent keeps a session over the loss of the link and over a restart of this server; it is found again by its id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotConnectedError,
    NotFoundError,
    OutriderError,
)
from protocol.limits import MAX_TIMEOUT_S
from protocol.pipes import Pipe
from protocol.tiers import Tier
from server import clock, limits
from server.access import MODERATE, Caller
from server.core import Core
from server.services import access_grants
from server.services import agents as agent_service
from server.services.access_grants import Standing
from server.store.tables import agents, sessions

KINDS: Final = ("terminal", "command", "files", "forward")
PURPOSE: Final = "session"  # of the streams that carry what happens in sessions
OVER: Final = ("ended", "killed", "lost", "refused")
_MAX_TOLD_CHARACTERS: Final = 200  # of who consented: a name of a person or of a user of the host, and where
_MAX_TOLD_S: Final = 1e9  # of a time that a host tells; no owner means 30 years


async def open_session(
    core: Core, asked: dict[str, Any], caller: Caller, *, is_held: bool = False
) -> dict[str, Any]:  # fmt: skip
    """Open a session on one host, and return it.

    Args:
        core: The server.
        asked: As :class:`server.api.bodies.NewSession` has it.
        caller: Who asks.
        is_held: One for which the host's owner is asked is returned at once, and counts as held by its asker: see
            :mod:`server.services.askers`.

    Raises:
        NotFoundError: No such host.
        NotConnectedError: It is away.
        DeniedError: No access grant lets the caller do this, or not any more.
        ArgumentError: There is no such tier, or it needs a reason.
        OutriderError: The agent refuses; says why.
    """
    tier = Tier.parse(asked["tier"])
    if tier >= core.config.reason_from and not asked["reason"].strip():
        raise ArgumentError(f"a session at tier {tier.label} needs a reason", parameter="reason", where="reason")

    principal = caller.principal

    def plan(connection: Connection) -> tuple[str, str, Standing]:
        agent = agent_service.find(connection, asked["agent"])
        standing = access_grants.choose(connection, caller, asked, agent)
        if agent.id not in core.links:
            seen = clock.text(agent.last_seen_us)
            raise NotConnectedError(
                f"{agent.name} is not connected ({f'last seen {seen:.19}Z' if seen else 'never seen'})"
            )
        identity = f"s_{secrets.token_hex(12)}"
        connection.execute(
            insert(sessions).values(
                id=identity, agent=agent.id, kind=asked["kind"], tier=asked["tier"], principal=principal,
                purpose=asked["reason"], grant=asked["grant"], status="opening", created_us=clock.now_us(),
                access=standing.grant.id,
            )
        )  # fmt: skip
        core.ledger.append(
            connection, call="session.open", principal=principal,
            arguments={
                "session": identity, "agent": agent.name, "kind": asked["kind"], "tier": asked["tier"],
                "grant": asked["grant"], "reason": asked["reason"], "access": standing.grant.id,
            },
        )  # fmt: skip
        return identity, agent.id, standing

    identity, agent, standing = await core.database.write(plan)
    body = {
        "session": identity, "principal": principal,
        **{name: asked.get(name) for name in ("kind", "tier", "reason", "grant", "idle_s", "order")},
        "longest_s": _sooner(asked.get("longest_s"), standing.longest_s), "access": standing.layer or None,
        "users": list(standing.users) or None,
    }  # fmt: skip
    try:
        answer = await core.links.get(agent).request("session.open", body, limits.REQUEST_TIMEOUT_S, whose=principal)
    except OutriderError as error:
        # One that the agent may have opened is told by its records, or closed by it as nobody comes to use it.
        status = "lost" if isinstance(error, NotConnectedError | DeadlineError) else "refused"
        told = error.message[: limits.MAX_RESULT_TEXT]
        await core.database.write(lambda connection: _not_opened(connection, identity, status, told))
        raise
    is_asking = bool(answer.get("asking"))
    is_held = is_held and is_asking
    if is_held:
        core.held.add(identity)
    await core.database.write(
        lambda connection: _opened(connection, identity, "asking" if is_asking else "open", answer, is_held)
    )
    await _end_unless_founded(core, identity)
    if is_asking and not is_held:
        with suppress(TimeoutError):  # the answer shows how far it is
            await decided(core, identity, asked.get("wait_s") or 0.0)
    return await core.database.read(lambda connection: view(find(connection, identity)))


async def _end_unless_founded(core: Core, identity: str) -> None:
    """Close a session whose grant has ended while its host was opening it: whoever ended that found none to close.

    Raises:
        DeniedError: It was so; the session is closed.
    """
    row = await core.database.read(lambda connection: find(connection, identity))
    try:
        await core.database.read(lambda connection: access_grants.check(connection, row))
    except DeniedError as error:
        core.held.discard(identity)
        await close_session(core, identity, error.message, "outrider-server")
        raise


def _sooner(asked_s: float | None, granted_s: float | None) -> float | None:
    """Return the shorter of two times, in seconds; the protocol knows none longer than a day."""
    given = [each for each in (asked_s, granted_s) if each is not None]
    return min(max(min(given), 0.001), MAX_TIMEOUT_S) if given else None


async def decided(core: Core, identity: str, wait_s: float) -> None:
    """Wait until the owner of the host has been asked, at most ``wait_s`` seconds.

    Raises:
        DeniedError: The answer was no.
        TimeoutError: There is none yet.
    """
    watch = core.endings.watch(identity)
    try:
        async with asyncio.timeout(wait_s):
            while True:
                row = await core.database.read(lambda connection: find(connection, identity))
                if row.status == "refused":
                    raise DeniedError(row.reason or "the owner of the host said no", rule="consent")
                if row.status != "asking":
                    return
                await watch
                core.endings.forget(identity, watch)
                watch = core.endings.watch(identity)
    finally:
        core.endings.forget(identity, watch)


async def call(core: Core, identity: str, caller: Caller, name: str, arguments: Mapping[str, Any]) -> Any:
    """Make one call in a session and return its plain value.

    Raises:
        NotFoundError: No such session.
        DeniedError: It is somebody else's, or the agent's verdict.
        ConflictError: It is not open.
        OutriderError: What the call came to.
    """
    row = await core.database.read(lambda connection: usable(connection, identity, caller))
    body = {"session": identity, "call": name, "arguments": dict(arguments)}
    link = core.links.get(row.agent)
    answer = await link.request("session.call", body, limits.CALL_TIMEOUT_S, whose=caller.principal)
    return answer.get("value")


async def open_pipe(core: Core, identity: str, caller: Caller, act: str, header: Mapping[str, Any]) -> Pipe:
    """Open a pipe for an act of a session; raises as :func:`call`."""
    row = await core.database.read(lambda connection: usable(connection, identity, caller))
    told = {"session": identity, "act": act, **header}
    pipe = core.links.get(row.agent).open_pipe(PURPOSE, told, whose=caller.principal)
    core.open_pipes.add(caller, pipe)
    return pipe


async def close_session(core: Core, identity: str, reason: str, principal: str) -> dict[str, Any]:
    """Close a session; one that is over stays as it is.

    Raises:
        NotFoundError: No such session.
        NotConnectedError: Its agent is away.
    """
    row = await core.database.read(lambda connection: find(connection, identity))
    if row.status not in OVER:
        told = {"session": identity, "reason": reason or f"closed by {principal}"}

        def store(connection: Connection) -> None:
            core.ledger.append(connection, call="session.close", principal=principal, arguments=told)

        await core.database.write(store)
        with suppress(NotFoundError):  # it ended by itself; its record is on the way
            await core.links.get(row.agent).request("session.close", told, limits.REQUEST_TIMEOUT_S)
    return await core.database.read(lambda connection: view(find(connection, identity)))


def check_may_close(connection: Connection, identity: str, caller: Caller) -> None:
    """Return if ``caller`` may close a session: it is theirs, or they moderate.

    Raises:
        NotFoundError: No such session.
        DeniedError: It is somebody else's.
    """
    if find(connection, identity).principal != caller.principal:
        caller.require(MODERATE)


def forget_unanswered(connection: Connection) -> int:
    """At start: sessions that no agent had answered for when the server ended."""
    changed = connection.execute(
        update(sessions)
        .where(sessions.c.status == "opening")
        .values(status="lost", reason="the server ended before the agent had opened it", ended_us=clock.now_us())
    )
    return int(changed.rowcount)


def host_removed(connection: Connection, agent: str) -> list[str]:
    """Sessions on a host that was removed are over here, as it will tell of them no more; return their ids."""
    live = (sessions.c.agent == agent, sessions.c.status.not_in(OVER))
    found = list(connection.execute(select(sessions.c.id).where(*live)).scalars())
    gone = {"status": "lost", "reason": "its host was removed", "ended_us": clock.now_us()}
    connection.execute(update(sessions).where(*live).values(**gone))
    return found


# looking -------------------------------------------------------------------------------------------------------------


def _joined() -> Any:
    return select(sessions, agents.c.name.label("agent_name")).join(agents, agents.c.id == sessions.c.agent)


def find(connection: Connection, identity: str) -> Any:
    """Return a session.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(_joined().where(sessions.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no session {identity[:40]!r}")
    return row


def usable(connection: Connection, identity: str, caller: Caller) -> Any:
    """Return a session that ``caller`` may use now.

    Raises:
        NotFoundError: There is none of this id.
        DeniedError: It is somebody else's.
        ConflictError: It is not open.
    """
    row = find(connection, identity)
    if row.principal != caller.principal:
        raise DeniedError(f"session {identity} was opened by {row.principal}", rule="session: its own principal")
    if row.status != "open":
        raise ConflictError(f"session {identity} is not open: {row.status}{f' ({row.reason})' if row.reason else ''}")
    access_grants.check(connection, row)
    return row


def query(connection: Connection, *, agent: str | None, status: str | None, kind: str | None) -> Any:
    """Return the query for the sessions that are meant."""
    found = _joined()
    if agent is not None:
        found = found.where(sessions.c.agent == agent_service.find(connection, agent).id)
    for column, value in ((sessions.c.status, status), (sessions.c.kind, kind)):
        found = found if value is None else found.where(column == value)
    return found


def view(row: Any) -> dict[str, Any]:
    """Return a session as the API shows it."""
    about = row.about or {}
    calls = about.get("calls")
    return {
        "id": row.id, "agent": row.agent_name, "agent_id": row.agent, "kind": row.kind, "tier": row.tier,
        "principal": row.principal, "purpose": row.purpose, "grant": row.grant, "status": row.status,
        "reason": row.reason, "created": clock.text(row.created_us), "opened": clock.text(row.opened_us),
        "ended": clock.text(row.ended_us), "longest_s": seconds(about, "longest_s"),
        "idle_s": seconds(about, "idle_s"), "calls": calls if type(calls) is int and calls >= 0 else None,
        "access": row.access, "consented": _consented(about),
    }  # fmt: skip


def _consented(about: Mapping[str, Any]) -> str | None:
    """Return who said yes, as the host told it; None if nobody was asked, or the session is over."""
    told = about.get("consented")
    return told[:_MAX_TOLD_CHARACTERS] if isinstance(told, str) and told else None


def seconds(about: Mapping[str, Any], name: str) -> float | None:
    """Return a time of a session as its host told it; None if it told none, or what cannot be one."""
    told = about.get(name)
    if not isinstance(told, int | float) or isinstance(told, bool):
        return None
    return told if 0 <= told <= _MAX_TOLD_S else None


def _not_opened(connection: Connection, identity: str, status: str, reason: str) -> None:
    connection.execute(
        update(sessions)
        .where(sessions.c.id == identity, sessions.c.opened_us.is_(None))
        .values(status=status, reason=reason, ended_us=clock.now_us())
    )


def _opened(connection: Connection, identity: str, status: str, answer: Mapping[str, Any], is_held: bool) -> None:
    """The agent's record says the same, and may have come first."""
    told = {name: answer[name] for name in ("longest_s", "idle_s") if seconds(answer, name) is not None}
    connection.execute(
        update(sessions)
        .where(sessions.c.id == identity, sessions.c.status == "opening")
        .values(
            status=status,
            about=told,
            asker_waits=is_held,
            **({"opened_us": clock.now_us()} if status == "open" else {}),
        )
    )
