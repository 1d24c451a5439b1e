"""The end of a run that did not begin, as the server writes it down; what began, its agent's records tell of."""

from __future__ import annotations

from sqlalchemy import Connection, update

from server import clock, limits
from server.store.tables import runs


def not_begun(connection: Connection, run: str, status: str, reason: str, code: str | None) -> None:
    """Give a run its end, unless it has begun or ended already.

    Args:
        connection: In a command of the writer.
        run: Its id.
        status: ``refused`` or ``killed``; ``lost`` if it may have begun: then records that come later count.
        reason: For people.
        code: Of the error that kept it from beginning; None if somebody cancelled it.
    """
    connection.execute(
        update(runs)
        .where(runs.c.id == run, runs.c.started_us.is_(None), runs.c.finished_us.is_(None))
        .values(
            status=status, reason=reason[: limits.MAX_RESULT_TEXT], finished_us=clock.now_us(), ending={"code": code},
            waits_until_us=None,
        )
    )  # fmt: skip
