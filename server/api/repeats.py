"""Idempotency-Key: the same POST again gets the answer of the first and does nothing.

The key is the caller's own (draft-ietf-httpapi-idempotency-key-header-07). Another request under a used key is refused.
Two at the same moment share one execution. Only answers of success are remembered; what failed may be tried again.
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

from protocol.errors import ArgumentError, ConflictError
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

Work = Callable[[], Awaitable[Any]]


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
    given = request.headers.get("idempotency-key")
    if given is None:
        return JSONResponse(await work(), status)
    if not 0 < len(given) <= MAX_KEY_CHARACTERS:
        raise ArgumentError(f"an Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters", parameter="Idempotency-Key")
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body()).digest()
    key = f"{caller.token_id}\n{given}"
    under_way = core.repeats.get(key)
    if under_way is None:
        # Noted before anything is awaited: of two at the same moment the second finds the first.
        task = asyncio.create_task(_run(core, key, digest, work, status))
        under_way = core.repeats[key] = (digest, task)
        task.add_done_callback(lambda ended: _forget_when_kept(core, key, ended))
    if under_way[0] != digest:
        raise _another()
    answer = await asyncio.shield(under_way[1])  # a client that goes away does not stop what it began
    return Response(answer.body, answer.status, media_type="application/json")


async def _run(core: Core, key: str, digest: bytes, work: Work, status: int) -> Answer:
    row = core.database.read_now(lambda connection: _FIND.first(connection, given=key))
    if row is not None and row.created_us >= _oldest_us():
        if bytes(row.request) != digest:
            raise _another()
        return Answer(row.status, row.body, None)
    body = json.dumps(await work())
    # Not waited for: until it is on disk, the answer is found in ``core.repeats``.
    return Answer(status, body, core.database.submit(lambda found: _keep(found, key, digest, status, body)))


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


def _keep(connection: Connection, key: str, digest: bytes, status: int, body: str) -> None:
    _DROP.change(connection, given=key)  # one that is too old to count
    values = {"key": key, "request": digest, "status": status, "body": body, "created_us": clock.now_us()}
    _ADD.add(connection, [values])


def _another() -> ConflictError:
    return ConflictError("this Idempotency-Key was used for another request")
