"""Runs that wait for their hosts to be back: kept, sent when the host connects, given up when their time is over.

- Only where whoever asked said so, and no longer than their token and the grant that allows it last.
- Whether it may run is asked again before it is sent: the token, the grant, what proves the script. The agent decides
  after that as about any run; it has the newest roster and withdrawals then, because those are sent before.
- It runs once at most. Before it is sent it is written down that it was tried; if the link breaks before the answer,
  the agent is asked whether it knows the run once it is back, and only what it does not know is sent again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, select, update

from protocol.errors import (
    ConflictError,
    DeadlineError,
    DeniedError,
    NotConnectedError,
    OutriderError,
    TooLargeError,
    UnavailableError,
)
from server import clock, limits
from server.access import Caller
from server.core import Core
from server.endpoint.links import LiveLink
from server.services import grants
from server.services import scripts as script_service
from server.services.run_ends import not_begun
from server.services.targets import Target
from server.store.tables import agents, awaited_runs, runs, tokens
from server.store.tables import grants as grant_table

LOG = structlog.get_logger()
LOOK_EVERY_S: Final = 30.0  # for runs whose time is over
#: After which an agent is not asked any more whether it knows a run: it remembers those that ended for seven days.
ASKED_WITHIN_S: Final = 6 * 86_400.0


# keeping -------------------------------------------------------------------------------------------------------------


def keep(
    core: Core, connection: Connection, caller: Caller, planned: Mapping[str, Row[Any]], body: Mapping[str, Any],
    permit: str | None, when_back_s: float,
) -> set[str]:  # fmt: skip
    """Keep those of the runs that were just written down whose hosts are away; return their ids.

    Args:
        core: The server.
        connection: In a command of the writer.
        caller: Who asks.
        planned: The hosts, by run.
        body: What each agent is told, without the run's id.
        permit: The grant that allows it; None if a role does.
        when_back_s: How long they wait at most, in seconds.

    Raises:
        TooLargeError: What is to be kept of one of them is too large.
        ConflictError: Too many wait already.
    """
    away = {run: agent for run, agent in planned.items() if agent.id not in core.links}
    if not away:
        return set()
    size = len(json.dumps(body).encode())
    if size > limits.MAX_AWAITED_BYTES:
        raise TooLargeError(
            f"a run that waits for its host has at most {limits.MAX_AWAITED_BYTES} bytes of parameters and order,"
            f" not {size}"
        )
    _check_room(connection, list(away.values()), caller.principal)
    until_us = min(clock.now_us() + int(when_back_s * 1e6), caller.expires_us, _end_of(connection, permit))
    connection.execute(
        insert(awaited_runs),
        [
            {
                "run": run, "agent": agent.id, "digest": body["digest"], "body": dict(body), "until_us": until_us,
                "token": caller.token_id, "permit": permit,
            }
            for run, agent in away.items()
        ],
    )  # fmt: skip
    connection.execute(update(runs).where(runs.c.id.in_(list(away))).values(waits_until_us=until_us))
    return set(away)


def _check_room(connection: Connection, hosts: Sequence[Row[Any]], principal: str) -> None:
    own = func.sum(case((runs.c.principal == principal, 1), else_=0)).label("own")
    query = select(awaited_runs.c.agent, func.count().label("held"), own).join(runs, runs.c.id == awaited_runs.c.run)
    waiting = {row.agent: row for row in connection.execute(query.group_by(awaited_runs.c.agent))}
    of_all, of_one = sum(row.held for row in waiting.values()), sum(row.own for row in waiting.values())
    for held, most, whose in (
        (of_all, limits.MAX_AWAITED, ""),
        (of_one, limits.MAX_AWAITED_OF_ONE, f" of {principal}"),
    ):
        if held + len(hosts) > most:
            raise ConflictError(f"{held} runs{whose} wait for their hosts already; {most} can")
    for host in hosts:
        row = waiting.get(host.id)
        if row is not None and row.held >= limits.MAX_AWAITED_OF_HOST:
            raise ConflictError(f"{row.held} runs wait for {host.name} already")
        if row is not None and row.own >= limits.MAX_AWAITED_OF_HOST_BY_ONE:
            raise ConflictError(f"{row.own} runs of {principal} wait for {host.name} already")


def _end_of(connection: Connection, permit: str | None) -> int:
    """Return when a grant ends, which is in force."""
    ends = None if permit is None else grants.find(connection, permit).expires_us
    return limits.MAX_TIME_US if ends is None else int(ends)


# sending -------------------------------------------------------------------------------------------------------------


def send_soon(core: Core, agents_meant: Sequence[str]) -> None:
    """Send what waits for hosts that came back while it was being written down."""
    for agent in agents_meant:
        link = core.links.find(agent)
        if link is not None:
            core.background(send_all(core, agent, link))


async def send_all(core: Core, agent: str, link: LiveLink) -> None:
    """Send a host that is back what waits for it, the oldest first; each in a turn of its own.

    The turn is that of sending what is wanted, so that nothing overtakes a withdrawal and nothing is sent twice.
    """
    turn = core.links.turn(link)
    async with turn.lock:
        is_settled = await _settle_tried(core, agent, link)
    while is_settled:
        async with turn.lock:
            if not await _send_next(core, agent, link):
                return


async def _settle_tried(core: Core, agent: str, link: LiveLink) -> bool:
    """Ask about the runs whose link broke before the agent answered; False: this one is over, too."""
    tried = await core.database.read(lambda connection: _tried(connection, agent))
    if not tried:
        return True
    try:
        told = (await link.request("run.known", {"run_ids": tried}, limits.REQUEST_TIMEOUT_S)).get("known")
    except (NotConnectedError, DeadlineError):  # it is asked when it is back
        return False
    except OutriderError as error:  # nobody can say that they did not begin
        LOG.warning("an agent does not tell which runs it knows", agent=agent, why=str(error))
        told = None
    known = told if isinstance(told, list) else None
    ended = await core.database.write(partial(_settled, core, tried=tried, known=known))
    for run in ended:
        core.endings.ended(run)
    return True


def _tried(connection: Connection, agent: str) -> list[str]:
    query = select(awaited_runs.c.run).where(awaited_runs.c.agent == agent, awaited_runs.c.tried_us.is_not(None))
    return list(connection.execute(query).scalars())


def _settled(core: Core, connection: Connection, tried: list[str], known: list[Any] | None) -> list[str]:
    """What the agent knows waits no longer; what it does not know waits again. Return those that are lost."""
    lost = []
    oldest_us = clock.now_us() - int(ASKED_WITHIN_S * 1e6)
    for row in _not_begun(connection, awaited_runs.c.run.in_(tried)):
        if known is not None and row.run in known:
            connection.execute(delete(awaited_runs).where(awaited_runs.c.run == row.run))
        elif known is None or row.tried_us < oldest_us:
            _end(core, connection, row, "lost", "nobody knows whether it began when it was sent", DeadlineError.code)
            lost.append(row.run)
        else:
            connection.execute(update(awaited_runs).where(awaited_runs.c.run == row.run).values(tried_us=None))
            connection.execute(update(runs).where(runs.c.id == row.run).values(waits_until_us=row.until_us))
    return lost


def _not_begun(connection: Connection, which: ColumnElement[bool]) -> list[Row[Any]]:
    """Return those of the runs that wait of which no record tells; the others wait no longer.

    What an agent remembers goes by its clock, which may be set; its records are kept here.
    """
    rows = connection.execute(select(awaited_runs).where(which)).all()
    told = runs.c.started_us.is_not(None) | runs.c.finished_us.is_not(None)
    query = select(runs.c.id).where(runs.c.id.in_([row.run for row in rows if row.tried_us is not None]), told)
    begun = set(connection.execute(query).scalars())
    connection.execute(delete(awaited_runs).where(awaited_runs.c.run.in_(begun)))
    return [row for row in rows if row.run not in begun]


async def _send_next(core: Core, agent: str, link: LiveLink) -> bool:
    """Send one run, or give it up; False if none waits any more, or the link is over."""
    if core.links.find(agent) is not link:
        return False
    taken = await core.database.write(lambda connection: _take(core, connection, agent))
    if taken is None:
        return False
    row, refusal = taken
    ended, why = "", refusal
    try:
        if refusal is None:
            await link.request("run.start", {"run_id": row.run, **row.body}, limits.REQUEST_TIMEOUT_S)
    except NotConnectedError:  # it is asked when it is back whether it knows the run
        send_soon(core, [agent] if core.links.find(agent) is not link else [])
        return False
    except DeadlineError as error:
        ended, why = "lost", error
    except OutriderError as error:
        ended, why = "refused", error
    if refusal is None:
        await core.database.write(lambda connection: _sent(core, connection, row, ended, why))
    if why is not None:
        core.endings.ended(row.run)
    return True


def _take(core: Core, connection: Connection, agent: str) -> tuple[Row[Any], OutriderError | None] | None:
    """Return the run to be sent next, written down as tried; or one that was given up, and why."""
    oldest = (
        select(awaited_runs)
        .join(runs, runs.c.id == awaited_runs.c.run)
        .where(awaited_runs.c.agent == agent, awaited_runs.c.tried_us.is_(None))
        .order_by(runs.c.position)
        .limit(1)
    )
    row = connection.execute(oldest).first()
    if row is None:
        return None
    try:
        _check_still(core, connection, row)
    except OutriderError as error:
        _end(core, connection, row, "refused", error.message, error.code)
        return row, error
    connection.execute(update(awaited_runs).where(awaited_runs.c.run == row.run).values(tried_us=clock.now_us()))
    connection.execute(update(runs).where(runs.c.id == row.run).values(waits_until_us=None))
    return row, None


def _check_still(core: Core, connection: Connection, row: Row[Any]) -> None:
    """Return if a run that waited may be sent.

    Raises:
        DeadlineError: Its time is over.
        DeniedError: Whoever asked for it may not any more.
        TrustError: The script must not run any more.
        NotFoundError: It is gone.
    """
    now_us = clock.now_us()
    if row.until_us <= now_us:
        raise DeadlineError(_too_late(row))
    token = connection.execute(select(tokens).where(tokens.c.id == row.token)).first()
    if token is None or token.revoked_us is not None or token.expires_us <= now_us:
        raise DeniedError("the token with which it was asked for has ended", rule="token")
    if row.permit is not None:
        _check_permit(connection, row, now_us)
    script_service.judge(core, connection, script_service.by_digest(connection, row.digest))


def _check_permit(connection: Connection, row: Row[Any], now_us: int) -> None:
    """Return if the grant that allowed a run still does. Grants never change, but they end, and hosts get labels."""
    grant = connection.execute(select(grant_table).where(grant_table.c.id == row.permit)).first()
    if grant is None or (grant.expires_us is not None and grant.expires_us <= now_us):
        raise DeniedError("the grant that allowed it has ended", rule=f"grant {row.permit}")
    host = connection.execute(select(agents).where(agents.c.id == row.agent)).one()
    if not Target.parse(grant.target).matches(host.id, host.name, host.labels):
        raise DeniedError(f"{host.name} is not one of {grant.target} any more", rule=f"grant {row.permit}")


def _sent(core: Core, connection: Connection, row: Row[Any], ended: str, why: OutriderError | None) -> None:
    """The agent has answered, or did not in time."""
    if why is not None:
        _end(core, connection, row, ended, why.message, why.code)
    else:
        connection.execute(delete(awaited_runs).where(awaited_runs.c.run == row.run))


# giving up -----------------------------------------------------------------------------------------------------------


def cancel(core: Core, connection: Connection, identity: str, principal: str) -> bool:
    """End a run that waits; False if it does not, or is on its way to its host now."""
    row = next(iter(_not_begun(connection, awaited_runs.c.run == identity)), None)
    if row is None or (row.tried_us is not None and row.agent in core.links):
        return False
    if row.tried_us is None:
        _end(core, connection, row, "killed", f"cancelled by {principal} before its host was back", None)
    else:
        _end(core, connection, row, "lost", f"cancelled by {principal}; it may have begun before", None)
    return True


def host_removed(core: Core, connection: Connection, agent: str) -> None:
    """Nothing waits any more for a host that was removed."""
    for row in _not_begun(connection, awaited_runs.c.agent == agent):
        status = "refused" if row.tried_us is None else "lost"
        _end(core, connection, row, status, "its host was removed", NotConnectedError.code)


async def watch(core: Core) -> None:
    """Give up the runs whose time is over, until the server ends, and send what was left behind."""
    while True:
        try:
            await look(core)
        except UnavailableError as error:  # a full disk; the next time will do
            LOG.warning("runs that wait for their hosts could not be looked at", why=str(error))
        await asyncio.sleep(LOOK_EVERY_S)


async def look(core: Core) -> None:
    """Give up the runs whose time is over; go on with those whose hosts are here and get nothing now.

    So it is where something failed while they were sent, such as a full disk.
    """
    for run in await core.database.write(lambda connection: give_up(core, connection)):
        core.endings.ended(run)
    waiting = await core.database.read(lambda c: list(c.execute(select(awaited_runs.c.agent).distinct()).scalars()))
    links = [(agent, core.links.find(agent)) for agent in waiting]
    send_soon(core, [agent for agent, link in links if link is not None and not core.links.turn(link).lock.locked()])


def give_up(core: Core, connection: Connection) -> list[str]:
    """Give up the runs whose time is over; return their ids. Of those whose host is here its turn decides."""
    over = _not_begun(connection, awaited_runs.c.until_us <= clock.now_us())
    rows = [row for row in over if row.agent not in core.links]
    for row in rows:
        _end(core, connection, row, "refused" if row.tried_us is None else "lost", _too_late(row), DeadlineError.code)
    return [row.run for row in rows]


def _too_late(row: Row[Any]) -> str:
    return f"its host was not back by {clock.text(row.until_us)}"


def _end(core: Core, connection: Connection, row: Row[Any], status: str, reason: str, code: str | None) -> None:
    connection.execute(delete(awaited_runs).where(awaited_runs.c.run == row.run))
    not_begun(connection, row.run, status, reason, code)
    if code is not None:  # what a person cancels is on record as that
        core.ledger.append(
            connection, call="run.give_up", principal="outrider-server",
            arguments={"run": row.run, "agent": row.agent, "status": status, "reason": reason},
        )  # fmt: skip
