"""``/sessions/{id}/file`` and ``/uploads``: whole files of a session, and ``/stream``: calls whose results stream.

A download is plain bytes, or with ``Accept: application/vnd.outrider.stream`` the messages of the agent as they are
(:mod:`protocol.pipes`: each with its length before it), with the hash of what was sent at the end. An upload that may
be interrupted is begun, fed from where it stands, and finished; a small one is one request.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from protocol.limits import MAX_SEQUENCE
from protocol.pipes import WIDE_WINDOW_BYTES
from server.api.asking import CoreOf, Supporter, about
from server.api.bodies import Finish, NewCall, NewUpload
from server.api.ranges import condition, digest, named, part, tag
from server.api.repeats import once
from server.api.streams import MESSAGES, of_messages, of_pipe, streamed
from server.api.values import from_json
from server.request_body import incoming
from server.services import live, live_files
from server.services.file_answers import FileAbout, changed

router = APIRouter(prefix="/sessions/{identity}", tags=["sessions"])
BYTES: Final = "application/octet-stream"
_RAW: Final[dict[str, Any]] = {"requestBody": {"content": {BYTES: {"schema": {"type": "string"}}}, "required": True}}
FilePath = Annotated[str, Query(description="An absolute path; bytes that are not UTF-8 percent-encoded as they are.")]
Number = Annotated[int, Path(ge=1, le=MAX_SEQUENCE)]
Mode = Annotated[str | None, Query(pattern=r"^0?[0-7]{3,4}$", description="Permission bits, such as 0644.")]
IfMatch = Annotated[str | None, Header()]
Digest = Annotated[str | None, Header(description="sha-256=:...: of the whole (RFC 9530); else nothing changes.")]


@router.get("/file", response_class=StreamingResponse)
async def download(
    request: Request, core: CoreOf, caller: Supporter, identity: str, path: FilePath,
    range: Annotated[str | None, Header(description="One range of bytes.")] = None,
    accept: Annotated[str | None, Header()] = None, if_none_match: IfMatch = None,
) -> Response:  # fmt: skip
    """Read a file. The ETag of one of up to 1 MiB is the sha256 of its content."""
    about(request, session=identity)
    header = {"path": named(request.scope["query_string"], "path"), **part(range)}
    if accept is not None and MESSAGES in accept:
        pipe = await live.open_pipe(core, identity, caller, "download", header)
        pipe.widen(WIDE_WINDOW_BYTES)
        pipe.finish()
        return of_messages(pipe)
    found = await live_files.download(core, identity, caller, header)
    headers = _headers(found.about)
    if if_none_match is not None and headers.get("ETag") in [item.strip() for item in if_none_match.split(",")]:
        await found.data.aclose()
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    size, offset, length = found.about.size, found.about.offset, found.about.length
    status = 206 if len(header) > 1 and length is not None else 200
    if status == 206 and not length and size:
        await found.data.aclose()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    if status == 206:
        headers["Content-Range"] = f"bytes {offset}-{offset + max(length or 0, 1) - 1}/{size}"
    return streamed(found.data, BYTES, status=status, headers=headers)


def _headers(told: FileAbout) -> dict[str, str]:
    headers = {"Accept-Ranges": "bytes", "X-Outrider-Mode": told.mode}
    if told.length is not None:
        headers["Content-Length"] = str(told.length)
    if told.sha256 is not None:
        headers["ETag"] = tag(told.sha256)
    return headers


@router.put("/file", openapi_extra=_RAW)
async def upload(
    request: Request, core: CoreOf, caller: Supporter, identity: str, path: FilePath, mode: Mode = None,
    if_match: IfMatch = None, if_none_match: IfMatch = None, content_digest: Digest = None,
) -> Response:  # fmt: skip
    """Give a file the content of the body, as a whole or not at all; with If-Match only if it is what it was."""
    about(request, session=identity)
    header = {
        "path": named(request.scope["query_string"], "path"), "mode": mode,
        "if_hash": condition(if_match, if_none_match), "sha256": digest(content_digest),
    }  # fmt: skip
    done = changed(await live_files.upload(core, identity, caller, header, incoming(request)))
    return JSONResponse(done, 201 if done["created"] else 200, {"ETag": tag(done["new_hash"])})


@router.post("/uploads", status_code=201)
async def begin(request: Request, core: CoreOf, caller: Supporter, identity: str, body: NewUpload) -> Response:
    """Begin an upload that may be interrupted and go on."""
    about(request, session=identity)
    header = {**body.model_dump(), "path": from_json(body.path, "path")}
    return await once(
        request, core, caller, lambda: live_files.about_upload(core, identity, caller, "begin", header), status=201
    )


@router.put("/uploads/{upload}", openapi_extra=_RAW)
async def feed(
    request: Request, core: CoreOf, caller: Supporter, identity: str, upload: Number,
    offset: Annotated[int, Query(ge=0, le=MAX_SEQUENCE, description="Where the body begins.")] = 0,
) -> dict[str, Any]:  # fmt: skip
    """Go on with an upload at ``offset``; says how many bytes are there then, and their sha256."""
    about(request, session=identity)
    header = {"upload": upload, "offset": offset}
    return dict(await live_files.upload(core, identity, caller, header, incoming(request)))


@router.get("/uploads/{upload}")
async def state(core: CoreOf, caller: Supporter, identity: str, upload: Number) -> dict[str, Any]:
    """Say how many bytes of an upload are there, and their sha256."""
    return dict(await live_files.about_upload(core, identity, caller, "state", {"upload": upload}))


@router.post("/uploads/{upload}/finish")
async def finish(
    request: Request, core: CoreOf, caller: Supporter, identity: str, upload: Number, body: Finish
) -> Response:
    """Put an upload in its place, if it is what ``sha256`` says; it is over then in any case."""
    about(request, session=identity)
    header = {"upload": upload, "sha256": body.sha256}
    return await once(request, core, caller, lambda: live_files.about_upload(core, identity, caller, "finish", header))


@router.delete("/uploads/{upload}", status_code=204)
async def drop(core: CoreOf, caller: Supporter, identity: str, upload: Number) -> Response:
    """Forget an upload."""
    await live_files.about_upload(core, identity, caller, "drop", {"upload": upload})
    return Response(status_code=204)


@router.post("/stream", response_class=StreamingResponse)
async def stream(
    request: Request, core: CoreOf, caller: Supporter, identity: str, body: NewCall,
    accept: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """Make one call and stream what it gives: lines of JSON, each a list that begins with a word, or messages."""
    about(request, session=identity, call=body.call)
    header = {"call": body.call, "arguments": from_json(body.arguments, "arguments")}
    pipe = await live.open_pipe(core, identity, caller, "call", header)
    pipe.finish()
    return of_pipe(pipe, accept)
