"""Idempotency-Key: the same POST again gets the answer of the first and does nothing.

The key is the caller's own (draft-ietf-httpapi-idempotency-key-header-07). Another request under a used key is refused.
Two at the same moment share one execution. Only answers of success are remembered; what failed may be tried again.

What takes long notes under the key what it has begun, in the commit that begins it. Then a server that is killed before
the answer, or before the answer is on disk, does not begin it again: the repeat hears what became of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import Request
from sqlalchemy import Connection, bindparam, delete, insert, select
from starlette.responses import JSONResponse, Response

from protocol.errors import ArgumentError, ConflictError, InternalError
from server import clock, limits
from server.access import Caller
from server.core import Core
from server.store.prepared import Prepared
from server.store.tables import answers

LOG = structlog.get_logger()
MAX_KEY_CHARACTERS = 255

_FIND = Prepared(select(answers).where(answers.c.key == bindparam("given")))
_DROP = Prepared(delete(answers).where(answers.c.key == bindparam("given")))
_ADD = Prepared(insert(answers), "key", "request", "status", "body", "created_us")

BEGUN = 0  # in the place of the status: not answered yet; the body says what was begun

Work = Callable[[], Awaitable[Any]]
Note = Callable[[Connection, Any], None]
"""Keeps, in a command, what that command begins."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    body: str
    kept: Future[None] | None  # done when it is on disk; None if it was there before


async def once(request: Request, core: Core, caller: Caller, work: Work, *, status: int = 200) -> Response:
    """Return what ``work`` answers, or what it answered when the same was asked before.

    Raises:
        ArgumentError: The key is too long.
        ConflictError: The key was used for another request.
    """

    async def begin(_: Note) -> Any:
        return await work()

    return await once_begun(request, core, caller, begin, None, status=status)


async def once_begun(
    request: Request,
    core: Core,
    caller: Caller,
    begin: Callable[[Note], Awaitable[Any]],
    resume: Callable[[Any], Awaitable[Any]] | None,
    *,
    status: int = 200,
) -> Response:
    """Like :func:`once`, for what begins something that a repeat must not begin again, whatever happened meanwhile.

    Args:
        request: With or without a key.
        core: The server.
        caller: Whose key it is.
        begin: Does what is asked; notes what it begins.
        resume: Answers for what was noted.
        status: Of the answer.

    Raises:
        ArgumentError: The key is too long.
        ConflictError: The key was used for another request.
    """
    given = request.headers.get("idempotency-key")
    if given is None:
        return JSONResponse(await begin(lambda _connection, _begun: None), status)
    if not 0 < len(given) <= MAX_KEY_CHARACTERS:
        raise ArgumentError(f"an Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters", parameter="Idempotency-Key")
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body()).digest()
    key = f"{caller.token_id}\n{given}"
    under_way = core.repeats.get(key)
    if under_way is None:
        # Noted before anything is awaited: of two at the same moment the second finds the first.
        task = asyncio.create_task(_run(core, _Key(key, digest), begin, resume, status))
        under_way = core.repeats[key] = (digest, task)
        task.add_done_callback(lambda ended: _forget_when_kept(core, key, ended))
    if under_way[0] != digest:
        raise _another()
    answer = await asyncio.shield(under_way[1])  # a client that goes away does not stop what it began
    return Response(answer.body, answer.status, media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Key:
    key: str
    request: bytes  # SHA-256 of what is asked under it

    def keep(self, connection: Connection, status: int, body: str) -> None:
        _DROP.change(connection, given=self.key)  # what was begun, or an answer that is too old to count
        _ADD.add(connection, [{
            "key": self.key, "request": self.request, "status": status, "body": body, "created_us": clock.now_us(),
        }])  # fmt: skip

    def note(self, connection: Connection, begun: Any) -> None:
        self.keep(connection, BEGUN, json.dumps(begun))


async def _run(
    core: Core,
    key: _Key,
    begin: Callable[[Note], Awaitable[Any]],
    resume: Callable[[Any], Awaitable[Any]] | None,
    status: int,
) -> Answer:
    row = core.database.read_now(lambda connection: _FIND.first(connection, given=key.key))
    if row is not None and row.created_us >= _oldest_us():
        if bytes(row.request) != key.request:
            raise _another()
        if row.status != BEGUN:
            return Answer(row.status, row.body, None)
        if resume is None:
            raise InternalError("what was begun under an Idempotency-Key cannot be resumed")
        answer = await resume(json.loads(row.body))
    else:
        answer = await begin(key.note)
    body = json.dumps(answer)
    # Not waited for: until it is on disk, the answer is found in ``core.repeats``. What noted its beginning is not
    # begun again even if the server is killed before that, so its answer need not be written at once.
    submit = core.database.submit if resume is None else core.database.submit_later
    return Answer(status, body, submit(lambda connection: key.keep(connection, status, body)))


def _forget_when_kept(core: Core, key: str, ended: asyncio.Task[Answer]) -> None:
    kept = None if ended.cancelled() or ended.exception() is not None else ended.result().kept
    if kept is None:
        core.repeats.pop(key, None)
        return

    def done(future: asyncio.Future[None]) -> None:
        core.repeats.pop(key, None)
        if not future.cancelled() and future.exception() is not None:
            LOG.error("the answer to an Idempotency-Key could not be kept", why=str(future.exception()))

    asyncio.wrap_future(kept).add_done_callback(done)


def forget_old(connection: Connection) -> None:
    """Forget the answers that nobody will ask for again."""
    connection.execute(delete(answers).where(answers.c.created_us < _oldest_us()))


def _oldest_us() -> int:
    return clock.now_us() - int(limits.IDEMPOTENCY_KEPT_S * 1_000_000)


def _another() -> ConflictError:
    return ConflictError("this Idempotency-Key was used for another request")
