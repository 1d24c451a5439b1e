"""``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from protocol.errors import OutriderError
from server.access import Caller
from server.api.asking import CoreOf
from server.core import Core

router = APIRouter(tags=["health"])
READY_TIMEOUT_S = 2.0  # for one durable write; a disk that takes longer serves nobody


@router.get("/livez")
@router.get("/healthz", include_in_schema=False)
async def live() -> dict[str, bool]:
    """Answer while the event loop turns."""
    return {"alive": True}


@router.get("/readyz")
async def ready(core: CoreOf) -> Response:
    """Tell whether requests can be served: a write must reach the disk."""
    checks = {"database": await _writes(core), "roster": None if core.trusted is not None else "none yet"}
    is_ready = checks["database"] is None and not core.is_ending.is_set()
    told: dict[str, Any] = {"ready": is_ready, "checks": {name: why or "ok" for name, why in checks.items()}}
    return JSONResponse(told, 200 if is_ready else 503)


async def _writes(core: Core) -> str | None:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await core.database.write(lambda _: None)
    except OutriderError as error:
        return error.message
    except TimeoutError:
        return f"no write in {READY_TIMEOUT_S:g} s"
    return None


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, core: CoreOf) -> Response:
    """Numbers for Prometheus; the door has seen a token."""
    caller: Caller = request.state.caller
    caller.require("read")
    core.metrics.agents.set(len(core.links))
    return Response(core.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
