"""``/webhooks``: who is told what happens to scripts, and every message to them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, select

from server.api.asking import Admin, CoreOf, about
from server.api.bodies import NewWebhook
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.limits import DEFAULT_PAGE
from server.services import webhooks
from server.store.tables import deliveries
from server.store.tables import webhooks as table
from server.webhook_addresses import without_path

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
_BY_AGE = Order((table.c.created_us, table.c.id))
_NEWEST_FIRST = Order((deliveries.c.position,), descending=True)


@router.get("")
async def ls(core: CoreOf, _: Admin, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List webhooks, oldest first, without their secrets."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, select(table), _BY_AGE, limit, cursor)
        return Page(items=[webhooks.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.post("", status_code=201)
async def create(request: Request, core: CoreOf, caller: Admin, body: NewWebhook) -> dict[str, Any]:
    """Make a webhook. The answer holds its secret, which is not told again, so it is not kept for a repeat either."""
    about(request, url=without_path(body.url))
    return await webhooks.create(core, body.model_dump(), caller.principal)


@router.post("/{identity}/rotate")
async def rotate(request: Request, core: CoreOf, caller: Admin, identity: str) -> dict[str, Any]:
    """Give a webhook another secret. The one before signs, too, for a day."""
    about(request, webhook=identity)
    return await webhooks.rotate(core, identity, caller.principal)


@router.delete("/{identity}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Admin, identity: str) -> Response:
    """Remove a webhook and its messages."""
    about(request, webhook=identity)
    await webhooks.remove(core, identity, caller.principal)
    return Response(status_code=204)


@router.get("/{identity}/deliveries")
async def log(core: CoreOf, _: Admin, identity: str, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List the messages to a webhook, newest first, and what became of each."""

    def find(connection: Connection) -> Page:
        webhooks.find(connection, identity)
        query = select(deliveries).where(deliveries.c.webhook == identity)
        rows, following = page(connection, query, _NEWEST_FIRST, limit, cursor)
        return Page(items=[webhooks.delivery_view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.post("/{identity}/deliveries/{message}/replay")
async def replay(request: Request, core: CoreOf, caller: Admin, identity: str, message: str) -> Response:
    """Send a message once more, under the id that it had."""
    about(request, webhook=identity, message=message)
    return await once(request, core, caller, lambda: webhooks.replay(core, identity, message, caller.principal))
