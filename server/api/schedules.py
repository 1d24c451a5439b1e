"""``/schedules``: what runs when on whom."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, select

from server import clock
from server.api.asking import CoreOf, Reader, Scheduler, about
from server.api.bodies import NewSchedule, ScheduleChange
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import schedules
from server.store.tables import schedules as table

router = APIRouter(prefix="/schedules", tags=["schedules"])
_BY_AGE = Order((table.c.created_us, table.c.id))


@router.get("")
async def ls(core: CoreOf, _: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List schedules, oldest first."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, select(table), _BY_AGE, limit, cursor)
        return Page(items=[schedules.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.post("", status_code=201)
async def add(request: Request, core: CoreOf, caller: Scheduler, body: NewSchedule) -> Response:
    """Make a schedule."""
    about(request, script=body.script, on=body.on)
    asked = body.model_dump(exclude_none=True)
    return await once(request, core, caller, lambda: schedules.add(core, asked, caller.principal), status=201)


@router.get("/{identity}")
async def show(core: CoreOf, _: Reader, identity: str) -> dict[str, Any]:
    """Show a schedule."""
    return await core.database.read(lambda connection: schedules.view(schedules.find(connection, identity)))


@router.get("/{identity}/next")
async def following(
    core: CoreOf, _: Reader, identity: str, count: Annotated[int, Query(ge=1, le=100)] = 5
) -> dict[str, list[str]]:
    """Tell the next fire times, before each host's own splay."""
    now = clock.now()
    fires = await core.database.read(
        lambda connection: schedules.following(schedules.find(connection, identity), count, now)
    )
    return {"fires": fires}


@router.patch("/{identity}")
async def change(
    request: Request, core: CoreOf, caller: Scheduler, identity: str, body: ScheduleChange
) -> dict[str, Any]:
    """Pause a schedule, or let it fire again."""
    about(request, schedule=identity)
    return await schedules.enable(core, identity, body.enabled, caller.principal)


@router.delete("/{identity}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Scheduler, identity: str) -> Response:
    """Remove a schedule. Its runs and records stay."""
    about(request, schedule=identity)
    await schedules.remove(core, identity, caller.principal)
    return Response(status_code=204)
