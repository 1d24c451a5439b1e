"""``/records``: who did what, live and later, and the proof that it is whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection, select
from starlette.responses import StreamingResponse

from protocol.limits import MAX_SEQUENCE
from server import clock, limits
from server.api.asking import CoreOf, RecordReader
from server.api.pages import Cursor, Limit, Order, Page, page
from server.core import Core
from server.services import records
from server.store.tables import records as table
from server.store.tables import tokens

router = APIRouter(prefix="/records", tags=["records"])
_ORDERS = {"oldest": Order((table.c.position,)), "newest": Order((table.c.position,), descending=True)}
Sorting = Annotated[Literal["oldest", "newest"], Query(description="Which record comes first.")]
_POSITION = re.compile(r"[0-9]{1,18}")  # what a 64-bit column can be compared with


@router.get("")
async def ls(
    core: CoreOf, _: RecordReader, limit: Limit = limits.DEFAULT_PAGE, cursor: Cursor = None, agent: str | None = None,
    kind: str | None = None, run: str | None = None, call: str | None = None, since: str | None = None,
    until: str | None = None, after_seq: Annotated[int | None, Query(ge=0, le=MAX_SEQUENCE)] = None,
    order: Sorting = "oldest",
) -> Page:  # fmt: skip
    """List records in the order in which they came, or the newest first; a cursor serves both ways."""

    def find(connection: Connection) -> Page:
        query = records.query(
            connection, agent=agent, kind=kind, run=run, call=call, since=since, until=until, after_seq=after_seq
        )
        rows, following = page(connection, query, _ORDERS[order], limit, cursor)
        return Page(items=records.views(connection, rows), next=following)

    return await core.database.read(find)


@router.get("/tail", response_class=StreamingResponse)
async def tail(request: Request, core: CoreOf, caller: RecordReader, agent: str | None = None) -> StreamingResponse:
    """Follow the records as server-sent events; ``Last-Event-ID`` goes on where a stream broke off."""

    def begin(connection: Connection) -> tuple[str | None, int]:
        ledger = None if agent is None else records.ledger_of(connection, agent)
        last = request.headers.get("last-event-id", "")
        return ledger, int(last) if _POSITION.fullmatch(last) else records.newest_position(connection)

    ledger, position = await core.database.read(begin)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(
        _follow(core, caller.token_id, ledger, position), media_type="text/event-stream", headers=headers
    )


async def _follow(core: Core, token_id: str, ledger: str | None, position: int) -> AsyncIterator[str]:
    yield ": following\n\n"
    while not core.is_ending.is_set():
        ticket = core.records_arrived.ticket()
        if not await core.database.read(lambda connection: _is_valid(connection, token_id)):
            return  # a token that ended opens nothing any more, a stream that is open included
        found = await core.database.read(
            partial(records.after, position=position, agent=ledger, count=limits.TAIL_PAGE)
        )
        for position, record in found:
            yield f"id: {position}\ndata: {json.dumps(record)}\n\n"
        if not found and not await _rung(core, ticket):
            yield ": nothing new\n\n"


async def _rung(core: Core, ticket: asyncio.Event) -> bool:
    """Wait for new records or the server's end; False if neither came in time for a sign of life."""
    waits = [asyncio.ensure_future(event.wait()) for event in (ticket, core.is_ending)]
    try:
        done, _ = await asyncio.wait(waits, timeout=limits.TAIL_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for each in waits:
            each.cancel()


def _is_valid(connection: Connection, token_id: str) -> bool:
    row = connection.execute(select(tokens.c.expires_us, tokens.c.revoked_us).where(tokens.c.id == token_id)).first()
    return row is not None and row.revoked_us is None and row.expires_us > clock.now_us()


@router.get("/verify")
async def verify(core: CoreOf, _: RecordReader, agent: str | None = None) -> dict[str, Any]:
    """Prove the chains again from their stored bytes and signed checkpoints."""
    return await core.database.read(lambda connection: records.verify(core, connection, agent))


@router.get("/{agent}/{sequence}")
async def show(
    core: CoreOf, _: RecordReader, agent: str, sequence: Annotated[int, Path(ge=1, le=MAX_SEQUENCE)]
) -> dict[str, Any]:
    """Show one record in full."""
    return await core.database.read(lambda connection: records.find(connection, agent, sequence))
