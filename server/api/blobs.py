"""``/blobs``: bytes by their SHA-256, in and out without ever being in memory as a whole."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection, select
from starlette.responses import JSONResponse, StreamingResponse

from protocol.errors import ArgumentError, ConflictError, UnavailableError
from protocol.limits import MAX_BLOB_BYTES, MAX_BLOB_NAME_CHARACTERS
from protocol.transfer import PIECE_BYTES, PREFIX, blob_hash
from protocol.transfer import Header as Transfer
from server import access
from server.access import Caller
from server.api.asking import CoreOf, Reader, RecordReader, Runner, about
from server.api.pages import Cursor, Limit, Order, Page, page
from server.api.ranges import extent, part, tag
from server.core import Core
from server.limits import DEFAULT_PAGE
from server.services import blobs
from server.services.blobs import PERSON, Offer
from server.services.discretion import towards
from server.store.tables import blobs as table

_OCTETS = "application/octet-stream"
_RAW: dict[str, Any] = {"requestBody": {"content": {_OCTETS: {"schema": {"type": "string"}}}, "required": True}}
LOOK_EVERY_S = 1.0  # at the token of who puts or gets one
router = APIRouter(prefix="/blobs", tags=["blobs"])
_NEWEST_FIRST = Order((table.c.created_us, table.c.hash), descending=True)
Name = Annotated[str, Query(max_length=MAX_BLOB_NAME_CHARACTERS, description="What people call it.")]


@router.get("")
async def ls(core: CoreOf, caller: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None) -> Page:
    """List blobs, the newest first: how large, who put them here, how long they are kept."""

    def find(connection: Connection) -> Page:
        rows, following = page(connection, select(table), _NEWEST_FIRST, limit, cursor)
        discretion = towards(connection, caller)
        return Page(items=[discretion.told(blobs.shown(connection, row)) for row in rows], next=following)

    return await core.database.read(find)


@router.head("/{blob}", status_code=200)
async def head(core: CoreOf, _: Reader, blob: str) -> Response:
    """Tell whether a blob is here, and how large it is."""
    wanted = blob_hash(blob, parameter="blob")
    row = await core.database.read(lambda connection: blobs.find(connection, wanted))
    return Response(headers=_headers(wanted) | {"content-length": str(row.size)}, media_type=_OCTETS)


@router.get("/{blob}", response_class=StreamingResponse)
async def get(
    request: Request, core: CoreOf, caller: RecordReader, blob: str,
    range: Annotated[str | None, Header(description="One range of bytes.")] = None,
) -> Response:  # fmt: skip
    """Send a blob, or one range of it. It keeps the blob longer, and is on record."""
    wanted = blob_hash(blob, parameter="blob")
    about(request, blob=wanted)
    core.noted.take(caller.principal)
    size = await core.database.write(lambda connection: blobs.fetched(core, connection, wanted, caller.principal))
    is_part = request.headers.get("if-range", _tag(wanted)) == _tag(wanted)
    found = read_range(range if is_part else None, size)
    if found is None:
        return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
    first, last = found
    headers = _headers(wanted) | {"content-length": str(last - first + 1)}
    if (first, last) != (0, size - 1):
        headers["content-range"] = f"bytes {first}-{last}/{size}"
    status = 206 if "content-range" in headers else 200
    sent = _sent(core, _Token(core, caller), wanted, first, last + 1)
    return StreamingResponse(sent, status, headers, _OCTETS)


@router.get("/{blob}/arrived")
async def arrived(
    core: CoreOf, caller: Runner, blob: str,
    size: Annotated[int, Query(ge=0, le=MAX_BLOB_BYTES, description="Of the whole, in bytes.")],
) -> dict[str, Any]:  # fmt: skip
    """Tell how much of a blob is here from you already: a PUT with Content-Range goes on from there."""
    wanted = blob_hash(blob, parameter="blob")
    return {"hash": wanted, "size": size, "arrived": await blobs.arrived(core, PERSON + caller.principal, wanted, size)}


@router.put("/{blob}", status_code=201, openapi_extra=_RAW)
async def put(
    request: Request, core: CoreOf, caller: Runner, blob: str, name: Name = "",
    content_range: Annotated[str | None, Header(description="Where the body begins; it goes to the end.")] = None,
) -> Response:  # fmt: skip
    """Keep a blob: the body is its bytes, and must have the hash that the path says.

    What broke off goes on: with ``Content-Range: bytes FIRST-LAST/SIZE`` the body is the rest from FIRST on, of which
    ``/arrived`` tells. The hash is that of the whole, so a rest of something else is refused, and nothing of it stays.
    """
    wanted = blob_hash(blob, parameter="blob")
    about(request, blob=wanted)
    first, size = extent(content_range, _length(request))
    offer = Offer(PERSON + caller.principal, wanted, size, name)
    await blobs.reserve(core, offer)
    try:
        told = await _take(request, core, _Token(core, caller), offer, first)
    finally:
        blobs.release(core, offer)
    return JSONResponse(told, 201)


@router.delete("/{blob}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Runner, blob: str) -> Response:
    """Take a blob away. What others have put here too is for administrators to remove."""
    wanted = blob_hash(blob, parameter="blob")
    about(request, blob=wanted)
    await blobs.remove(core, wanted, caller)
    return Response(status_code=204)


def _tag(blob: str) -> str:
    return tag(blob.removeprefix(PREFIX))


def _headers(blob: str) -> dict[str, str]:
    return {
        "etag": _tag(blob), "accept-ranges": "bytes", "cache-control": "private, no-store",
        "content-disposition": "attachment", "x-content-type-options": "nosniff",
    }  # fmt: skip


def read_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return first and last byte of the range that a header asks for, the whole without one; None if it is empty."""
    asked = part(text)
    if "tail" in asked:
        first, last = max(0, size - asked["tail"]), size - 1
    else:
        first = asked.get("offset", 0)
        last = min(first + asked.get("length", size), size) - 1
    return (first, last) if first <= last or not asked else None


def _length(request: Request) -> int:
    """Return what the body's head says; a blob of unknown length could not be held against its bounds."""
    text = request.headers.get("content-length", "")
    if not text.isdigit() or len(text) > 18:
        raise ArgumentError("a blob is put with its Content-Length", parameter="content-length")
    return int(text)


class _Token:
    """The token by which a blob comes or goes, which may take hours; looked at again now and then."""

    def __init__(self, core: Core, caller: Caller) -> None:
        self._core = core
        self._caller = caller
        self._looked_s = time.monotonic()

    async def check(self, *, is_due: bool = False) -> None:
        """Return if it is still good, as far as was looked in the last second; UnauthenticatedError if not."""
        if is_due or time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            await self._core.database.read(lambda connection: access.check_still(connection, self._caller))
            self._looked_s = time.monotonic()


async def _take(request: Request, core: Core, token: _Token, offer: Offer, first: int) -> dict[str, object]:
    if first == offer.size and await blobs.is_whole(core, offer):
        return await blobs.keep(core, offer, None)
    header = Transfer(offer.hash, offer.size, first)
    async with blobs.arriving(core, offer.source, header) as arrival:
        async for part in request.stream():
            if part:
                await token.check()
                await asyncio.to_thread(arrival.write, part)
        if not arrival.receiving.is_whole:
            raise ConflictError("the body has ended before its Content-Length")
        await token.check(is_due=True)
        return await blobs.keep(core, offer, arrival)


async def _sent(core: Core, token: _Token, blob: str, position: int, end: int) -> AsyncIterator[bytes]:
    fd = await asyncio.to_thread(core.blobs.open, blob)  # here: whoever goes away before the start leaves nothing open
    try:
        while position < end:
            await token.check()  # who is not let in any more sees the answer break off
            piece = await asyncio.to_thread(os.pread, fd, min(PIECE_BYTES, end - position), position)
            if not piece:
                raise UnavailableError("a blob has become shorter")
            position += len(piece)
            yield piece
    finally:
        os.close(fd)
