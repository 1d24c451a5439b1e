"""Whole files of a session on pipes: the acts ``download``, ``upload`` and ``upload.*``. Each of their steps is a call.

``download`` has in its header ``path``, and ``offset`` and ``length`` or ``tail``, in bytes. What it sends, each a list
that begins with a word:

    ["file", {size, mode, mtime, ..., offset, length, sha256?}]    what stands about it, and what will come
    ["bytes", data]                                                any number of times
    ["end", {bytes, sha256, changed}]                              or ["error", {...}], as the act ``call`` does

An upload is a writer of ``fs.write_stream``, by the number that the session holds it under. ``upload.begin`` (``path``,
``mode``, ``if_hash``) opens one and says that number; ``upload`` takes raw bytes for it, from ``offset`` on, until the
server finishes; ``upload.state``, ``upload.finish`` (``sha256``) and ``upload.drop`` do what they say. An ``upload``
that names a ``path`` instead of a number is all of it in one. The writer outlives the link, as its session does: after
a broken link whoever uploads asks how far it came and goes on there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agent.live import LiveSession
from agent.live_calls import send_failure
from kernel.visits import begun_apart
from protocol.errors import ArgumentError, ConflictError, NotFoundError, OutriderError
from protocol.frames import decode
from protocol.limits import MAX_STREAM_DATA_BYTES
from protocol.pipes import Pipe
from sandbox.held import Held
from sandbox.runtimes import HANDLE_KEY

WHOLE_BYTES: Final = 1 << 20  # of a file that is read before it is told of, so that its hash can be told first
WHOLE_PIECES: Final = 8  # of what is kept for that
KEPT_BYTES: Final = 4 << 20  # of these pieces
#: Of what is downloaded, at once: whole frames with their head. To hand a piece from a thread to the loop has both wait
#: for each other; so it is as large as one frame of a gate lets it be.
SENT_BYTES: Final = 7 * MAX_STREAM_DATA_BYTES - 1024
PIECE_BYTES: Final = 1 << 20  # of what is uploaded, written at once
MAX_OFFSET: Final = 1 << 53
_UPLOADING: Final = "uploading"  # in ``LiveSession.things``: numbers of writers that an act feeds now


async def serve_download(session: LiveSession, pipe: Pipe) -> None:
    """Send the file, or the part of it, that the pipe's header names."""
    held: Held | None = None
    try:
        header = pipe.header
        about = await session.call("fs.stat", {"path": header.get("path")})
        if about is None:
            raise NotFoundError(f"{_shown(header.get('path'))} does not exist")
        offset, length = part_of(header, about["size"])
        arguments = {"path": header.get("path"), "offset": offset, "hash": True, "chunk": SENT_BYTES}
        held = await session.call("fs.read_stream", arguments if length is None else arguments | {"length": length})
        told = {**about, "offset": offset, "length": length}
        await _send(session, pipe, held, told, is_whole=offset == 0 and length in (None, about["size"]))
    except OutriderError as error:
        await send_failure(pipe, error)
    finally:
        if held is not None:
            await session.gate.release(held.number)


def part_of(header: Mapping[str, Any], size: int) -> tuple[int, int | None]:
    """Return offset and length of what a header asks of a file of ``size`` bytes.

    The length is None for a file whose size says nothing, as those in ``/proc``: it is given to its end.

    Raises:
        ArgumentError: Names the key that is no number of bytes.
    """
    offset, length, tail = (_number(header, name) for name in ("offset", "length", "tail"))
    if size == 0:
        return offset or 0, length
    begin = max(0, size - tail) if tail is not None else min(offset or 0, size)
    return begin, min(size - begin, size if length is None else length)


async def _send(session: LiveSession, pipe: Pipe, held: Held, told: dict[str, Any], *, is_whole: bool) -> None:
    kept: list[bytes] | None = [] if is_whole and told["size"] <= WHOLE_BYTES else None
    if kept is None:
        await pipe.send(["file", told])
    bodies: list[bytes] = []
    pieces: list[bytes] = []
    while True:
        reply = await session.gate.pull(held.number, bodies.append, pieces.append)
        if reply.error is not None:
            raise reply.error
        session.touch()
        if not pieces:
            _, (_, is_end, summary) = decode(bodies.pop())
            if is_end:
                break
        elif kept is not None and _has_room(kept, pieces[0]):
            kept.append(pieces.pop())
        else:
            if kept is not None:  # a file without a size that is a large one all the same
                await _send_kept(pipe, told, kept)
                kept = None
            await pipe.send_bytes("bytes", pieces.pop())
    if kept is not None:
        # What there is, not what there was: a small file is told of only now, and so never cut short.
        size = sum(map(len, kept))
        digest = hashlib.sha256(b"".join(kept)).hexdigest()
        await _send_kept(pipe, {**told, "length": size, "sha256": digest}, kept)
    await pipe.send(["end", summary])


def _has_room(kept: list[bytes], piece: bytes) -> bool:
    return len(kept) < WHOLE_PIECES and sum(map(len, kept)) + len(piece) <= KEPT_BYTES


async def _send_kept(pipe: Pipe, told: dict[str, Any], kept: list[bytes]) -> None:
    await pipe.send(["file", told])
    for data in kept:
        await pipe.send_bytes("bytes", data)


async def serve_upload(session: LiveSession, pipe: Pipe) -> None:
    """Take bytes for an upload that was begun, or all of one that the header describes."""
    header, number, is_own = pipe.header, None, False
    try:
        if "path" in header:
            number, is_own = (await _begin(session, header)).number, True
        else:
            number = _upload(session, header).number
        await _take(session, pipe, number)
        if is_own:
            await pipe.send(["value", await _finish(session, number, header.get("sha256"))])
        else:
            await pipe.send(["value", _state(_upload(session, header))])
    except OutriderError as error:
        await send_failure(pipe, error)
    finally:
        if is_own and number is not None:
            await session.gate.release(number)


async def serve_begin(session: LiveSession, pipe: Pipe) -> None:
    """Open a writer, and say under which number."""
    try:
        held = await _begin(session, pipe.header)
        await pipe.send(["value", {"upload": held.number, **_state(held)}])
    except OutriderError as error:
        await send_failure(pipe, error)


async def serve_state(session: LiveSession, pipe: Pipe) -> None:
    """Say how many bytes of an upload are here, and their hash."""
    try:
        held = _upload(session, pipe.header)
        await pipe.send(["value", await begun_apart(_state, held)])
    except OutriderError as error:
        await send_failure(pipe, error)


async def serve_finish(session: LiveSession, pipe: Pipe) -> None:
    """Put an upload in its place. It is over then, whatever came of it."""
    try:
        number = _upload(session, pipe.header).number
        if number in _uploading(session):
            raise ConflictError("bytes of this upload are still on their way")
        try:
            done = await _finish(session, number, pipe.header.get("sha256"))
        finally:
            await session.gate.release(number)
        await pipe.send(["value", done])
    except OutriderError as error:
        await send_failure(pipe, error)


async def serve_drop(session: LiveSession, pipe: Pipe) -> None:
    """Forget an upload."""
    try:
        await session.gate.release(_upload(session, pipe.header).number)
        await pipe.send(["value", None])
    except OutriderError as error:
        await send_failure(pipe, error)


async def _begin(session: LiveSession, header: Mapping[str, Any]) -> Held:
    given = {name: header[name] for name in ("path", "mode", "if_hash") if header.get(name) is not None}
    held = await session.call("fs.write_stream", given)
    if not isinstance(held, Held):
        raise ConflictError("nothing was opened to write to")
    return held


async def _take(session: LiveSession, pipe: Pipe, number: int) -> None:
    """Write what comes on the pipe until it ends, one piece while the next one comes."""
    uploading = _uploading(session)
    held = session.gate.holder.find(number)
    if number in uploading or held is None:
        raise ConflictError("bytes of this upload are on their way already")
    offset, size = _number(pipe.header, "offset") or 0, _state(held)["bytes"]
    if offset != size:
        raise ConflictError(f"the upload goes on at {size}, not at {offset}")
    uploading.add(number)
    writing: asyncio.Future[None] | None = None
    waiting: list[bytes | memoryview] = []  # what came while the piece before it is being written
    try:
        while pieces := await pipe.gather(PIECE_BYTES):
            session.touch()
            waiting += pieces
            if writing is not None and (writing.done() or sum(map(len, waiting)) >= PIECE_BYTES):
                await writing
                writing = None
            if writing is None:
                writing, waiting = asyncio.ensure_future(session.gate.push(number, waiting)), []
        if writing is not None:
            await writing
        if waiting:
            await session.gate.push(number, waiting)
    finally:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])  # what is on a thread goes on to its end, and counts
        if writing is not None and not writing.cancelled():
            writing.exception()  # seen; it was raised above, or the link broke first
        uploading.discard(number)


async def _finish(session: LiveSession, number: int, sha256: Any) -> Any:
    arguments = {"writer": {HANDLE_KEY: number}}
    return await session.call("writer.finish", arguments if sha256 is None else arguments | {"hash": sha256})


def _upload(session: LiveSession, header: Mapping[str, Any]) -> Held:
    number = header.get("upload")
    held = session.gate.holder.find(number) if type(number) is int else None
    if held is None or held.kind != "writer":
        raise NotFoundError("this session holds no such upload (any more)")
    return held


def _state(held: Held) -> dict[str, Any]:
    """Return how far an upload is."""
    replacement: Any = getattr(held.thing, "replacement")  # noqa: B009 - of a writer; the type of held things is wide
    return {"bytes": replacement.size_bytes, "sha256": replacement.hash}


def _uploading(session: LiveSession) -> set[int]:
    found: set[int] = session.things.setdefault(_UPLOADING, set())
    return found


def _number(header: Mapping[str, Any], name: str) -> int | None:
    value = header.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_OFFSET):
        raise ArgumentError(f"{name}: must be a number of bytes", parameter=name)
    return value


def _shown(path: Any) -> str:
    return path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else str(path)[:200]
