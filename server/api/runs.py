"""``/runs``: one-off runs, and what all runs came to."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from protocol.errors import ArgumentError, OutriderError
from protocol.frames import encode
from server import limits
from server.access import Caller
from server.api.asking import CoreOf, Reader, Runner, about
from server.api.bodies import NewRun
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import Note, once, once_begun
from server.core import Core
from server.services import runs
from server.store.tables import runs as table

router = APIRouter(prefix="/runs", tags=["runs"])
_NEWEST_FIRST = Order((table.c.position,), descending=True)


@router.get("")
async def ls(
    core: CoreOf, _: Reader, limit: Limit = limits.DEFAULT_PAGE, cursor: Cursor = None, agent: str | None = None,
    script: str | None = None, status: str | None = None, schedule: str | None = None,
) -> Page:  # fmt: skip
    """List runs, newest first."""

    def find(connection: Connection) -> Page:
        query = runs.query(connection, agent=agent, script=script, status=status, schedule=schedule)
        rows, following = page(connection, query, _NEWEST_FIRST, limit, cursor)
        return Page(items=[runs.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.post("", status_code=201)
async def start(request: Request, core: CoreOf, caller: Runner, body: NewRun) -> Response:
    """Run a script once and wait up to ``wait_s`` for the ends."""
    return await run(request, core, caller, body)


async def run(request: Request, core: Core, caller: Caller, body: NewRun) -> Response:
    """Answer :func:`start`; also called by :mod:`server.api.express`."""
    about(request, script=body.script, target=body.target)
    asked = body.model_dump()
    try:
        encode(body.parameters, max_bytes=limits.MAX_PARAMETERS_BYTES)
    except OutriderError as error:
        raise ArgumentError(f"the parameters cannot be sent: {error.message}", parameter="parameters") from None

    async def begin(note: Note) -> dict[str, Any]:
        return {"runs": await runs.start(core, asked, caller.principal, note)}

    async def resume(begun: list[str]) -> dict[str, Any]:
        return {"runs": await runs.again(core, begun, body.wait_s)}

    return await once_begun(request, core, caller, begin, resume, status=201)


@router.get("/{identity}")
async def show(core: CoreOf, _: Reader, identity: str) -> dict[str, Any]:
    """Show a run."""
    return await core.database.read(lambda connection: runs.shown(connection, identity))


@router.post("/{identity}/cancel")
async def cancel(request: Request, core: CoreOf, caller: Runner, identity: str) -> Response:
    """End a run that is under way."""
    about(request, run=identity)
    return await once(request, core, caller, lambda: runs.cancel(core, identity, caller.principal))
