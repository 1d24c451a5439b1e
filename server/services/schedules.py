"""Schedules: what runs when on whom. Agents keep them and fire by themselves; the server only says what is wanted.

- A schedule names one digest: a new version of the script does not slip in, it is another wanted state.
- A paused schedule is not sent to anybody. An operator's signed order stays as it was signed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from protocol.errors import ArgumentError, DeniedError, NotFoundError
from protocol.firetimes import check_times, next_fires
from protocol.schedules import ScheduleSpec
from protocol.signing import Envelope, peek
from protocol.statements import Order
from protocol.units import parse_duration
from server import clock
from server.access import Caller
from server.core import Core
from server.services import agents as agent_service
from server.services import desired, grants, namespace, permits, schedule_room
from server.services import scripts as script_service
from server.services.targets import Target
from server.services.visibility import EVERYTHING, Viewer
from server.store.tables import schedules

_SPEC = ("cron", "every_s", "zone", "splay_s", "overlap", "timeout_s", "catch_up")


async def add(core: Core, asked: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """Make a schedule and send it to whom it is for.

    Raises:
        ArgumentError: Cron line, time zone, target or parameters are wrong; names which.
        TrustError: The script may not run.
        TooLargeError: No host could be sent it.
        ConflictError: A host would have too many.
    """

    def store(connection: Connection) -> dict[str, Any]:
        planned = _plan(core, connection, asked, caller)
        spec, target, principal, permit = planned.spec, planned.target, caller.principal, planned.permit
        if connection.execute(select(schedules.c.id).where(schedules.c.id == spec.id)).first() is not None:
            raise ArgumentError(f"there is a schedule {spec.id} already", parameter="order")
        connection.execute(
            insert(schedules).values(
                id=spec.id, target=target.text, spec=spec.to_wire(), version=planned.version, principal=principal,
                order=None if planned.order is None else planned.order.to_json(), created_us=clock.now_us(),
                permit=permit,
            )
        )  # fmt: skip
        schedule_room.check(connection, spec.id, _meant(connection, target))
        desired.changed(connection)
        core.ledger.append(
            connection, call="schedule.add", principal=principal, arguments=_told(spec, target.text, permit)
        )
        return view(connection, find(connection, spec.id))

    answer = await core.database.write(store)
    desired.push_all(core)
    return answer


async def preview(core: Core, asked: dict[str, Any], caller: Caller, count: int) -> dict[str, Any]:
    """Return what :func:`add` would make: all of its checks, and nothing is written.

    Args:
        core: The server.
        asked: As for :func:`add`.
        caller: Who asks.
        count: How many fire times, 1 to ``protocol.limits.MAX_FIRES``.

    Raises:
        OutriderError: As :func:`add`.
    """

    def look(connection: Connection) -> dict[str, Any]:
        planned = _plan(core, connection, asked, caller)
        spec = planned.spec
        return {
            "script": spec.script, "version": planned.version, "digest": spec.digest, "parameters": spec.parameters,
            "on": planned.target.text, "zone": spec.zone, "splay_s": spec.splay_s,
            "hosts": [
                {"id": each.id, "name": each.name, "connected": each.id in core.links}
                for each in _meant(connection, planned.target)
            ],
            "fires": _texts(next_fires(spec, clock.now(), count)),
            "warnings": namespace.warnings(connection, spec.script, planned.version),
        }  # fmt: skip

    return await core.database.read(look)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A schedule that may be made."""

    spec: ScheduleSpec
    target: Target
    version: str
    order: Envelope | None  # an operator's own
    permit: str | None  # the grant that allows it; None if a role does


def _plan(core: Core, connection: Connection, asked: dict[str, Any], caller: Caller) -> _Planned:
    target = Target.parse(asked["on"])
    order = None if asked.get("order") is None else Envelope.from_json(asked["order"])
    permitted = grants.candidates(connection, caller, permits.SCHEDULE, asked["script"])
    viewer = Viewer.of(caller) if permitted is None else EVERYTHING  # who is granted a script may know of it
    row, _ = script_service.resolve(core, connection, asked["script"], asked.get("version"), viewer)
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    script_service.refuse_library(bundle.manifest)
    parameters = bundle.manifest.check_parameters(asked.get("parameters") or {})
    permit = None if permitted is None else grants.choose(permitted, _wanted(connection, asked, row.name, target))
    if permit is not None and order is not None:
        raise DeniedError("what an order says cannot be held against a grant", rule=f"grant {permit}")
    spec = _ordered(order) if order is not None else _spec(asked, row, parameters, target)
    check_times(spec)
    if spec.digest != row.digest:
        raise ArgumentError(f"the order is for {spec.digest}, {row.name} {row.version} is {row.digest}")
    if spec.script not in ("", row.name):  # by which people would know it
        raise ArgumentError(f"the order calls {row.name} {spec.script[:80]!r}", parameter="order")
    return _Planned(spec, target, row.version, order, permit)


def _meant(connection: Connection, target: Target) -> list[Any]:
    """Return whom a target means now; a host that is not there yet may be named."""
    try:
        return agent_service.meant(connection, target)
    except NotFoundError:
        return []


def _wanted(connection: Connection, asked: dict[str, Any], script: str, target: Target) -> permits.Asked:
    agents = [(each.id, each.name, each.labels) for each in agent_service.meant(connection, target)]
    return permits.Asked(permits.SCHEDULE, script, target.text, agents, asked.get("parameters") or {})


def _spec(asked: dict[str, Any], row: Row[Any], parameters: dict[str, Any], target: Target) -> ScheduleSpec:
    fields = {name: asked[name] for name in _SPEC if asked.get(name) is not None}
    for short, name in (("every", "every_s"), ("splay", "splay_s"), ("timeout", "timeout_s")):
        if asked.get(short) is None:
            continue
        if name in fields:
            raise ArgumentError(f"only one of {short} and {name} can be given", parameter=short)
        fields[name] = parse_duration(asked[short], where=short)
    return ScheduleSpec.from_wire(
        {
            "id": secrets.token_hex(8), "name": row.name, "script": row.name, "digest": row.digest,
            "parameters": parameters, "on": target.text, **fields,
        }
    )  # fmt: skip


def _ordered(order: Envelope) -> ScheduleSpec:
    """Return the schedule in an operator's order; whether the order counts, each agent decides."""
    schedule = Order.parse(peek(order)).schedule
    if schedule is None:
        raise ArgumentError("the order is not for a schedule", parameter="order")
    return ScheduleSpec.from_wire(schedule)


def _told(spec: ScheduleSpec, target: str, permit: str | None) -> dict[str, Any]:
    told = {"schedule": spec.id, "script": spec.script, "digest": spec.digest, "on": target}
    return told if permit is None else {**told, "grant": permit}


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a schedule.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(select(schedules).where(schedules.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no schedule {identity[:40]!r}")
    return row


def view(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return a schedule as the API shows it, with what there is to say against its script."""
    spec: dict[str, Any] = row.spec
    return spec | {
        "enabled": spec.get("enabled", True), "zone": spec.get("zone", "UTC"), "on": row.target,
        "version": row.version, "principal": row.principal, "created": clock.text(row.created_us),
        "is_signed": row.order is not None,
        "warnings": namespace.warnings(connection, spec["script"], row.version),
    }  # fmt: skip


def following(row: Row[Any], count: int, after: datetime) -> list[str]:
    """Return the next fire times before splay, RFC 3339."""
    spec = ScheduleSpec.from_wire(row.spec)
    return _texts(next_fires(spec, after, count))


def _texts(fires: Iterable[datetime]) -> list[str]:
    return [fire.strftime("%Y-%m-%dT%H:%M:%SZ") for fire in fires]


async def enable(core: Core, identity: str, enabled: bool, principal: str) -> dict[str, Any]:
    """Pause a schedule or let it fire again; raises as :func:`add` where a host would have too many."""

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        spec = row.spec | {"enabled": enabled}
        connection.execute(update(schedules).where(schedules.c.id == identity).values(spec=spec))
        if enabled:
            schedule_room.check(connection, identity, _meant(connection, Target.parse(row.target)))
        desired.changed(connection)
        core.ledger.append(
            connection, call="schedule.enable", principal=principal,
            arguments={"schedule": identity, "enabled": enabled},
        )  # fmt: skip
        return view(connection, find(connection, identity))

    answer = await core.database.write(store)
    desired.push_all(core)
    return answer


async def remove(core: Core, identity: str, principal: str) -> None:
    """Remove a schedule. Its runs and records stay."""

    def store(connection: Connection) -> None:
        find(connection, identity)
        connection.execute(delete(schedules).where(schedules.c.id == identity))
        desired.changed(connection)
        core.ledger.append(connection, call="schedule.remove", principal=principal, arguments={"schedule": identity})

    await core.database.write(store)
    desired.push_all(core)
