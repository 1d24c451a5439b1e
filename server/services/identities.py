"""Which id a beginning stands for, among what the caller may see.

- The index of ids is asked for a range of them, so it costs the same however many there are.
- What a caller may not see does not count: it is neither found nor in the way of another one.
- A whole id stands for itself, also where longer ones begin with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from protocol.errors import ConflictError, NotFoundError
from protocol.identities import Kind, after, check_beginning
from server.access import ADMIN, READ, RECORDS, Caller
from server.core import Core
from server.services.visibility import Viewer, versions_for
from server.store.tables import (
    access_grants,
    access_requests,
    deliveries,
    grants,
    reviews,
    runs,
    schedules,
    scripts,
    sessions,
    webhooks,
)

MAX_NAMED: Final = 5  # ids in the refusal of a beginning that several have


class _Kept(NamedTuple):
    """Where ids of a kind are, and who may read them."""

    permission: str
    query: Callable[[Caller], Any]  # a select of one column


def _all_of(column: Any) -> Callable[[Caller], Any]:
    return lambda _caller: select(column)


def _reviews(caller: Caller) -> Any:
    of_version = reviews.join(scripts, scripts.c.digest == reviews.c.digest)
    return select(reviews.c.id).select_from(of_version).where(versions_for(Viewer.of(caller)))


_KEPT: Final[dict[Kind, _Kept]] = {
    Kind.RUN: _Kept(READ, _all_of(runs.c.id)),
    Kind.SESSION: _Kept(READ, _all_of(sessions.c.id)),
    Kind.SCHEDULE: _Kept(READ, _all_of(schedules.c.id)),
    Kind.REVIEW: _Kept(READ, _reviews),
    Kind.GRANT: _Kept(READ, _all_of(grants.c.id)),
    Kind.ACCESS: _Kept(READ, _all_of(access_grants.c.id)),
    Kind.REQUEST: _Kept(READ, _all_of(access_requests.c.id)),
    Kind.WEBHOOK: _Kept(ADMIN, _all_of(webhooks.c.id)),
    Kind.MESSAGE: _Kept(ADMIN, _all_of(deliveries.c.message)),
}


async def found(core: Core, kind: Kind, beginning: str, caller: Caller) -> str:
    """Return the one id of a kind that is, or begins with, a text.

    Args:
        core: The server.
        kind: What it is of.
        beginning: As typed.
        caller: Who asks.

    Raises:
        ArgumentError: It can be no beginning.
        DeniedError: The caller may not read what is of this kind.
        NotFoundError: There is none, or none that the caller may see.
        ConflictError: There are several; names them.
    """
    check_beginning(beginning)
    if kind is Kind.QUESTION:
        caller.require(RECORDS)
        candidates = _asked(core, beginning)
    else:
        caller.require(_KEPT[kind].permission)
        query = in_range(kind, caller, beginning)
        candidates = await core.database.read(lambda connection: _ids(connection, query))
    if beginning in candidates:
        return beginning
    if not candidates:
        raise NotFoundError(f"there is no {kind.value} {beginning!r}, in full or as a beginning")
    if len(candidates) > 1:
        more = " and more" if len(candidates) > MAX_NAMED else ""
        ids = ", ".join(candidates[:MAX_NAMED])
        raise ConflictError(f"{beginning!r} is the beginning of more than one {kind.value}: {ids}{more}")
    return candidates[0]


def _asked(core: Core, beginning: str) -> list[str]:
    """Return the ids of the questions that begin so: they are in memory, a bounded number of each host."""
    return sorted(each.body["id"] for each in core.consents.listing() if each.body["id"].startswith(beginning))


def _ids(connection: Connection, query: Any) -> list[str]:
    return [str(each) for each in connection.execute(query).scalars()]


def in_range(kind: Kind, caller: Caller, beginning: str) -> Any:
    """Return the query for the ids that begin so, in their order, of what a caller sees; of many as many as show that.

    Args:
        kind: One that is kept in the database: not a question.
        caller: Who asks.
        beginning: That can be one.
    """
    query = _KEPT[kind].query(caller)
    (column,) = query.selected_columns
    return query.where(column >= beginning, column < after(beginning)).order_by(column).limit(MAX_NAMED + 1)
