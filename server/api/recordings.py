"""``/recordings``: what terminals showed, to be played back, proved and searched."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection

from server import limits
from server.api.asking import CoreOf, Watcher, about
from server.api.pages import Cursor, Page
from server.services import live, recordings
from server.sessions import hall
from server.store.tables import sessions as table

router = APIRouter(prefix="/recordings", tags=["recordings"])
MAX_SEARCHED = 1_000  # sessions that one search looks at


@router.get("/search")
async def search(
    core: CoreOf, caller: Watcher, text: Annotated[str, Query(min_length=2, max_length=200)],
    agent: str | None = None, limit: Annotated[int, Query(ge=1, le=limits.MAX_PAGE)] = limits.DEFAULT_PAGE,
) -> Page:  # fmt: skip
    """Find a text in what terminals showed, newest session first; small and capital letters are the same."""

    def find(connection: Connection) -> list[Any]:
        query = live.query(connection, agent=agent, status=None, kind="terminal")
        return list(connection.execute(query.order_by(table.c.position.desc()).limit(MAX_SEARCHED)))

    rows = await core.database.read(find)
    await _note(core, "recording.search", caller.principal, {"text": text, "agent": agent or ""})
    return Page(items=await asyncio.to_thread(recordings.search, core, rows, text, limit), next=None)


@router.get("/{session}")
async def show(request: Request, core: CoreOf, _: Watcher, session: str, verify: bool = False) -> dict[str, Any]:
    """Say what a recording is; with ``verify``, hold it against the digests that its host has signed."""
    about(request, session=session)
    row = await core.database.read(lambda connection: live.find(connection, session))
    told = await asyncio.to_thread(recordings.about, core, row)
    proof = None
    if verify:
        known = await core.database.read(lambda connection: recordings.digests(connection, row))
        proof = await asyncio.to_thread(recordings.prove, core, row.id, known)
    terminal = hall.find(core, row.id)
    people = [] if terminal is None else [person.to_plain() for person in terminal.party.people.values()]
    return {**told, "people": people, "proof": proof}


@router.get("/{session}/events")
async def events(
    request: Request, core: CoreOf, caller: Watcher, session: str,
    from_s: Annotated[float, Query(ge=0, le=31_536_000)] = 0.0, cursor: Cursor = None,
) -> Page:  # fmt: skip
    """List what is in a recording, a segment of about 1 MiB a page; with ``from_s`` from the segment of that moment."""
    about(request, session=session)
    row = await core.database.read(lambda connection: live.find(connection, session))
    if cursor is None:
        await _note(core, "recording.play", caller.principal, {"session": row.id, "from_s": from_s})
    items, following = await asyncio.to_thread(recordings.events, core, row.id, from_s, cursor)
    return Page(items=items, next=following)


async def _note(core: Any, call: str, principal: str, told: dict[str, Any]) -> None:
    def store(connection: Connection) -> None:
        core.ledger.append(connection, call=call, principal=principal, arguments=told)

    await core.database.write(store)  # before anything is shown
