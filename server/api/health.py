"""``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from server.access import Caller
from server.api.asking import CoreOf

router = APIRouter(tags=["health"])


@router.get("/livez")
@router.get("/healthz", include_in_schema=False)
async def live() -> dict[str, bool]:
    """Answer while the event loop turns."""
    return {"alive": True}


@router.get("/readyz")
async def ready(core: CoreOf) -> Response:
    """Tell whether requests can be served: a write must reach the disk."""
    checks = {
        "database": await core.probe.problem(core.database),
        "roster": None if core.trusted is not None else "none yet",
    }
    is_ready = checks["database"] is None and not core.is_ending.is_set()
    told: dict[str, Any] = {"ready": is_ready, "checks": {name: why or "ok" for name, why in checks.items()}}
    return JSONResponse(told, 200 if is_ready else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, core: CoreOf) -> Response:
    """Numbers for Prometheus; the door has seen a token."""
    caller: Caller = request.state.caller
    caller.require("read")
    core.metrics.agents.set(len(core.links))
    return Response(core.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
