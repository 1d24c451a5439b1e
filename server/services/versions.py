"""The versions of a script one after the other, and any two of them against each other."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Row, select

from policies.levels import FIRST
from protocol.bundle import Bundle
from server import clock
from server.core import Core
from server.services import history, namespace, reviews
from server.services import scripts as service
from server.services.visibility import Viewer, versions_for
from server.store.tables import scripts

MAX_LOGGED: Final = 20  # versions of one page; each is read and compared with the one before it


def query(name: str, viewer: Viewer) -> Any:
    """Return the query for the versions of a script that a viewer may see."""
    return select(scripts).where(scripts.c.name == name, versions_for(viewer))


def logged(core: Core, connection: Connection, row: Row[Any], viewer: Viewer) -> dict[str, Any]:
    """Return a version as the log shows it, against the one that was published before it."""
    base = connection.execute(
        query(row.name, viewer)
        .where(scripts.c.published_us < row.published_us)
        .order_by(scripts.c.published_us.desc())
        .limit(1)
    ).first()
    changes, _, _ = reviews.compared(core, connection, row, base)
    return {
        "version": row.version, "digest": row.digest, "published": clock.text(row.published_us), "author": row.author,
        "tier": row.tier, "status": service.status(core, connection, row),
        "change": FIRST if base is None else _level(core, base, row), "since": reviews.since(base, changes),
        "approvals": history.approvals_of(connection, row.digest), "owners": row.owners,
        "deprecated": namespace.deprecation(connection, row.name, row.version),
    }  # fmt: skip


def difference(core: Core, connection: Connection, before: Row[Any], after: Row[Any]) -> dict[str, Any]:
    """Return what a version of a script may do that another one may not, and the other way round."""
    changes, found, _ = reviews.compared(core, connection, after, before)
    return {
        "name": after.name, "before": before.version, "after": after.version, "change": _level(core, before, after),
        "changes": [reviews.encoded(change) for change in changes[: reviews.MAX_CHANGES]],
        "more_changes": max(0, len(changes) - reviews.MAX_CHANGES), "risks": found["risks"],
    }  # fmt: skip


def bundles(core: Core, before: Row[Any], after: Row[Any]) -> tuple[Bundle, Bundle]:
    """Return the bundles of two versions."""
    old, new = (core.repository.bundle(row.name, row.version, row.digest) for row in (before, after))
    return old, new


def _level(core: Core, before: Row[Any], after: Row[Any]) -> str:
    return service.level_between(*bundles(core, before, after))
