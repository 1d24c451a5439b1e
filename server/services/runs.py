"""One-off runs, and the list of all runs. What a run came to is told by the agent's records alone.

- A run is written down before the agent hears of it, so that no answer can be lost.
- Is the agent away, or does it refuse, the run ends here with that reason; the agent's own record of a refusal follows.
  Who says so has it wait for an agent that is away (:mod:`server.services.awaited`).
- If the link breaks before the agent has answered, nobody knows whether the run began: it is ``lost`` until the agent's
  records say more.
- The end of a run may be told while it is being written down (:mod:`server.endpoint.ahead`). So a server that starts
  does not guess what became of a run that it finds ``queued``: it asks the agent once that is back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from protocol.errors import ArgumentError, ConflictError, DeadlineError, NotConnectedError, NotFoundError, OutriderError
from protocol.frames import encode
from protocol.limits import MAX_RUNS_ASKED
from server import clock, limits
from server.access import Caller
from server.core import Core
from server.endpoint.links import LiveLink
from server.ledger import ENDED, TOLD
from server.services import agents as agent_service
from server.services import awaited, grants, namespace, permits
from server.services import scripts as script_service
from server.services.run_ends import not_begun
from server.services.targets import Target
from server.services.visibility import EVERYTHING, Viewer
from server.signals import Shown
from server.store.prepared import Prepared
from server.store.tables import agents, awaited_runs, runs

LOG = structlog.get_logger()
Note = Callable[[Connection, list[str]], None]
Version = Callable[[Connection], Row[Any]]
Watch = asyncio.Future[Shown | None]


async def start(
    core: Core, asked: dict[str, Any], caller: Caller, note: Note, version: Version | None = None
) -> dict[str, Any]:
    """Run a script once on all agents that are meant, and wait for the ends up to ``wait_s``.

    Args:
        core: The server.
        asked: As :class:`server.api.bodies.NewRun` has it.
        caller: Who asks.
        note: Keeps the ids of the runs in the commit that writes them down.
        version: Returns the version that is meant, for a caller who was let through already; without it, the one that
            is named or the newest that may run, if the caller may run it.

    Raises:
        NotFoundError: No such script or agent.
        DeniedError: The caller has neither the role nor a grant that allows all of it.
        TrustError: The script may not run.
        ArgumentError: A parameter is wrong.
        ConflictError: The target means nobody, or too many.
        NotConnectedError: One agent was named, and it is away.
    """
    target = Target.parse(asked["target"])

    def plan(connection: Connection) -> tuple[list[tuple[str, str]], dict[str, Any], set[str]]:
        made = _plan(core, connection, asked, target, caller, version)
        note(connection, [run for run, _ in made[0]])
        return made

    every, body, waiting = await core.database.write(plan)
    planned = [(run, agent) for run, agent in every if run not in waiting]
    awaited.send_soon(core, [agent for run, agent in every if run in waiting])
    wait_s = asked.get("wait_s") or 0.0
    watches = {run: core.endings.watch(run) for run, _ in planned}
    # In the background, so that a caller who waits no longer, or is gone, leaves no run without its end.
    told = {key: value for key, value in body.items() if key != "warnings"}
    sending = [core.background(_send(core, run, agent, told)) for run, agent in planned]
    try:
        async with asyncio.timeout(wait_s or None):
            if wait_s:  # also what does not begin has its end
                await _all(list(watches.values()))
            else:
                await asyncio.gather(*map(asyncio.shield, sending))
    except TimeoutError:
        pass  # the answer shows how far they are
    finally:
        for run, watch in watches.items():
            core.endings.forget(run, watch)
    return {"runs": await _shown(core, [run for run, _ in every], watches), "warnings": body["warnings"]}


def check_sendable(parameters: dict[str, Any]) -> None:
    """Return if parameters can be sent to a host at all.

    Raises:
        ArgumentError: They are too large, or hold what has no form there.
    """
    try:
        encode(parameters, max_bytes=limits.MAX_PARAMETERS_BYTES)
    except OutriderError as error:
        raise ArgumentError(f"the parameters cannot be sent: {error.message}", parameter="parameters") from None


async def again(core: Core, identities: list[str], wait_s: float) -> list[dict[str, Any]]:
    """Return runs that :func:`start` began before, after waiting for their ends up to ``wait_s``."""
    watches = {run: core.endings.watch(run) for run in identities}
    try:
        found = await _shown(core, identities, {})
        async with asyncio.timeout(wait_s):
            await _all([watches[run["id"]] for run in found if run["status"] not in ENDED and not run["waits_until"]])
    except TimeoutError:
        pass  # as above
    finally:
        for run, watch in watches.items():
            core.endings.forget(run, watch)
    return await _shown(core, identities, watches)


async def _all(watches: list[Watch]) -> None:
    for watch in watches:
        await watch


async def _shown(core: Core, identities: list[str], watches: Mapping[str, Watch]) -> list[Shown]:
    if len(identities) == 1:  # the usual case
        watch = watches.get(identities[0])
        told = watch.result() if watch is not None and watch.done() and not watch.cancelled() else None
        if told is not None:
            return [told]
        if not core.database.is_behind:  # a look by key: waking a thread would take longer
            return [core.database.read_now(lambda connection: shown(connection, identities[0]))]
    return await core.database.read(lambda connection: _views(connection, identities))


def _plan(
    core: Core, connection: Connection, asked: dict[str, Any], target: Target, caller: Caller,
    version: Version | None,
) -> tuple[list[tuple[str, str]], dict[str, Any], set[str]]:  # fmt: skip
    """Write the runs down; return run and agent of each, what all are told, and which runs wait for their agent."""
    principal = caller.principal
    permitted = None if version else grants.candidates(connection, caller, permits.RUN, asked["script"])
    if version is not None:
        row = version(connection)
    else:
        viewer = Viewer.of(caller) if permitted is None else EVERYTHING  # who is granted a script may know of it
        row, _ = script_service.resolve(core, connection, asked["script"], asked.get("version"), viewer)
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    script_service.refuse_library(bundle.manifest)
    parameters = bundle.manifest.check_parameters(asked.get("parameters") or {})
    meant = agent_service.meant(connection, target)
    if not meant:
        raise ConflictError(f"no host is meant by {target.text}")
    if len(meant) > limits.MAX_TARGETS:
        raise ConflictError(f"{target.text} means {len(meant)} agents ({limits.MAX_TARGETS} can run at once)")
    wanted = permits.Asked(
        permits.RUN, row.name, target.text, [(each.id, each.name, each.labels) for each in meant],
        asked.get("parameters") or {},
    )  # fmt: skip
    permit = grants.choose(permitted, wanted)
    when_back_s = asked.get("when_back_s")
    if target.is_exact and meant[0].id not in core.links and when_back_s is None:
        seen = clock.text(meant[0].last_seen_us)
        raise NotConnectedError(
            f"{meant[0].name} is not connected ({f'last seen {seen:.19}Z' if seen else 'never seen'})"
        )
    now_us = clock.now_us()
    planned = [(secrets.token_hex(8), agent.id) for agent in meant]
    _ADD.add(
        connection,
        [
            {
                "id": run, "agent": agent, "script": row.name, "version": row.version, "digest": row.digest,
                "status": "queued", "principal": principal, "purpose": asked["reason"], "created_us": now_us,
                "ordered": True,
            }
            for run, agent in planned
        ],
    )  # fmt: skip
    body = {
        "digest": row.digest, "parameters": parameters, "principal": principal, "reason": asked["reason"],
        "timeout_s": asked.get("timeout_s"), "order": asked.get("order"),
        **({"dry_run": True} if asked.get("dry_run") else {}),
    }  # fmt: skip
    waiting: set[str] = set()
    if when_back_s is not None:
        hosts = {run: agent for (run, _), agent in zip(planned, meant, strict=True)}
        waiting = awaited.keep(core, connection, caller, hosts, body, permit, when_back_s)
    core.ledger.append(
        connection, call="run.start", principal=principal,
        arguments={
            "script": row.name, "version": row.version, "digest": row.digest, "target": target.text,
            "runs": len(planned), "first": planned[0][0], "reason": asked["reason"],
            **({} if permit is None else {"grant": permit}),
            **({"dry_run": True} if asked.get("dry_run") else {}),
            **({"waiting": len(waiting)} if waiting else {}),
        },
    )  # fmt: skip
    return planned, body | {"warnings": namespace.warnings(connection, row.name, row.version)}, waiting


async def _send(core: Core, run: str, agent: str, body: dict[str, Any]) -> None:
    """Tell one agent; what keeps the run from beginning becomes its end."""
    link = core.links.find(agent)
    try:
        if link is None:
            raise NotConnectedError("the agent is not connected")
        asked = {"run_id": run, **body}
        await link.request("run.start", asked, limits.REQUEST_TIMEOUT_S, whose=body["principal"])
    except OutriderError as error:
        # An agent that heard of it and did not answer may have begun; one that never heard has not.
        is_unknown = link is not None and isinstance(error, NotConnectedError | DeadlineError)
        ended = "lost" if is_unknown else "refused"
        reason, code = error.message, error.code
    else:
        return
    await core.database.write(lambda connection: not_begun(connection, run, ended, reason, code))
    core.endings.ended(run)


def unanswered(connection: Connection) -> dict[str, list[str]]:
    """At start: return the runs of each agent of which it is not known whether it has taken them up."""
    found: dict[str, list[str]] = {}
    waiting = select(awaited_runs.c.run)
    query = select(runs.c.agent, runs.c.id).where(runs.c.status == "queued", runs.c.id.not_in(waiting))
    for row in connection.execute(query):
        found.setdefault(row.agent, []).append(row.id)
    return found


async def settle(core: Core, agent: str, link: LiveLink) -> None:
    """Ask an agent that is back about the runs that an earlier server left unanswered.

    What it knows of, its records tell of. What it does not know of never began, and ends here.
    """
    asked = core.unanswered.get(agent, [])
    while asked:
        part = asked[:MAX_RUNS_ASKED]
        try:
            told = (await link.request("run.known", {"run_ids": part}, limits.REQUEST_TIMEOUT_S)).get("known")
        except (NotConnectedError, DeadlineError):  # it is asked when it is back
            return
        except OutriderError as error:  # an older agent; then what its records do not tell of is lost
            LOG.info("an agent does not tell which runs it knows", agent=agent, why=str(error))
            told = []
        known = told if isinstance(told, list) else []
        lost = [run for run in part if run not in known]
        if lost:
            await core.database.write(partial(_never_begun, lost=lost))
            for run in lost:
                core.endings.ended(run)
        del asked[: len(part)]


def _never_begun(connection: Connection, lost: list[str]) -> None:
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(lost), runs.c.status == "queued")
        .values(status="lost", reason="the server ended before the agent had taken it up", finished_us=clock.now_us())
    )


def host_removed(connection: Connection, agent: str) -> list[str]:
    """What runs on a host that was removed is lost, as it will tell of it no more; return the ids."""
    live = (runs.c.agent == agent, runs.c.status.not_in(ENDED))
    found = list(connection.execute(select(runs.c.id).where(*live)).scalars())
    gone = {"status": "lost", "reason": "its host was removed", "finished_us": clock.now_us(), "waits_until_us": None}
    connection.execute(update(runs).where(*live).values(**gone))
    return found


async def cancel(core: Core, identity: str, principal: str) -> dict[str, Any]:
    """End a run that is under way, or waits for its agent.

    Raises:
        ConflictError: It has ended.
        NotConnectedError: Its agent is away, and it does not wait for it.
    """
    row = await core.database.read(lambda connection: find(connection, identity))
    if row.status in ENDED:
        raise ConflictError(f"run {identity} has ended already: {row.status}")

    def note(connection: Connection) -> None:
        core.ledger.append(connection, call="run.cancel", principal=principal, arguments={"run": identity})

    def end(connection: Connection) -> bool:
        is_ended = awaited.cancel(core, connection, identity, principal)
        if is_ended:
            note(connection)
        return is_ended

    if await core.database.write(end):
        core.endings.ended(identity)
    else:
        await core.links.get(row.agent).request("run.cancel", {"run_id": identity}, limits.REQUEST_TIMEOUT_S)
        await core.database.write(note)
    return await core.database.read(lambda connection: _views(connection, [identity])[0])


# looking -------------------------------------------------------------------------------------------------------------


def find(connection: Connection, identity: str) -> Any:
    """Return a run.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = _BY_ID.first(connection, run=identity)
    if row is None:
        raise NotFoundError(f"there is no run {identity[:40]!r}")
    return row


def _joined() -> Any:
    return select(runs, agents.c.name.label("agent_name")).join(agents, agents.c.id == runs.c.agent)


_BY_ID = Prepared(_joined().where(runs.c.id == bindparam("run")))
_ADD = Prepared(
    insert(runs), "id", "agent", "script", "version", "digest", "status", "principal", "purpose", "created_us",
    "ordered",
)  # fmt: skip


def query(
    connection: Connection, *, agent: str | None, script: str | None, status: str | None, schedule: str | None
) -> Any:
    """Return the query for the runs that are meant."""
    found = _joined()
    if agent is not None:
        found = found.where(runs.c.agent == agent_service.find(connection, agent).id)
    for column, value in ((runs.c.script, script), (runs.c.status, status), (runs.c.schedule, schedule)):
        found = found if value is None else found.where(column == value)
    return found


def shown(connection: Connection, identity: str) -> dict[str, Any]:
    """Return one run as the API shows it.

    Raises:
        NotFoundError: There is none of this id.
    """
    return view(find(connection, identity))


def agent_of(connection: Connection, identity: str) -> str | None:
    """Return whose a run is; None if there is none of this id."""
    row = _BY_ID.first(connection, run=identity)
    return None if row is None else str(row.agent)


def shown_ended(connection: Connection, *, agent: str, identity: str, ended: Mapping[str, Any]) -> Shown | None:
    """Return a run as it will be read once its end is on disk; None if the agent has no such run, or it has ended.

    Args:
        connection: Sees what is on disk.
        agent: Who tells of its end.
        identity: Of the run.
        ended: What its row becomes; ``started_us`` only if it has none.
    """
    row = _BY_ID.first(connection, run=identity)
    if row is None or row.agent != agent or row.status in TOLD:
        return None
    began_us = ended["started_us"] if row.started_us is None else row.started_us
    return view(row._replace(**{**ended, "started_us": began_us}))


def _views(connection: Connection, identities: Iterable[str]) -> list[dict[str, Any]]:
    wanted = list(identities)
    rows = connection.execute(_joined().where(runs.c.id.in_(wanted)))
    found = {row.id: view(row) for row in rows}
    return [found[identity] for identity in wanted]


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a run as the API shows it."""
    ending = row.ending or {}
    told = (
        "result", "output", "truncated", "metrics", "state", "status_text", "timestamp_ms", "rows", "progress", "usage",
        "walls",
    )  # fmt: skip
    return {
        "id": row.id, "agent": row.agent_name, "agent_id": row.agent, "script": row.script, "version": row.version,
        "digest": row.digest, "status": row.status, "reason": row.reason, "principal": row.principal,
        "purpose": row.purpose, "schedule": row.schedule, "fire_time": clock.text(row.fire_us),
        "created": clock.text(row.created_us), "started": clock.text(row.started_us),
        "finished": clock.text(row.finished_us),
        "waits_until": clock.text(row.waits_until_us) if row.status == "queued" else None,
        "code": _code(ending) if row.started_us is None else None, **{name: ending.get(name) for name in told},
    }  # fmt: skip


def _code(ending: dict[str, Any]) -> str | None:
    """Return the code of the error that kept a run from beginning."""
    code = ending.get("code")
    return code if isinstance(code, str) else None
