"""What every request passes before a handler sees it, as one layer around the application.

    request id -> who asks, and how often at once -> size of the body -> handler -> metrics and log

A caller without a valid token reads nothing and makes us read nothing: the body of a refused request is not touched.
A body is parsed in one piece while nothing else goes on, before a handler asks whether the caller may do it. So only
who may publish, keep secrets or make calls may send a large one, and nobody one that holds very many values.
A file on its way to a host has no bound of size here: its bytes are read only as fast as the host takes them.
Paths outside ``/api/`` have no token: health, the interface's description, and the agents, who prove keys instead.
"""

from __future__ import annotations

import re
import secrets
import time
from functools import partial

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.errors import OutriderError, UnauthenticatedError
from server import access, limits, push_lines
from server.access import ADMIN, PUBLISH, SESSION, Caller
from server.api.held_body import HeldBody
from server.api.problems import problem
from server.core import Core
from server.store.database import READING_FOR
from server.strangers import place_of
from server.under_way import Sender, Stranger

LOG = structlog.get_logger()
#: The description of the API holds no secret, and whose server this is must be known before a token is sent.
_OPEN = frozenset({"/api/v1/openapi.json", "/api/v1/identity"})
#: Where a body is handed on piece by piece as the host takes it, so that its size costs nothing here.
_STREAMED = re.compile(r"/api/v1/sessions/[^/]+/(?:file|uploads/[0-9]+|commands/[0-9]+/stdin)")
_SCRIPTS = "/api/v1/scripts"
_CALLS = re.compile(r"/api/v1/sessions/[^/]+/(?:calls|stream|command|editing)")
_GIT = "/git/"
_PUSH = f"/{push_lines.SERVICE}"
_BLOBS = "/api/v1/blobs/"
#: What may be as large as a bundle, and the permission that it takes.
_LARGE = {("POST", _SCRIPTS): PUBLISH, ("POST", "/api/v1/secrets"): ADMIN}


class Door:
    """The layer.

    Args:
        app: What is behind it.
        core: The server.
    """

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; WebSockets and the lifespan pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began = secrets.token_hex(8), time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"], state["about"] = request_id, {}
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
                message["headers"] = [*others, (b"x-request-id", request_id.encode())]
            await send(message)

        body: HeldBody | None = None
        if scope["path"].startswith(("/api/", _GIT)):
            READING_FOR.set(_sender(scope))  # a stranger, until it is known who
        try:
            await self._admit(scope)
            is_streamed = scope["method"] == "PUT" and _STREAMED.fullmatch(scope["path"]) is not None
            if not is_streamed:
                body = HeldBody(receive, _declared_bytes(scope), *self._most(scope))
                if _is_held(scope):
                    body.hold(self._core.bodies, partial(_sender, scope))
            await self._app(scope, receive if body is None else body, sending)
        except OutriderError as error:
            status = problem(error, request_id).status_code
            self._core.metrics.refusals.labels(error.code).inc()
            await problem(error, request_id)(scope, receive, send)
        finally:
            self._measure(scope, status, time.perf_counter() - began, request_id)
            if body is not None:
                body.release()
            if "caller" in state:
                self._core.under_way.leave(state["caller"].principal)

    async def _admit(self, scope: Scope) -> None:
        """Note who asks.

        Raises:
            UnauthenticatedError: Nobody who has a valid token.
            RateError: Somebody of whom too many requests are under way.
        """
        path: str = scope["path"]
        if path in _OPEN or not (path.startswith("/api/") or path == "/metrics"):
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given and self._core.config.public_reading and scope["method"] == "GET" and path.startswith(_SCRIPTS):
            return  # a stranger, who sees what is public
        scheme, _, text = (given[0].decode("latin-1") if len(given) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise UnauthenticatedError("this needs a token (Authorization: Bearer ...)")
        # Microseconds by an index; a thread would cost more than the look.
        enter(self._core, scope, self._core.database.read_now(lambda found: access.find(found, text.strip())))

    def _most(self, scope: Scope) -> tuple[int, int | None]:
        """Return how many bytes, and values, a body may have: a blob goes to the disk as it comes, a push to git."""
        method, path, caller = scope["method"], scope["path"], scope["state"].get("caller")
        if method == "PUT" and path.startswith(_BLOBS):
            return self._core.config.blob_limits.max_bytes, None
        if path.startswith(_GIT):
            return limits.MAX_BODY_BYTES if path.endswith(_PUSH) else limits.MAX_ASKED_OF_GIT, None
        permission = _LARGE.get((method, path))
        if permission is not None and caller is not None and caller.may(permission):
            return limits.MAX_BODY_BYTES, limits.MAX_BODY_VALUES
        if _CALLS.fullmatch(path) and caller is not None and caller.may(SESSION):
            return limits.MAX_CALL_BODY_BYTES, limits.MAX_BODY_VALUES
        return limits.MAX_SMALL_BODY_BYTES, limits.MAX_BODY_VALUES

    def _measure(self, scope: Scope, status: int, elapsed_s: float, request_id: str) -> None:
        metrics, method = self._core.metrics, scope["method"]
        known = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
        metrics.requests.labels(known, str(status)).inc()
        metrics.request_seconds.observe(elapsed_s)
        caller = scope["state"].get("caller")
        LOG.info(
            "request", method=known, path=scope["path"][:200], status=status, ms=round(elapsed_s * 1000, 2),
            request_id=request_id, principal=caller.principal if caller is not None else None,
        )  # fmt: skip


def enter(core: Core, scope: Scope, caller: Caller) -> None:
    """Note who asks, once it is proved; the door counts the request as theirs until it is over.

    Raises:
        RateError: Too many of theirs are under way.
    """
    core.under_way.enter(caller.principal)
    scope["state"]["caller"] = caller
    READING_FOR.set(caller.principal)


def _is_held(scope: Scope) -> bool:
    """Tell whether a body is in memory until it is whole: not a blob, nor a push, which go to the disk as they come.

    Nor what an agent enrols with: that has a bound and a time of its own, and others must not take the room for it.
    """
    method, path = scope["method"], scope["path"]
    if path.startswith(_GIT):
        return not path.endswith(_PUSH)
    return path.startswith("/api/") and not (method == "PUT" and path.startswith(_BLOBS))


def _sender(scope: Scope) -> Sender:
    """Return whose a request is as far as is known now: git's come in before that is asked."""
    caller = scope["state"].get("caller")
    return caller.principal if caller is not None else Stranger(place_of((scope.get("client") or ("",))[0]))


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value) if len(value) < 20 else 1 << 63
    return 0  # then what arrives is counted
