"""What handlers get from a request: the server, and a caller who may do what is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from protocol.errors import UnauthenticatedError
from server.access import ADMIN, PUBLISH, READ, RECORDS, REVIEW, RUN, SCHEDULE, Caller
from server.core import Core

bearer = HTTPBearer(auto_error=False, description="A token of `outrider-server token`.")  # for the description only


async def core_of(request: Request) -> Core:
    """Return the server."""
    core: Core = request.app.state.core
    return core


def _needs(permission: str) -> Callable[[Request], Awaitable[Caller]]:
    async def check(request: Request) -> Caller:
        caller = getattr(request.state, "caller", None)
        if not isinstance(caller, Caller):
            raise UnauthenticatedError("this needs a token (Authorization: Bearer ...)")
        caller.require(permission)
        return caller

    return check


CoreOf = Annotated[Core, Depends(core_of)]
Reader = Annotated[Caller, Depends(_needs(READ))]
RecordReader = Annotated[Caller, Depends(_needs(RECORDS))]
Runner = Annotated[Caller, Depends(_needs(RUN))]
Scheduler = Annotated[Caller, Depends(_needs(SCHEDULE))]
Publisher = Annotated[Caller, Depends(_needs(PUBLISH))]
Reviewer = Annotated[Caller, Depends(_needs(REVIEW))]
Admin = Annotated[Caller, Depends(_needs(ADMIN))]


def about(request: Request, **what: Any) -> None:
    """Note what the request is about, so that the record of a refusal can say it. Believed by nobody."""
    request.state.about.update(what)
