"""Reviews as rows: finding one, listing them, and what a list shows of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from protocol.errors import NotFoundError
from server import clock
from server.services.scripts import by_digest
from server.services.visibility import Viewer, may_see
from server.store.tables import reviews, scripts


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a review with its script.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(_joined().where(reviews.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no review {identity[:40]!r}")
    return row


def find_for(connection: Connection, identity: str, viewer: Viewer) -> Row[Any]:
    """Return a review of what the viewer may see; NotFoundError as if there were none."""
    row = find(connection, identity)
    if not may_see(connection, viewer, by_digest(connection, row.digest)):
        raise NotFoundError(f"there is no review {identity[:40]!r}")
    return row


def _joined() -> Any:
    return select(
        reviews, scripts.c.name, scripts.c.version, scripts.c.tier, scripts.c.author, scripts.c.publication
    ).join(scripts, scripts.c.digest == reviews.c.digest)


def query(state: str | None) -> Any:
    """Return the query for reviews of one state, or all."""
    return _joined() if state is None else _joined().where(reviews.c.state == state)


def brief(row: Row[Any]) -> dict[str, Any]:
    """Return a review as a list shows it."""
    return {
        "id": row.id, "script": row.name, "version": row.version, "digest": row.digest, "tier": row.tier,
        "author": row.author, "state": row.state, "created": clock.text(row.created_us),
        "decided": clock.text(row.decided_us), "decided_by": row.decided_by, "reason": row.reason,
    }  # fmt: skip
