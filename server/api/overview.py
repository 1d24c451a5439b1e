"""``/me`` and ``/status``: who asks, and how the fleet is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection, func, select

from server import clock
from server.api.asking import CoreOf, Reader
from server.services.visibility import Viewer, versions_for
from server.store.tables import agents, reviews, runs, schedules, scripts
from server.version import VERSION

router = APIRouter(tags=["overview"])


@router.get("/me")
async def me(caller: Reader) -> dict[str, Any]:
    """Tell who the token is of."""
    return {"principal": caller.principal, "roles": list(caller.roles), "expires": clock.text(caller.expires_us)}


@router.get("/status")
async def status(core: CoreOf, caller: Reader) -> dict[str, Any]:
    """Tell how the fleet is, in numbers."""

    def count(connection: Connection) -> dict[str, Any]:
        def number(table: Any, *where: Any) -> int:
            return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar() or 0)

        reviewed = reviews.join(scripts, scripts.c.digest == reviews.c.digest)
        is_told = versions_for(Viewer.of(caller))
        return {
            "server": {"version": VERSION, "time": clock.text(clock.host_us())},
            "agents": number(agents, agents.c.removed_us.is_(None)), "connected": len(core.links),
            "schedules": number(schedules), "reviews_open": number(reviewed, reviews.c.state == "open", is_told),
            "runs_under_way": number(runs, runs.c.status.in_(("queued", "running"))),
            "roster_version": core.trusted.current.version if core.trusted and core.trusted.current else None,
        }  # fmt: skip

    return await core.database.read(count)
