"""What every request passes before a handler sees it, as one layer around the application.

    request id -> who asks -> size of the body -> handler -> metrics and log

A caller without a valid token reads nothing and makes us read nothing: the body of a refused request is not touched.
Paths outside ``/api/`` have no token: health, the interface's description, and the agents, who prove keys instead.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.errors import OutriderError, TooLargeError, UnauthenticatedError
from server import access, limits
from server.api.problems import problem
from server.core import Core

LOG = structlog.get_logger()
_OPEN = frozenset({"/api/v1/openapi.json"})  # the description of the API holds no secret


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

        try:
            await self._admit(scope)
            await self._app(scope, _Bounded(receive, _declared_bytes(scope)), sending)
        except OutriderError as error:
            status = problem(error, request_id).status_code
            self._core.metrics.refusals.labels(error.code).inc()
            await problem(error, request_id)(scope, receive, send)
        finally:
            self._measure(scope, status, time.perf_counter() - began, request_id)

    async def _admit(self, scope: Scope) -> None:
        """Note who asks.

        Raises:
            UnauthenticatedError: Nobody who has a valid token.
        """
        path: str = scope["path"]
        if path in _OPEN or not (path.startswith("/api/") or path == "/metrics"):
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, text = (given[0].decode("latin-1") if len(given) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise UnauthenticatedError("this needs a token (Authorization: Bearer ...)")
        # Microseconds by an index; a thread would cost more than the look.
        scope["state"]["caller"] = self._core.database.read_now(lambda found: access.find(found, text.strip()))

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


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value) if len(value) < 20 else limits.MAX_BODY_BYTES + 1
    return 0  # then what arrives is counted


class _Bounded:
    """Hands a body on and refuses what is more than ``limits.MAX_BODY_BYTES``, said beforehand or not."""

    def __init__(self, receive: Receive, declared: int) -> None:
        self._receive = receive
        self._declared = declared
        self._size = 0

    async def __call__(self) -> Message:
        if self._declared > limits.MAX_BODY_BYTES:
            raise _too_large()
        message: Any = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > limits.MAX_BODY_BYTES:
            raise _too_large()
        return dict(message)


def _too_large() -> TooLargeError:
    return TooLargeError(f"the body of the request is over {limits.MAX_BODY_BYTES} bytes")
