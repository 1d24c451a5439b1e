"""What each agent should have: roster, withdrawals, freeze, secrets and schedules; and how it gets it.

- All of it is wanted state: sent whole, at connection and after each change, so a lost message costs nothing.
- One version counts every change of schedules, targets and labels. The agent says which one it has.
- Pushing never holds up who made the change: an agent that is away or slow gets it when it is back.
- What it already has must learn of approvals that came later. It hears of each as it is given, and at connection of
  all since those that it is known to have heard of.
- What an agent could not take just then (its disk was full, it did not answer) is wanted still: it is sent again while
  the link lasts, first after ``AGAIN_S`` and then ever more rarely. What it refuses for what it says is not.
- To one agent one push goes at a time, so that no older state arrives after a newer one; of pushes that wait, one is
  enough, because it reads what is wanted when its turn comes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, func, insert, select, update

from protocol.errors import DeadlineError, InternalError, OutriderError, RateError, TrustError, UnavailableError
from protocol.roster import parse
from protocol.signing import Envelope, peek
from server import clock
from server.core import Core
from server.endpoint.links import LiveLink, Turn
from server.limits import REQUEST_TIMEOUT_S, WITHDRAWALS_PART_BYTES
from server.services.targets import Target
from server.store.tables import agents, approvals, grants, meta, revocations, rosters, schedules, secrets, withdrawals

LOG = structlog.get_logger()
_VERSION = "schedules_version"
APPROVALS: Final = "approvals.add"
AGAIN_S: Final = 5.0  # until what an agent could not take is sent again; doubled each time
AGAIN_MOST_S: Final = 300.0
_PASSING: Final = (DeadlineError, InternalError, RateError, UnavailableError)  # what may be otherwise in a while


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
    rows, _ = _scheduled(connection, agent)
    return {"version": version(connection), "schedules": [wire_form(each) for each in rows]}


def wire_form(row: Row[Any]) -> dict[str, Any]:
    """Return a schedule as hosts are told it."""
    return {**row.spec, "order": None if row.order is None else json.loads(row.order)}


def scheduled_digests(connection: Connection, agent: str) -> tuple[frozenset[str], int | None]:
    """Return the digests that the schedules of an agent name.

    Returns:
        They, and the moment at which time alone may change that, in microseconds since 1970 UTC; None if it cannot.
    """
    rows, until_us = _scheduled(connection, agent)
    return frozenset(str(each.spec["digest"]) for each in rows), until_us


def _scheduled(connection: Connection, agent: str) -> tuple[list[Row[Any]], int | None]:
    """Return the schedules of an agent, and when the next grant ends."""
    row = connection.execute(select(agents).where(agents.c.id == agent)).one()
    now_us = clock.now_us()
    held = connection.execute(select(grants.c.id, grants.c.target, grants.c.expires_us)).all()
    granted = {
        each.id: (each.expires_us is None or each.expires_us > now_us)
        and Target.parse(each.target).matches(row.id, row.name, row.labels)
        for each in held
    }
    wanted = [
        each
        for each in connection.execute(select(schedules).order_by(schedules.c.id))
        if each.spec.get("enabled", True)
        and Target.parse(each.target).matches(row.id, row.name, row.labels)
        # One under a grant stays within that: hosts get other labels, and names other hosts. Where a grant is taken
        # away its schedules are paused, and somebody who may schedule by themselves lets them go on or not.
        and granted.get(each.permit, True)
    ]
    ends = [each.expires_us for each in held if each.expires_us is not None and each.expires_us > now_us]
    return wanted, min(ends, default=None)


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


def newest_approval(connection: Connection) -> int:
    """Return the number of the newest approval, 0 if there is none."""
    return connection.execute(select(func.max(approvals.c.id))).scalar() or 0


def _unheard(connection: Connection, through: int) -> list[str]:
    """Return the approvals that came after those up to ``through``, oldest first."""
    query = select(approvals.c.envelope).where(approvals.c.id > through).order_by(approvals.c.id)
    return list(connection.execute(query).scalars())


def everything(core: Core, connection: Connection, agent: str) -> list[tuple[str, dict[str, Any]]]:
    """Return all requests that bring an agent to what is wanted, in the order in which they must arrive."""
    row = connection.execute(
        select(agents.c.frozen, agents.c.freeze_reason, agents.c.approvals_through).where(agents.c.id == agent)
    ).one()
    wanted: list[tuple[str, dict[str, Any]]] = []
    if core.trusted is not None and core.trusted.envelope is not None:
        wanted.append(("roster.set", {"envelope": json.loads(core.trusted.envelope.to_json())}))
    texts = [
        text
        for table in (withdrawals, revocations)  # agents keep both in one list, of what takes back
        for text in connection.execute(select(table.c.envelope).order_by(table.c.id)).scalars()
    ]
    wanted += [("withdrawals.set", {"envelopes": list(map(json.loads, part))}) for part in _parts(texts)]
    unheard = _unheard(connection, row.approvals_through)
    if unheard:
        wanted += [(APPROVALS, {"envelopes": list(map(json.loads, part))}) for part in _parts(unheard)]
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
        is_wanted_still = await _push_now(core, agent, link)
    if not is_wanted_still:
        turn.again_s = 0.0
    elif not turn.is_again_planned:
        turn.again_s = min(max(AGAIN_S, 2 * turn.again_s), AGAIN_MOST_S)
        turn.is_again_planned = True
        core.background(_push_again(core, agent, link, turn))


async def _push_again(core: Core, agent: str, link: LiveLink, turn: Turn) -> None:
    await asyncio.sleep(turn.again_s)
    turn.is_again_planned = False
    if core.links.find(agent) is link:
        await push(core, agent, link)


def _steps(connection: Connection) -> list[str]:
    """Return the rosters that changed the roots, oldest first: what leads from any roster to the newest one."""
    steps, before = [], None
    for text in connection.execute(select(rosters.c.envelope).order_by(rosters.c.version)).scalars():
        roster = parse(peek(Envelope.from_json(text)))
        roots = (frozenset(roster.roots), roster.root_threshold)
        if before is not None and roots != before:
            steps.append(text)
        before = roots
    return steps


async def _lead(core: Core, link: LiveLink, newest: dict[str, Any]) -> None:
    """Bring an agent that was away over several changes of the roots to the newest roster, step by step."""
    for text in await core.database.read(_steps):
        with suppress(OutriderError):  # one that it has passed already
            await link.request("roster.set", {"envelope": json.loads(text)}, REQUEST_TIMEOUT_S)
    await link.request("roster.set", newest, REQUEST_TIMEOUT_S)


async def _push_now(core: Core, agent: str, link: LiveLink) -> bool:
    """Send what is wanted; return whether something of it was not taken that may be taken later."""
    newest, wanted = await core.database.read(
        lambda connection: (newest_approval(connection), everything(core, connection, agent))
    )
    taken, is_wanted_still = set(), False
    for method, body in wanted:
        try:
            await link.request(method, body, REQUEST_TIMEOUT_S)
            taken.add(id(body))
        except TrustError as error:
            await _refused(core, agent, link, method, body, error)
        except OutriderError as error:
            is_wanted_still = is_wanted_still or isinstance(error, _PASSING)
            LOG.warning("an agent did not take what is wanted", agent=agent, method=method, why=str(error))
    told = [id(body) for method, body in wanted if method == APPROVALS]
    if told and taken.issuperset(told):
        await core.database.write(lambda connection: _heard(connection, agent, newest))
    return is_wanted_still


def _heard(connection: Connection, agent: str, through: int) -> None:
    connection.execute(update(agents).where(agents.c.id == agent).values(approvals_through=through))


async def _refused(
    core: Core, agent: str, link: LiveLink, method: str, body: dict[str, Any], error: OutriderError
) -> None:
    try:
        if method != "roster.set":
            raise error
        await _lead(core, link, body)
    except OutriderError as last:
        LOG.warning("an agent did not take what is wanted", agent=agent, method=method, why=str(last))


def tell_approval(core: Core, envelope: Envelope) -> None:
    """Let all connected agents hear of an approval that was just given, without waiting for them.

    Whoever has what it is about goes by it from then on: what is asked of them afterwards comes after it.
    """
    body = {"envelopes": [envelope.to_plain()]}
    for agent in core.links:
        link = core.links.find(agent)
        if link is not None:
            core.background(_tell(core, agent, link, body))


async def _tell(core: Core, agent: str, link: LiveLink, body: dict[str, Any]) -> None:
    try:
        await link.request(APPROVALS, body, REQUEST_TIMEOUT_S)
    except OutriderError as error:  # it hears of it with what is wanted, or at its next connection
        LOG.warning("an agent did not take an approval", agent=agent, why=str(error))
        if isinstance(error, _PASSING):
            await push(core, agent, link)


def push_all(core: Core) -> None:
    """Bring all connected agents to what is wanted, without waiting for them."""
    for agent in core.links:
        push_soon(core, agent)


def push_soon(core: Core, agent: str) -> None:
    """Bring an agent to what is wanted, if it is connected, without waiting for it."""
    link = core.links.find(agent)
    if link is not None:
        core.background(push(core, agent, link))
