"""``/requests``: asking for access, and deciding about it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.api.asking import Approver, CoreOf, Reader, Supporter, about
from server.api.bodies import NewRequest, NewReview
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import requests
from server.store.tables import access_requests as table

router = APIRouter(prefix="/requests", tags=["requests"])
_NEWEST_FIRST = Order((table.c.created_us, table.c.id), descending=True)


@router.get("")
async def ls(
    core: CoreOf, caller: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None,
    state: Literal["open", "approved", "denied", "expired"] | None = None, reviewable: bool = False,
) -> Page:  # fmt: skip
    """List requests, newest first; ``reviewable`` are those that wait and are not the caller's own."""

    def find(connection: Connection) -> Page:
        query = requests.query(state, caller.principal if reviewable else None)
        rows, following = page(connection, query, _NEWEST_FIRST, limit, cursor)
        return Page(items=[requests.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.get("/{identity}")
async def show(core: CoreOf, _: Reader, identity: str) -> dict[str, Any]:
    """Show a request."""
    return await core.database.read(lambda connection: requests.view(requests.find(connection, identity)))


@router.post("", status_code=201)
async def create(request: Request, core: CoreOf, caller: Supporter, body: NewRequest) -> Response:
    """Ask for access."""
    about(request, kinds=body.kinds, tier=body.tier, target=body.target)
    asked = body.model_dump()
    return await once(request, core, caller, lambda: requests.create(core, asked, caller), status=201)


@router.post("/{identity}/review")
async def review(request: Request, core: CoreOf, caller: Approver, identity: str, body: NewReview) -> Response:
    """Approve or deny a request of somebody else. What is approved is a grant for the time that was asked for."""
    about(request, asked=identity, approved=body.approved)

    async def made() -> dict[str, Any]:
        return await requests.review(core, identity, approved=body.approved, reason=body.reason, caller=caller)

    return await once(request, core, caller, made)
