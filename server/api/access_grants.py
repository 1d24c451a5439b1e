"""``/access``: who may open which sessions on which hosts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.api.asking import Admin, CoreOf, Reader, about
from server.api.bodies import NewAccess
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import access_grants
from server.store.tables import access_grants as table

router = APIRouter(prefix="/access", tags=["access"])
_BY_AGE = Order((table.c.created_us, table.c.id))


@router.get("")
async def ls(
    core: CoreOf, _: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, who: str | None = None,
    all: bool = False,
) -> Page:  # fmt: skip
    """List access grants, oldest first: those in force, or all that there ever were."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, access_grants.query(who, is_all=all), _BY_AGE, limit, cursor)
        return Page(items=[access_grants.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.get("/{identity}")
async def show(core: CoreOf, _: Reader, identity: str) -> dict[str, Any]:
    """Show an access grant."""
    return await core.database.read(lambda connection: access_grants.view(access_grants.find(connection, identity)))


@router.post("", status_code=201)
async def create(request: Request, core: CoreOf, caller: Admin, body: NewAccess) -> Response:
    """Let somebody open sessions, within the bounds of the grant."""
    about(request, who=body.who, kinds=body.kinds, tier=body.tier)
    asked = body.model_dump()
    return await once(request, core, caller, lambda: access_grants.create(core, asked, caller.principal), status=201)


@router.delete("/{identity}")
async def revoke(
    request: Request, core: CoreOf, caller: Admin, identity: str, reason: Annotated[str, Query(max_length=1000)] = ""
) -> dict[str, Any]:
    """Revoke an access grant. Every session that stands on it ends."""
    about(request, access=identity)
    return await access_grants.revoke(core, identity, reason, caller.principal)
