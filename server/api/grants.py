"""``/grants``: who may run which scripts without the role for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.api.asking import Admin, CoreOf, Reader, about
from server.api.bodies import NewGrant
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import grants
from server.services.discretion import towards
from server.store.tables import grants as table

router = APIRouter(prefix="/grants", tags=["grants"])
_BY_AGE = Order((table.c.created_us, table.c.id))


@router.get("")
async def ls(
    core: CoreOf, caller: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, who: str | None = None
) -> Page:
    """List grants, oldest first."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, grants.query(who), _BY_AGE, limit, cursor)
        discretion = towards(connection, caller)
        return Page(items=[discretion.told(grants.view(row)) for row in rows], next=following)

    return await core.database.read(find)


@router.get("/{identity}")
async def show(core: CoreOf, caller: Reader, identity: str) -> dict[str, Any]:
    """Show a grant."""

    def find(connection: Connection) -> Any:
        return towards(connection, caller).told(grants.view(grants.find(connection, identity)))

    return dict(await core.database.read(find))


@router.post("", status_code=201)
async def create(request: Request, core: CoreOf, caller: Admin, body: NewGrant) -> Response:
    """Let somebody run scripts, with what bounds the grant says."""
    about(request, who=body.who, scripts=body.scripts)
    asked = body.model_dump()
    return await once(request, core, caller, lambda: grants.create(core, asked, caller.principal), status=201)


@router.delete("/{identity}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Admin, identity: str) -> Response:
    """Take a grant away. What was scheduled under it is paused."""
    about(request, grant=identity)
    await grants.remove(core, identity, caller.principal)
    return Response(status_code=204)
