"""The application: routes, errors and life cycle put together. It holds no rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from protocol.errors import (
    ArgumentError,
    DeniedError,
    InternalError,
    NotFoundError,
    OutriderError,
    TrustError,
    UnavailableError,
)
from server import limits, refusals
from server.access import Caller
from server.api import agents, health, overview, records, repeats, runs, schedules, scripts, secrets, trust
from server.api.asking import bearer
from server.api.description import PREFIX, TITLE, describe
from server.api.door import Door
from server.api.express import Express
from server.api.problems import problem
from server.core import Core
from server.endpoint import joining
from server.services import roster
from server.services import runs as run_service
from server.version import VERSION

LOG = structlog.get_logger()
_ROUTERS = (overview, agents, scripts, secrets, schedules, runs, records, trust)


class _App(FastAPI):
    """An application that describes itself in full."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def build(core: Core) -> FastAPI:
    """Return the application of one server."""
    app = routed()
    app.state.core = core
    app.add_middleware(Express, core=core, refuse=_on_error)
    app.add_middleware(Door, core=core)  # the last one added is the first that is asked
    return app


def routed() -> FastAPI:
    """Return an application with all routes and errors, and no server behind them yet."""
    app = _App(
        title=TITLE, version=VERSION, lifespan=_lifespan, openapi_url=f"{PREFIX}/openapi.json", docs_url=None,
        redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    for module in _ROUTERS:
        app.include_router(module.router, prefix=PREFIX, dependencies=[Depends(bearer)])
    app.include_router(health.router)
    app.router.routes.append(Route("/agent/v1/enroll", joining.enroll, methods=["POST"]))
    app.router.routes.append(WebSocketRoute("/agent/v1/link", joining.link))
    app.add_exception_handler(OutriderError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    core: Core = app.state.core
    core.trusted = await core.database.read(roster.resume)
    lost = await core.database.write(run_service.forget_unanswered)
    core.background(_forget_old_answers(core))
    LOG.info("server started", version=VERSION, url=core.config.url, runs_lost=lost)
    yield
    core.is_ending.set()
    await core.stop_background()
    with suppress(UnavailableError):  # a full disk must not keep the server from ending
        await core.database.write(core.ledger.checkpoint)
    core.database.close()
    LOG.info("server ended")


async def _forget_old_answers(core: Core) -> None:
    while True:
        with suppress(UnavailableError):  # a full disk; the next time will do
            await core.database.write(repeats.forget_old)
        await asyncio.sleep(limits.FORGET_EVERY_S)


# errors --------------------------------------------------------------------------------------------------------------


async def _on_error(request: Request, error: Any) -> Response:
    caller = getattr(request.state, "caller", None)
    if isinstance(error, TrustError | DeniedError) and isinstance(caller, Caller):
        route = request.scope.get("route")
        call = f"{request.method} {route.path if route is not None else request.url.path}"
        await refusals.record(
            request.app.state.core, error, call=call[:100], principal=caller.principal, about=request.state.about
        )
    if error.detail or isinstance(error, InternalError):
        LOG.error("request failed", request_id=request.state.request_id, why=str(error), detail=error.detail)
    return problem(error, request.state.request_id)


async def _on_invalid(request: Request, error: Any) -> Response:
    """Name every wrong field; what was sent is not repeated, for it may hold a secret."""
    wrong = [{"where": _place(item), "message": item["msg"]} for item in error.errors()[:20]]
    first = wrong[0] if wrong else {"where": "body", "message": "is wrong"}
    told = ArgumentError(first["message"], parameter=first["where"], where=first["where"])
    return problem(told, request.state.request_id, errors=wrong)


def _place(item: dict[str, Any]) -> str:
    first, *rest = item["loc"]
    if item["type"] == "json_invalid":
        return f"body, character {rest[0]}" if rest else "body"
    return ".".join(str(step)[:100] for step in rest) or str(first)


async def _on_http(request: Request, error: Any) -> Response:
    if isinstance(error.__cause__, OutriderError):  # FastAPI's wrapping of what reading the body raised
        return await _on_error(request, error.__cause__)
    if error.status_code in (404, 405):
        what = f"there is no {request.method} {request.url.path[:200]}"
        return problem(NotFoundError(what), request.state.request_id)
    return problem(ArgumentError(str(error.detail)), request.state.request_id)


async def _on_unforeseen(request: Request, error: Exception) -> Response:
    LOG.error("request failed", request_id=request.state.request_id, exc_info=error)
    return problem(InternalError("the server failed; its log says why"), request.state.request_id)
