"""``/sessions/{id}/events`` and ``/editing``: what happens in one session, live: its records, and who edits what."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection
from starlette.responses import StreamingResponse

from protocol.errors import RateError
from server import limits
from server.access import SESSION, Caller
from server.api.asking import CoreOf, RecordReader, Supporter, about
from server.api.bodies import NowEditing
from server.api.records import is_valid
from server.api.streams import streamed
from server.core import Core
from server.services import live, records
from server.services.discretion import towards
from server.signals import wait_for_any

router = APIRouter(prefix="/sessions/{identity}", tags=["sessions"])
_POSITION: Final = re.compile(r"[0-9]{1,18}")


@router.get("/events", response_class=StreamingResponse)
async def events(request: Request, core: CoreOf, caller: RecordReader, identity: str) -> StreamingResponse:
    """Follow a session as server-sent events, from its beginning or ``Last-Event-ID``; ends with an event ``end``.

    A record is an event without a name; ``editing`` says who edits a file: text and cursor, to those who may open
    sessions themselves.
    """

    def begin(connection: Connection) -> tuple[Any, int]:
        row = live.find(connection, identity)
        last = request.headers.get("last-event-id", "")
        if _POSITION.fullmatch(last):
            return row, int(last)
        if row.opened_us is None and row.ended_us is None:  # its record did not come yet
            return row, records.newest_position(connection)
        return row, records.beginning_of(connection, row.agent, identity)

    core.followed.require_room(caller.principal)
    row, position = await core.database.read(begin)
    return streamed(_counted(core, caller, row.agent, identity, position), "text/event-stream")


async def _counted(core: Core, caller: Caller, agent: str, session: str, position: int) -> AsyncIterator[str]:
    with suppress(RateError), core.followed.held(caller.principal):  # there was room a moment ago
        async with aclosing(_follow(core, caller, agent, session, position)) as coming:
            async for piece in coming:
                yield piece


async def _follow(core: Core, caller: Caller, agent: str, session: str, position: int) -> AsyncGenerator[str, None]:
    yield ": following\n\n"
    shows_text, edited = caller.may(SESSION), 0
    while not core.is_ending.is_set():
        tickets = (
            core.records_arrived.ticket(), core.editing.bell.ticket(), core.access_changed.ticket(), core.is_ending
        )  # fmt: skip

        def look(connection: Connection, position: int) -> tuple[bool, bool, list[tuple[int, dict[str, Any]]]]:
            found = records.after(connection, position, agent, limits.TAIL_PAGE)
            if found:
                discretion = towards(connection, caller)
                found = [(at, discretion.told(record)) for at, record in found]
            is_over = live.find(connection, session).status in live.OVER
            return is_valid(connection, caller.token_id), is_over, found

        may_go_on, is_over, found = await core.database.read(partial(look, position=position))
        if not may_go_on:
            return
        for position, record in found:
            if record["session"] == session:
                yield f"id: {position}\ndata: {json.dumps(record)}\n\n"
        for state in core.editing.after(session, edited) if shows_text else ():
            edited = state["number"]
            yield f"event: editing\ndata: {json.dumps({'event': 'editing', **state})}\n\n"
        if found:
            continue
        if is_over:
            core.editing.forget(session)
            yield 'event: end\ndata: {"event": "end"}\n\n'
            return
        if not await wait_for_any(tickets, caller.left_s(limits.TAIL_HEARTBEAT_S)):
            yield ": nothing new\n\n"


@router.put("/editing", status_code=204)
async def editing(request: Request, core: CoreOf, caller: Supporter, identity: str, body: NowEditing) -> Response:
    """Show those who watch what is being edited; kept nowhere. Without a text: not any more."""
    about(request, session=identity)
    await core.database.read(lambda connection: live.usable(connection, identity, caller))
    state = None if body.text is None else {"text": body.text, "cursor": body.cursor}
    core.editing.tell(identity, caller.principal, body.path, state)
    return Response(status_code=204)
