"""What handlers get from a request: the server, and a caller who may do what is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.websockets import WebSocket

from protocol.errors import UnauthenticatedError
from server import access
from server.access import (
    ADMIN,
    APPROVE,
    MODERATE,
    PUBLISH,
    READ,
    RECORDS,
    REVIEW,
    RUN,
    SCHEDULE,
    SESSION,
    WATCH,
    Caller,
)
from server.core import Core
from server.services.visibility import STRANGER, Viewer
from server.store.database import READING_FOR

bearer = HTTPBearer(auto_error=False, description="A token of `outrider-server token`.")  # for the description only


async def core_of(request: Request) -> Core:
    """Return the server."""
    core: Core = request.app.state.core
    return core


def _needs(*permissions: str) -> Callable[[Request], Awaitable[Caller]]:
    async def check(request: Request) -> Caller:
        caller = getattr(request.state, "caller", None)
        if not isinstance(caller, Caller):
            raise UnauthenticatedError("this needs a token (Authorization: Bearer ...)")
        caller.require(*permissions)
        return caller

    return check


async def _viewer(request: Request) -> Viewer:
    core: Core = request.app.state.core
    if core.config.public_reading and getattr(request.state, "caller", None) is None:
        return STRANGER  # the door lets those pass only to scripts
    return Viewer.of(await _needs(READ)(request))


def caller_of_socket(core: Core, socket: WebSocket, *, subprotocol: str | None = None) -> Caller:
    """Return who opens a WebSocket: by the header Authorization, or by the one subprotocol that begins as said.

    Never by the address, which logs and histories keep.

    Args:
        core: The server.
        socket: Not accepted yet.
        subprotocol: Beginning of a subprotocol whose rest is the token; None: there is no such way.

    Raises:
        UnauthenticatedError: By nobody's token, or by more than one.
    """
    given = [value for name, value in socket.scope["headers"] if name == b"authorization"]
    scheme, _, text = (given[0].decode("latin-1") if len(given) == 1 else "").partition(" ")
    if scheme.lower() != "bearer":
        offered = socket.scope.get("subprotocols") or ()
        words = [each for each in offered if subprotocol is not None and each.startswith(subprotocol)]
        text = words[0].removeprefix(subprotocol or "") if len(words) == 1 and not given else ""
    if not text:
        ways = "Authorization: Bearer ..." + ("" if subprotocol is None else ", or a subprotocol")
        raise UnauthenticatedError(f"this needs a token ({ways})")
    caller = core.database.read_now(lambda connection: access.find(connection, text.strip()))
    READING_FOR.set(caller.principal)
    return caller


CoreOf = Annotated[Core, Depends(core_of)]
Reader = Annotated[Caller, Depends(_needs(READ))]
RecordReader = Annotated[Caller, Depends(_needs(RECORDS))]
Runner = Annotated[Caller, Depends(_needs(RUN))]
Scheduler = Annotated[Caller, Depends(_needs(SCHEDULE))]
Supporter = Annotated[Caller, Depends(_needs(SESSION))]
Closer = Annotated[Caller, Depends(_needs(SESSION, MODERATE))]
Watcher = Annotated[Caller, Depends(_needs(WATCH))]
Publisher = Annotated[Caller, Depends(_needs(PUBLISH))]
Reviewer = Annotated[Caller, Depends(_needs(REVIEW))]
Looker = Annotated[Viewer, Depends(_viewer)]  # whoever may read scripts, and which
Approver = Annotated[Caller, Depends(_needs(APPROVE))]
Admin = Annotated[Caller, Depends(_needs(ADMIN))]


def about(request: Request, **what: Any) -> None:
    """Note what the request is about, so that the record of a refusal can say it. Believed by nobody."""
    request.state.about.update(what)
