"""The short way for the one request that people wait for most: a one-off run.

FastAPI finds a route, solves dependencies and wraps handlers in layers; for this request that takes longer than its
commit. Here the path is compared, the same form (:class:`server.api.bodies.NewRun`) reads the body, and the same
function answers. Whatever is not as it should be goes the long way, body and all, so every refusal is worded in one
place.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.errors import OutriderError
from server.access import RUN, Caller
from server.api import runs
from server.api.bodies import NewRun
from server.api.description import PREFIX
from server.core import Core

_PATH = f"{PREFIX}/runs"
_ROUTE = next(route for route in runs.router.routes if "POST" in getattr(route, "methods", ()))  # names it in records
_JSON = b"application/json"


class Express:
    """The layer between the door and the application.

    Args:
        app: What is behind it.
        core: The server.
        refuse: Makes the answer to an error.
    """

    def __init__(self, app: ASGIApp, core: Core, refuse: Any) -> None:
        self._app = app
        self._core = core
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that the door has let in."""
        caller = scope["state"].get("caller") if scope["type"] == "http" else None
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST" or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        asked = _asked(body) if body is not None and isinstance(caller, Caller) else None
        again = _Replayed(body, receive)
        # Who has not the role needs a grant, which is looked at with the script; that is no hurry.
        if asked is None or not isinstance(caller, Caller) or not caller.may(RUN):
            await self._app(scope, again, send)
            return
        scope["route"] = _ROUTE
        request = Request(scope, again, send)
        try:
            answer = await runs.run(request, self._core, caller, asked)
        except OutriderError as error:
            answer = await self._refuse(request, error)
        await answer(scope, again, send)


def _is_json(scope: Scope) -> bool:
    return [value for name, value in scope["headers"] if name == b"content-type"] == [_JSON]


def _asked(body: bytes) -> NewRun | None:
    """Return what is asked for; None if it must be told what is wrong with it."""
    try:
        return NewRun.model_validate(json.loads(body))
    except (ValueError, RecursionError, ValidationError):
        return None


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body; None if the client went away."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


class _Replayed:
    """Gives a body that was read already once more, then what else comes."""

    def __init__(self, body: bytes | None, receive: Receive) -> None:
        self._message: Message | None = (
            {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body, "more_body": False}
        )
        self._receive = receive

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        return message if message is not None else await self._receive()
