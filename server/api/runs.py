"""``/runs``: one-off runs, and what all runs came to."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, false

from server import limits
from server.access import Caller
from server.api.asking import CoreOf, Reader, Runner, about
from server.api.bodies import NewRun
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import Note, once, once_begun
from server.core import Core
from server.services import runs
from server.services.discretion import towards
from server.store.tables import runs as table

router = APIRouter(prefix="/runs", tags=["runs"])
_NEWEST_FIRST = Order((table.c.position,), descending=True)


@router.get("")
async def ls(
    core: CoreOf, caller: Reader, limit: Limit = limits.DEFAULT_PAGE, cursor: Cursor = None, agent: str | None = None,
    script: str | None = None, status: str | None = None, schedule: str | None = None,
) -> Page:  # fmt: skip
    """List runs, newest first."""

    def find(connection: Connection) -> Page:
        discretion = towards(connection, caller)
        query = runs.query(connection, agent=agent, script=script, status=status, schedule=schedule)
        if discretion.hides(script):
            query = query.where(false())  # as for a name that nobody has published
        rows, following = page(connection, query, _NEWEST_FIRST, limit, cursor)
        return Page(items=[discretion.told(runs.view(row)) for row in rows], next=following)

    async with core.looks.turn(caller.principal):
        return await core.database.read(find)


@router.post("", status_code=201)
async def start(request: Request, core: CoreOf, caller: Reader, body: NewRun) -> Response:
    """Run a script once and wait up to ``wait_s`` for the ends. Who has not the role needs a grant that allows it."""
    return await run(request, core, caller, body)


async def run(request: Request, core: Core, caller: Caller, body: NewRun) -> Response:
    """Answer :func:`start`; also called by :mod:`server.api.express`."""
    about(request, script=body.script, target=body.target)
    asked = body.model_dump()
    runs.check_sendable(body.parameters)

    async def begin(note: Note) -> dict[str, Any]:
        return await runs.start(core, asked, caller, note)

    async def resume(begun: list[str]) -> dict[str, Any]:
        return {"runs": await runs.again(core, begun, body.wait_s), "warnings": []}

    return await once_begun(request, core, caller, begin, resume, status=201)


@router.get("/{identity}")
async def show(core: CoreOf, caller: Reader, identity: str) -> dict[str, Any]:
    """Show a run."""

    def find(connection: Connection) -> Any:
        return towards(connection, caller).told(runs.shown(connection, identity))

    return dict(await core.database.read(find))


@router.post("/{identity}/cancel")
async def cancel(request: Request, core: CoreOf, caller: Runner, identity: str) -> Response:
    """End a run that is under way."""
    about(request, run=identity)

    async def end() -> dict[str, Any]:
        ended = await runs.cancel(core, identity, caller.principal)
        return dict(await core.database.read(lambda connection: towards(connection, caller).told(ended)))

    return await once(request, core, caller, end)
