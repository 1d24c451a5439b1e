"""``/recordings``: what terminals showed, to be played back, proved and searched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from protocol.errors import UnavailableError
from server import limits
from server.access import Caller
from server.api.asking import CoreOf, Watcher, about
from server.api.pages import Cursor, Page, make_cursor, read_cursor, rendered
from server.core import Core
from server.services import live, recordings
from server.sessions import hall
from server.store.tables import sessions as table

router = APIRouter(prefix="/recordings", tags=["recordings"])
MAX_SEARCHED: Final = 1_000  # sessions that one search looks at
MAX_AT_ONCE: Final = 2  # searches and proofs that read whole recordings: each holds a thread, and half of a processor
_turns: Final = asyncio.Semaphore(MAX_AT_ONCE)
_threads: Final = ThreadPoolExecutor(MAX_AT_ONCE, "recordings")  # of their own, so that nobody who plays one waits
_under_way: Final[set[str]] = set()  # principals
T = TypeVar("T")


@router.get("/search")
async def search(
    core: CoreOf, caller: Watcher, text: Annotated[str, Query(min_length=2, max_length=200)],
    agent: str | None = None, limit: Annotated[int, Query(ge=1, le=limits.MAX_PAGE)] = limits.DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Page:  # fmt: skip
    """Find a text in what terminals showed, newest session first; small and capital letters are the same.

    After some seconds it stops, and `next` goes on from there. One search of a person at a time.
    """
    begin, first = (None, 0) if cursor is None else read_cursor(cursor, [int, int])

    def find(connection: Connection) -> list[Any]:
        query = live.query(connection, agent=agent, status=None, kind="terminal")
        if begin is not None:
            query = query.where(table.c.position <= begin)
        return list(connection.execute(query.order_by(table.c.position.desc()).limit(MAX_SEARCHED)))

    rows = await core.database.read(find)
    await _note(core, "recording.search", caller.principal, {"text": text, "agent": agent or ""})
    if rows and rows[0].position != begin:  # the one that it stopped in is gone
        first = 0
    found, following = await _read_whole(
        caller, partial(recordings.search, core, rows, text, limit, first=first)
    )  # fmt: skip
    if following is None and len(found) < limit and len(rows) == MAX_SEARCHED:
        following = (rows[-1].position - 1, 0)
    return Page(items=found, next=None if following is None else make_cursor(following))


async def _read_whole(caller: Caller, work: Callable[[], T]) -> T:
    """Do on a thread what reads whole recordings, when it is its turn; one thing of a person at a time.

    Raises:
        UnavailableError: Something of theirs is under way.
    """
    if caller.principal in _under_way:
        raise UnavailableError("a search or proof of yours is under way; try again in a moment")
    _under_way.add(caller.principal)
    try:
        async with _turns:
            doing = asyncio.get_running_loop().run_in_executor(_threads, work)
            try:
                return await asyncio.shield(doing)
            except asyncio.CancelledError:  # a thread goes on to its end, and it is its turn until then
                await asyncio.wait([doing])
                raise
    finally:
        _under_way.discard(caller.principal)


@router.get("/{session}")
async def show(request: Request, core: CoreOf, caller: Watcher, session: str, verify: bool = False) -> dict[str, Any]:
    """Say what a recording is; with ``verify``, hold it against the digests that its host has signed."""
    about(request, session=session)
    row = await core.database.read(lambda connection: live.find(connection, session))
    told = await asyncio.to_thread(recordings.about, core, row)
    proof = None
    if verify:
        known = await core.database.read(lambda connection: recordings.digests(connection, row))
        proof = await _read_whole(caller, partial(recordings.prove, core, row.id, known))
    terminal = hall.find(core, row.id)
    people = [] if terminal is None else [person.to_plain() for person in terminal.party.people.values()]
    return {**told, "people": people, "proof": proof}


@router.get("/{session}/events", response_model=Page)
async def events(
    request: Request, core: CoreOf, caller: Watcher, session: str,
    from_s: Annotated[float, Query(ge=0, le=31_536_000)] = 0.0, cursor: Cursor = None,
) -> Response:  # fmt: skip
    """List what is in a recording, a segment of about 1 MiB a page; with ``from_s`` from the segment of that moment."""
    about(request, session=session)
    row = await core.database.read(lambda connection: live.find(connection, session))
    if cursor is None:
        await _note(core, "recording.play", caller.principal, {"session": row.id, "from_s": from_s})

    def page() -> bytes:  # a segment of single letters has 200,000 events
        items, following = recordings.events(core, row.id, from_s, cursor)
        return rendered(Page.model_construct(items=items, next=following))

    return Response(await asyncio.to_thread(page), media_type="application/json")


async def _note(core: Core, call: str, principal: str, told: dict[str, Any]) -> None:
    core.noted.take(principal)

    def store(connection: Connection) -> None:
        core.ledger.append(connection, call=call, principal=principal, arguments=told)

    await core.database.write(store)  # before anything is shown
