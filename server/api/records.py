"""``/records``: who did what, live and later, and the proof that it is whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection, select
from starlette.responses import StreamingResponse

from protocol.errors import RateError, UnavailableError
from protocol.limits import MAX_SEQUENCE
from server import clock, limits
from server.access import Caller
from server.api.asking import CoreOf, RecordReader
from server.api.pages import Cursor, Limit, Order, Page, page
from server.core import Core
from server.services import proving, records, tree
from server.services.discretion import towards
from server.signals import wait_for_any
from server.store.tables import records as table
from server.store.tables import tokens

MAX_FILTER = 200  # characters
router = APIRouter(prefix="/records", tags=["records"])
_ORDERS = {"oldest": Order((table.c.position,)), "newest": Order((table.c.position,), descending=True)}
Sorting = Annotated[Literal["oldest", "newest"], Query(description="Which record comes first.")]
From = Annotated[int, Query(alias="from", ge=1, le=MAX_SEQUENCE)]
To = Annotated[int, Query(alias="to", ge=1, le=MAX_SEQUENCE)]
Sequence = Annotated[int, Query(ge=1, le=MAX_SEQUENCE)]
Since = Annotated[str | None, Query(max_length=MAX_FILTER, description="RFC 3339; older records are not proved.")]
_POSITION = re.compile(r"[0-9]{1,18}")  # what a 64-bit column can be compared with


@router.get("")
async def ls(
    core: CoreOf, caller: RecordReader, limit: Limit = limits.DEFAULT_PAGE, cursor: Cursor = None,
    agent: str | None = None, kind: str | None = None, run: str | None = None,
    call: Annotated[str | None, Query(max_length=MAX_FILTER, description="Such as fs.read, or fs.*.")] = None,
    principal: Annotated[str | None, Query(max_length=MAX_FILTER, description="Who it was done for.")] = None,
    since: str | None = None, until: str | None = None,
    after_seq: Annotated[int | None, Query(ge=0, le=MAX_SEQUENCE)] = None,
    order: Sorting = "oldest",
) -> Page:  # fmt: skip
    """List records in the order in which they came, or the newest first; a cursor serves both ways."""

    def find(connection: Connection) -> Page:
        query = records.query(
            connection,
            agent=agent,
            kind=kind,
            run=run,
            call=call,
            since=since,
            until=until,
            after_seq=after_seq,
            principal=principal,
        )
        rows, following = page(connection, query, _ORDERS[order], limit, cursor)
        return Page(items=towards(connection, caller).told(records.views(connection, rows)), next=following)

    async with core.looks.turn(caller.principal):
        return await core.database.read(find)


@router.get("/tail", response_class=StreamingResponse)
async def tail(request: Request, core: CoreOf, caller: RecordReader, agent: str | None = None) -> StreamingResponse:
    """Follow the records as server-sent events; ``Last-Event-ID`` goes on where a stream broke off."""
    core.followed.require_room(caller.principal)

    def begin(connection: Connection) -> tuple[str | None, int]:
        ledger = None if agent is None else records.ledger_of(connection, agent)
        last = request.headers.get("last-event-id", "")
        return ledger, int(last) if _POSITION.fullmatch(last) else records.newest_position(connection)

    ledger, position = await core.database.read(begin)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(_counted(core, caller, ledger, position), media_type="text/event-stream", headers=headers)


async def _counted(core: Core, caller: Caller, ledger: str | None, position: int) -> AsyncIterator[str]:
    with suppress(RateError), core.followed.held(caller.principal):  # there was room a moment ago
        async with aclosing(_follow(core, caller, ledger, position)) as coming:
            async for piece in coming:
                yield piece


async def _follow(core: Core, caller: Caller, ledger: str | None, position: int) -> AsyncGenerator[str, None]:
    yield ": following\n\n"
    while not core.is_ending.is_set():
        tickets = core.records_arrived.ticket(), core.access_changed.ticket(), core.is_ending
        if not await core.database.read(lambda connection: is_valid(connection, caller.token_id)):
            return  # a token that ended opens nothing any more, a stream that is open included
        found = await core.database.read(partial(_after, caller=caller, position=position, ledger=ledger))
        for position, record in found:
            yield f"id: {position}\ndata: {json.dumps(record)}\n\n"
        if not found and not await wait_for_any(tickets, caller.left_s(limits.TAIL_HEARTBEAT_S)):
            yield ": nothing new\n\n"


def _after(
    connection: Connection, caller: Caller, position: int, ledger: str | None
) -> list[tuple[int, dict[str, Any]]]:
    found = records.after(connection, position, ledger, limits.TAIL_PAGE)
    if not found:
        return found
    discretion = towards(connection, caller)
    return [(at, discretion.told(record)) for at, record in found]


def is_valid(connection: Connection, token_id: str) -> bool:
    """Tell whether a token opens anything now."""
    row = connection.execute(select(tokens.c.expires_us, tokens.c.revoked_us).where(tokens.c.id == token_id)).first()
    return row is not None and row.revoked_us is None and row.expires_us > clock.now_us()


@router.get("/verify")
async def verify(core: CoreOf, _: RecordReader, agent: str | None = None, since: Since = None) -> dict[str, Any]:
    """Prove chains again from their stored bytes and signed checkpoints; without ``agent`` also the tree over all.

    With ``since``, not yet to come, chains are proved on from the last checkpoint before it; the tree always is, whole.
    One proof at a time: it may take minutes, and there are few readers of the database.
    """
    since_us = None if since is None else records.moment_us(since, "since")

    def prove(connection: Connection) -> dict[str, Any]:
        told = proving.verify(core, connection, agent, since_us)
        over_all = tree.verify(core, connection) if agent is None else None
        return told | {"ok": told["ok"] and not (over_all and over_all["error"]), "tree": over_all}

    try:
        async with asyncio.timeout(limits.MAX_WAIT_S):
            await core.proving.acquire()
    except TimeoutError:
        raise UnavailableError("records are being proved for others; try again in a while") from None
    try:
        return await core.database.read(prove)
    finally:
        core.proving.release()


@router.get("/head")
async def head(core: CoreOf, _: RecordReader) -> dict[str, Any]:
    """Sign the head of the tree over all records (RFC 9162 hashing) as it is now: a signed note with a checkpoint."""
    return await core.database.read(lambda connection: tree.head(core, connection))


@router.get("/consistency")
async def consistency(core: CoreOf, _: RecordReader, first: From, second: To) -> dict[str, Any]:
    """Prove that the tree of ``to`` records holds that of ``from`` unchanged (RFC 9162, section 2.1.4)."""
    return await core.database.read(lambda connection: tree.consistency(connection, first, second))


@router.get("/inclusion")
async def inclusion(
    core: CoreOf,
    _: RecordReader,
    agent: str,
    sequence: Sequence,
    size: Annotated[int | None, Query(ge=1, le=MAX_SEQUENCE)] = None,
) -> dict[str, Any]:
    """Prove that a record is in the tree of ``size`` records, by default the newest one (RFC 9162, section 2.1.3)."""
    return await core.database.read(lambda connection: tree.inclusion(connection, agent, sequence, size))


@router.get("/{agent}/{sequence}")
async def show(
    core: CoreOf, caller: RecordReader, agent: str, sequence: Annotated[int, Path(ge=1, le=MAX_SEQUENCE)]
) -> dict[str, Any]:
    """Show one record in full."""

    def find(connection: Connection) -> Any:
        return towards(connection, caller).told(records.find(connection, agent, sequence))

    return dict(await core.database.read(find))
