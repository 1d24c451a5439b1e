"""The application: routes, errors and life cycle put together. It holds no rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
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
from server import courier, limits, quarantine, reading, record_tree, refusals
from server.access import Caller
from server.api import (
    access_grants,
    agents,
    attach,
    blobs,
    consents,
    forward,
    git,
    grants,
    health,
    identities,
    identity,
    overview,
    recordings,
    records,
    repeats,
    requests,
    reviewing,
    runs,
    schedules,
    scripts,
    secrets,
    session_commands,
    session_events,
    session_files,
    sessions,
    trust,
    webhooks,
)
from server.api.asking import bearer
from server.api.description import PREFIX, TITLE, describe
from server.api.door import Door
from server.api.express import Express
from server.api.problems import problem
from server.core import Core
from server.endpoint import joining
from server.services import access_grants as access_service
from server.services import awaited, live, namespace, open_pipes, roster, standing, time_kept
from server.services import blobs as blob_service
from server.services import grants as grant_service
from server.services import runs as run_service
from server.services import scripts as scripts_service
from server.services import webhooks as webhook_service
from server.sessions import hall
from server.version import VERSION

LOG = structlog.get_logger()
_ROUTERS = (
    overview,
    identity,
    identities,
    agents,
    blobs,
    scripts,
    grants,
    reviewing,
    secrets,
    schedules,
    runs,
    recordings,
    sessions,
    session_commands,
    session_events,
    session_files,
    consents,
    access_grants,
    requests,
    records,
    trust,
    webhooks,
)


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
    app.router.routes.extend(git.ROUTES)
    app.router.routes.append(Route("/agent/v1/enroll", joining.enroll, methods=["POST"]))
    app.router.routes.append(WebSocketRoute("/agent/v1/link", joining.link))
    app.router.routes.append(WebSocketRoute(f"{PREFIX}/sessions/{{identity}}/attach", attach.attach))
    app.router.routes.append(WebSocketRoute(f"{PREFIX}/sessions/{{identity}}/forward", forward.forward))
    app.add_exception_handler(OutriderError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    core: Core = app.state.core
    core.ledger.listeners = [webhook_service.enqueue]
    await core.database.read(time_kept.take_up)
    core.trusted = await core.database.read(roster.resume)
    await standing.take_up(core)
    await _complete_repository(core)
    while await core.database.write(record_tree.grow):
        pass  # of a release that kept no tree yet
    core.unanswered = await core.database.read(run_service.unanswered)
    await core.database.write(live.forget_unanswered)
    core.background(_forget_old_answers(core))
    core.background(_sign_tree_heads(core))
    core.background(time_kept.watch(core))
    core.background(access_service.watch(core))
    core.background(open_pipes.watch(core))
    core.background(grant_service.watch(core))
    core.background(awaited.watch(core))
    core.background(courier.run(core))
    core.background(standing.look_ahead(core))
    core.background(blob_service.tidy_up(core))
    await hall.resume(core)
    LOG.info(
        "server started", version=VERSION, url=core.config.url, runs_unanswered=sum(map(len, core.unanswered.values()))
    )
    yield
    core.is_ending.set()
    hall.dismiss(core)
    await core.stop_background()
    await standing.put_by(core)
    await refusals.put_by(core)
    with suppress(UnavailableError):  # a full disk must not keep the server from ending
        await time_kept.look(core)
        await core.database.write(core.ledger.checkpoint)
        await core.database.write(partial(record_tree.sign_newest, key=core.key))
    core.database.close()
    await asyncio.to_thread(reading.end)
    LOG.info("server ended")


async def _complete_repository(core: Core) -> None:
    """Bring git and database together after a crash, or after an older version of this server."""
    known = await core.database.read(scripts_service.commits)
    left = await asyncio.to_thread(core.repository.reconcile, known)
    await asyncio.to_thread(quarantine.clear, core.config.directory)
    read = await core.database.write(lambda connection: namespace.complete(core, connection))
    if left or read:
        LOG.info("repository completed", tags_of_nothing=left, versions_read=read)


async def _sign_tree_heads(core: Core) -> None:
    while True:
        await asyncio.sleep(limits.TREE_HEAD_EVERY_S)
        with suppress(UnavailableError):  # a full disk; the next time will do
            await core.database.write(partial(record_tree.sign_newest, key=core.key))


async def _forget_old_answers(core: Core) -> None:
    while True:
        with suppress(UnavailableError):  # a full disk; the next time will do
            await core.database.write(repeats.forget_old)
            await core.database.write(webhook_service.forget_old)
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
    _untie(error)
    # Git asks its user for a token only if it is offered the one way that it knows.
    scheme = "Basic" if request.url.path.startswith(git.PATH) else "Bearer"
    return problem(error, request.state.request_id, scheme=scheme)


async def _on_invalid(request: Request, error: Any) -> Response:
    """Name every wrong field; what was sent is not repeated, for it may hold a secret."""
    wrong = [{"where": _place(item), "message": item["msg"]} for item in error.errors()[:20]]
    first = wrong[0] if wrong else {"where": "body", "message": "is wrong"}
    told = ArgumentError(first["message"], parameter=first["where"], where=first["where"])
    _untie(error)
    return problem(told, request.state.request_id, errors=wrong)


def _place(item: dict[str, Any]) -> str:
    first, *rest = item["loc"]
    if item["type"] == "json_invalid":
        return f"body, character {rest[0]}" if rest else "body"
    return ".".join(str(step)[:100] for step in rest) or str(first)


def _untie(error: BaseException) -> None:
    """Let go of what errors that are answered now went through, and with it of what they hold of each other.

    FastAPI keeps the error that it raises in a variable of the function that raises it: a circle, which stands until
    the collector walks through all there is, and in it the whole body of the request.
    """
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each.__traceback__ is not None:  # else it was seen, or never raised
            each.__traceback__ = None
            waiting += [each.__cause__, each.__context__]


async def _on_http(request: Request, error: Any) -> Response:
    _untie(error)
    if isinstance(error.__cause__, OutriderError):  # FastAPI's wrapping of what reading the body raised
        return await _on_error(request, error.__cause__)
    if error.status_code in (404, 405):
        what = f"there is no {request.method} {request.url.path[:200]}"
        return problem(NotFoundError(what), request.state.request_id)
    return problem(ArgumentError(str(error.detail)), request.state.request_id)


async def _on_unforeseen(request: Request, error: Exception) -> Response:
    LOG.error("request failed", request_id=request.state.request_id, exc_info=error)
    return problem(InternalError("the server failed; its log says why"), request.state.request_id)
