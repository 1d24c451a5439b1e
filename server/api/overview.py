"""``/me`` and ``/status``: who asks, and how the fleet is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection, func, select

from server import clock
from server.api.asking import CoreOf, Reader
from server.store.tables import agents, reviews, runs, schedules
from server.version import VERSION

router = APIRouter(tags=["overview"])


@router.get("/me")
async def me(caller: Reader) -> dict[str, Any]:
    """Tell who the token is of."""
    return {"principal": caller.principal, "roles": list(caller.roles), "expires": clock.text(caller.expires_us)}


@router.get("/status")
async def status(core: CoreOf, _: Reader) -> dict[str, Any]:
    """Tell how the fleet is, in numbers."""

    def count(connection: Connection) -> dict[str, Any]:
        def number(table: Any, *where: Any) -> int:
            return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar() or 0)

        return {
            "server": {"version": VERSION, "time": clock.text(clock.now_us())},
            "agents": number(agents, agents.c.removed_us.is_(None)), "connected": len(core.links),
            "schedules": number(schedules), "reviews_open": number(reviews, reviews.c.state == "open"),
            "runs_under_way": number(runs, runs.c.status.in_(("queued", "running"))),
            "roster_version": core.trusted.current.version if core.trusted and core.trusted.current else None,
        }  # fmt: skip

    return await core.database.read(count)
