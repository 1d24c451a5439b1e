"""What reviewers and authors say about a version, beside its code: text for people, which decides nothing.

Who has checked a version on their own machine says so by the place PASSED or FAILED. That is their word, told with
their name: the server runs nothing, and proves nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select

from protocol.errors import ConflictError
from server import clock
from server.core import Core
from server.services.review_rows import find_for
from server.services.visibility import Viewer
from server.store.tables import review_comments as table

MAX_COMMENTS: Final = 500  # of one review; chosen without measurement
MAX_OF_ONE: Final = 100  # of one person in one review, so that nobody keeps the others from saying anything
MAX_SHOWN: Final = 100  # with the review, the newest
PASSED: Final = "check: passed"
FAILED: Final = "check: failed"


async def add(core: Core, identity: str, text: str, place: str | None, viewer: Viewer) -> dict[str, Any]:
    """Add a comment to a review, whatever its state.

    Raises:
        NotFoundError: There is no such review that the viewer may see.
        ConflictError: It has very many already.
    """

    def store(connection: Connection) -> dict[str, Any]:
        row = find_for(connection, identity, viewer)
        held = connection.execute(select(func.count()).where(table.c.review == identity)).scalar() or 0
        if held >= MAX_COMMENTS:
            raise ConflictError(f"review {identity} has {held} comments already")
        own = select(func.count()).where(table.c.review == identity, table.c.principal == viewer.principal)
        if (connection.execute(own).scalar() or 0) >= MAX_OF_ONE:
            raise ConflictError(f"review {identity} has {MAX_OF_ONE} comments of yours already")
        values = {"review": identity, "principal": viewer.principal, "place": place, "text": text}
        connection.execute(insert(table).values(**values, created_us=clock.now_us()))
        core.ledger.append(
            connection, call="review.comment", principal=viewer.principal,
            arguments={
                "review": identity, "script": row.name, "version": row.version, "place": place or "", "text": text,
            },
        )  # fmt: skip
        return of(connection, identity)[-1]

    return await core.database.write(store)


def of(connection: Connection, identity: str) -> list[dict[str, Any]]:
    """Return the newest comments of a review, oldest first."""
    rows = connection.execute(
        select(table).where(table.c.review == identity).order_by(table.c.id.desc()).limit(MAX_SHOWN)
    ).all()
    return [
        {"time": clock.text(row.created_us), "by": row.principal, "place": row.place, "text": row.text}
        for row in reversed(rows)
    ]


def checked(connection: Connection, reviews: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return of each review who has checked the version last, and what they say came of it; nothing of the others."""
    query = select(table).where(table.c.review.in_(reviews), table.c.place.in_((PASSED, FAILED)))
    return {
        row.review: {"passed": row.place == PASSED, "by": row.principal, "time": clock.text(row.created_us)}
        for row in connection.execute(query.order_by(table.c.id))
    }
