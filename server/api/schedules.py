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
from server.services.discretion import towards
from server.store.tables import schedules as table

router = APIRouter(prefix="/schedules", tags=["schedules"])
_BY_AGE = Order((table.c.created_us, table.c.id))


@router.get("")
async def ls(core: CoreOf, caller: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List schedules, oldest first."""

    def find(connection: Connection) -> Page:
        discretion = towards(connection, caller)
        rows, following = page(connection, select(table), _BY_AGE, limit, cursor)
        return Page(items=[discretion.told(schedules.view(connection, row)) for row in rows], next=following)

    return await core.database.read(find)


@router.post("", status_code=201)
async def add(request: Request, core: CoreOf, caller: Reader, body: NewSchedule) -> Response:
    """Make a schedule. Who has not the role needs a grant that allows all of it."""
    about(request, script=body.script, on=body.on)
    asked = body.model_dump(exclude_none=True)
    return await once(request, core, caller, lambda: schedules.add(core, asked, caller), status=201)


@router.post("/preview")
async def preview(
    request: Request, core: CoreOf, caller: Reader, body: NewSchedule,
    count: Annotated[int, Query(ge=1, le=100)] = 5,
) -> dict[str, Any]:  # fmt: skip
    """Tell what a schedule would come to, with every check of making it: on whom and when. Nothing is made."""
    about(request, script=body.script, on=body.on)
    return await schedules.preview(core, body.model_dump(exclude_none=True), caller, count)


@router.get("/{identity}")
async def show(core: CoreOf, caller: Reader, identity: str) -> dict[str, Any]:
    """Show a schedule."""

    def find(connection: Connection) -> Any:
        found = schedules.view(connection, schedules.find(connection, identity))
        return towards(connection, caller).told(found)

    return dict(await core.database.read(find))


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
    changed = await schedules.enable(core, identity, body.enabled, caller.principal)
    return dict(await core.database.read(lambda connection: towards(connection, caller).told(changed)))


@router.delete("/{identity}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Scheduler, identity: str) -> Response:
    """Remove a schedule. Its runs and records stay."""
    about(request, schedule=identity)
    await schedules.remove(core, identity, caller.principal)
    return Response(status_code=204)
