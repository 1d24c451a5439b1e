"""``/sessions``: sessions of people on hosts, and plain calls in them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from sqlalchemy import Connection
from starlette.responses import JSONResponse

from protocol.errors import ArgumentError, OutriderError
from protocol.frames import encode
from server import limits
from server.api.asking import Closer, CoreOf, Reader, Supporter, about
from server.api.bodies import Ending, NewCall, NewSession
from server.api.held import Held
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.repeats import once
from server.api.streams import LINES
from server.api.values import from_json, to_json
from server.services import live
from server.sessions import hall
from server.store.tables import sessions as table

router = APIRouter(prefix="/sessions", tags=["sessions"])
_NEWEST_FIRST = Order((table.c.position,), descending=True)


@router.get("")
async def ls(
    core: CoreOf, _: Reader, limit: Limit = limits.DEFAULT_PAGE, cursor: Cursor = None, agent: str | None = None,
    status: str | None = None, kind: str | None = None,
) -> Page:  # fmt: skip
    """List sessions, newest first."""

    def find(connection: Connection) -> Page:
        query = live.query(connection, agent=agent, status=status, kind=kind)
        rows, following = page(connection, query, _NEWEST_FIRST, limit, cursor)
        return Page(items=[live.view(row) for row in rows], next=following)

    return await core.database.read(find)


@router.post("", status_code=201)
async def start(
    request: Request, core: CoreOf, caller: Supporter, body: NewSession,
    accept: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """Open a session on a host.

    While the host's owner is asked, the answer goes on for whoever accepts lines of JSON (202, application/x-ndjson):
    the first is the session that waits, the last one what became of it, or ``{"problem": ...}``. Whoever goes away
    before that has withdrawn the question. An Idempotency-Key does not count then.
    """
    about(request, agent=body.agent, kind=body.kind, tier=body.tier)
    asked = body.model_dump()
    try:
        encode(body.grant, max_bytes=limits.MAX_PARAMETERS_BYTES)
    except OutriderError as error:
        raise ArgumentError(f"the grant cannot be sent: {error.message}", parameter="grant") from None
    beside = asked.pop("beside")

    is_held = accept is not None and LINES in accept

    async def opened() -> dict[str, Any]:
        terminal = None if beside is None else await hall.typed_in(core, beside, caller.principal, body.agent)
        made = await live.open_session(core, asked, caller, is_held=is_held)
        if terminal is not None:
            terminal.opened(made)
        return made

    if not is_held:
        return await once(request, core, caller, opened, status=201)
    made = await opened()
    return Held(core, made, request.state.request_id) if made["id"] in core.held else JSONResponse(made, 201)


@router.get("/{identity}")
async def show(core: CoreOf, _: Reader, identity: str) -> dict[str, Any]:
    """Show a session."""
    return await core.database.read(lambda connection: live.view(live.find(connection, identity)))


@router.post("/{identity}/calls")
async def call(request: Request, core: CoreOf, caller: Supporter, identity: str, body: NewCall) -> Response:
    """Make one call in a session and return its plain value."""
    about(request, session=identity, call=body.call)
    arguments = from_json(body.arguments, "arguments")
    try:
        encode(arguments, max_bytes=limits.MAX_CALL_BYTES)
    except OutriderError as error:
        raise ArgumentError(f"the arguments cannot be sent: {error.message}", parameter="arguments") from None

    async def made() -> dict[str, Any]:
        return {"value": to_json(await live.call(core, identity, caller, body.call, arguments))}

    return await once(request, core, caller, made)


@router.post("/{identity}/close")
async def close(request: Request, core: CoreOf, caller: Closer, identity: str, body: Ending) -> Response:
    """Close a session and all that it holds."""
    about(request, session=identity)
    await core.database.read(lambda connection: live.check_may_close(connection, identity, caller))
    return await once(request, core, caller, lambda: live.close_session(core, identity, body.reason, caller.principal))
