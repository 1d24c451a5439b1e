"""Schedules: what runs when on whom. Agents keep them and fire by themselves; the server only says what is wanted.

- A schedule names one digest: a new version of the script does not slip in, it is another wanted state.
- A paused schedule is not sent to anybody. An operator's signed order stays as it was signed.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from protocol.errors import ArgumentError, NotFoundError
from protocol.firetimes import check_times, next_fires
from protocol.schedules import ScheduleSpec
from protocol.signing import Envelope, peek
from protocol.statements import Order
from protocol.units import parse_duration
from server import clock
from server.core import Core
from server.services import desired
from server.services import scripts as script_service
from server.services.targets import Target
from server.store.tables import schedules

_SPEC = ("cron", "every_s", "zone", "splay_s", "overlap", "timeout_s", "catch_up")


async def add(core: Core, asked: dict[str, Any], principal: str) -> dict[str, Any]:
    """Make a schedule and send it to whom it is for.

    Raises:
        ArgumentError: Cron line, time zone, target or parameters are wrong; names which.
        TrustError: The script may not run.
    """
    target = Target.parse(asked["on"])
    order = None if asked.get("order") is None else Envelope.from_json(asked["order"])

    def store(connection: Connection) -> dict[str, Any]:
        row, _ = script_service.resolve(core, connection, asked["script"], asked.get("version"))
        bundle = core.repository.bundle(row.name, row.version, row.digest)
        parameters = bundle.manifest.check_parameters(asked.get("parameters") or {})
        spec = _ordered(order) if order is not None else _spec(asked, row, parameters, target)
        check_times(spec)
        if spec.digest != row.digest:
            raise ArgumentError(f"the order is for {spec.digest}, {row.name} {row.version} is {row.digest}")
        if connection.execute(select(schedules.c.id).where(schedules.c.id == spec.id)).first() is not None:
            raise ArgumentError(f"there is a schedule {spec.id} already", parameter="order")
        connection.execute(
            insert(schedules).values(
                id=spec.id, target=target.text, spec=spec.to_wire(), version=row.version, principal=principal,
                order=None if order is None else order.to_json(), created_us=clock.now_us(),
            )
        )  # fmt: skip
        desired.changed(connection)
        core.ledger.append(connection, call="schedule.add", principal=principal, arguments=_told(spec, target.text))
        return view(find(connection, spec.id))

    answer = await core.database.write(store)
    desired.push_all(core)
    return answer


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


def _told(spec: ScheduleSpec, target: str) -> dict[str, Any]:
    return {"schedule": spec.id, "script": spec.script, "digest": spec.digest, "on": target}


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a schedule.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(select(schedules).where(schedules.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no schedule {identity[:40]!r}")
    return row


def view(row: Row[Any]) -> dict[str, Any]:
    """Return a schedule as the API shows it."""
    spec: dict[str, Any] = row.spec
    return spec | {
        "enabled": spec.get("enabled", True), "zone": spec.get("zone", "UTC"), "on": row.target,
        "version": row.version, "principal": row.principal, "created": clock.text(row.created_us),
        "is_signed": row.order is not None,
    }  # fmt: skip


def following(row: Row[Any], count: int, after: datetime) -> list[str]:
    """Return the next fire times before splay, RFC 3339."""
    spec = ScheduleSpec.from_wire(row.spec)
    return [fire.strftime("%Y-%m-%dT%H:%M:%SZ") for fire in next_fires(spec, after, count)]


async def enable(core: Core, identity: str, enabled: bool, principal: str) -> dict[str, Any]:
    """Pause a schedule or let it fire again."""

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        spec = row.spec | {"enabled": enabled}
        connection.execute(update(schedules).where(schedules.c.id == identity).values(spec=spec))
        desired.changed(connection)
        core.ledger.append(
            connection, call="schedule.enable", principal=principal,
            arguments={"schedule": identity, "enabled": enabled},
        )  # fmt: skip
        return view(find(connection, identity))

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
