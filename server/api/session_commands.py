"""``/sessions/{id}/command`` and ``/commands/{n}``: programs that a session starts, and what goes in and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.responses import StreamingResponse

from protocol.limits import MAX_SEQUENCE
from server.api.asking import CoreOf, Supporter, about
from server.api.bodies import NewCommand, NewSignal
from server.api.repeats import once
from server.api.streams import of_pipe
from server.request_body import incoming
from server.services import live, live_files

router = APIRouter(prefix="/sessions/{identity}", tags=["sessions"])
_RAW: dict[str, Any] = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}, "required": True}
}
Number = Annotated[int, Path(ge=1, le=MAX_SEQUENCE)]


@router.post("/command", response_class=StreamingResponse)
async def command(
    request: Request, core: CoreOf, caller: Supporter, identity: str, body: NewCommand,
    accept: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """Run a program and stream what it prints, as lines of JSON (``["stdout", {"$bytes": ...}]``) or messages.

    The first says its number, the last how it ended. Whoever stops reading makes it wait; whoever goes away ends it.
    """
    about(request, session=identity, call="proc.spawn")
    pipe = await live.open_pipe(core, identity, caller, "command", body.model_dump())
    pipe.finish()
    return of_pipe(pipe, accept)


@router.put("/commands/{command}/stdin", openapi_extra=_RAW)
async def stdin(request: Request, core: CoreOf, caller: Supporter, identity: str, command: Number) -> dict[str, Any]:
    """Give a command the body to read, as fast as it reads, and then its end."""
    about(request, session=identity)
    header = {"command": command}
    return dict(await live_files.upload(core, identity, caller, header, incoming(request), act="command.stdin"))


@router.post("/commands/{command}/signal")
async def signal(
    request: Request, core: CoreOf, caller: Supporter, identity: str, command: Number, body: NewSignal
) -> Response:
    """Send a command a signal; says whether it still ran."""
    about(request, session=identity)
    header = {"command": command, "signal": body.signal, "to_group": body.to_group}

    async def sent() -> dict[str, Any]:
        return {"value": await live_files.ask(core, identity, caller, "command.signal", header)}

    return await once(request, core, caller, sent)
