"""Trials: dry runs of a version under review on hosts whose owners let reviewers do that.

The server only passes a trial on, for a reviewer who signed its order; whether a host runs it is decided there
(:mod:`protocol.trials`). Each is kept with its review, whatever came of it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select

from protocol.errors import ArgumentError, ConflictError
from protocol.signing import Envelope, peek
from protocol.trials import prove_triable
from server import clock
from server.access import Caller
from server.core import Core
from server.services import runs
from server.services import scripts as script_service
from server.services.review_rows import find_for
from server.services.runs import Note
from server.services.visibility import Viewer
from server.store.tables import agents, scripts, trials
from server.store.tables import runs as run_table

MAX_TRIALS: Final = 1_000  # runs of one review; chosen without measurement


async def start(core: Core, identity: str, asked: dict[str, Any], caller: Caller, note: Note) -> dict[str, Any]:
    """Run the version of a review dry on all hosts that are meant; as :func:`server.services.runs.start`.

    Raises:
        ArgumentError: The order is not one for a dry run of this version.
        ConflictError: The review was rejected, or has very many trials.
        TrustError: The version was withdrawn, or nothing proves its author any more.
        OutriderError: As of runs.
    """
    order = Envelope.from_json(asked["order"])

    def version(connection: Connection) -> Any:
        review = find_for(connection, identity, Viewer.of(caller))
        row = script_service.by_digest(connection, review.digest)
        _check_order(order, row.digest)
        if review.state == "rejected":
            raise ConflictError(f"review {identity} was rejected; publish a new version")
        _check_triable(core, connection, row)
        held = connection.execute(select(func.count()).where(trials.c.review == identity)).scalar() or 0
        if held >= MAX_TRIALS:
            raise ConflictError(f"review {identity} has {held} trials already")
        return row

    def noted(connection: Connection, begun: list[str]) -> None:
        connection.execute(insert(trials), [{"run": run, "review": identity} for run in begun])
        core.ledger.append(
            connection, call="review.try", principal=caller.principal,
            arguments={
                "review": identity, "target": asked["target"], "runs": len(begun), "first": begun[0],
                "reason": asked["reason"],
            },
        )  # fmt: skip
        note(connection, begun)

    return await runs.start(core, asked | {"dry_run": True}, caller, noted, version)


def _check_order(order: Envelope, digest: str) -> None:
    """Return if an order is what it should be; hosts prove it, here a mistake is only told early."""
    said = peek(order)
    if said.get("dry_run") is not True or said.get("digest") != digest:
        raise ArgumentError(f"the order must be signed for a dry run of {digest}", parameter="order")


def _check_triable(core: Core, connection: Connection, row: Row[Any]) -> None:
    """Return if a host could take it; TrustError says why none would."""
    _, taken = script_service.statements(connection, row.digest)
    prove_triable(row.digest, Envelope.from_json(row.publication), taken, core.roster, clock.now())


def events(connection: Connection, is_of: ColumnElement[bool], most: int) -> list[Row[Any]]:
    """Return the newest trials of what ``is_of`` says of the table of scripts, newest first."""
    query = (
        select(run_table, scripts.c.version.label("of_version"), agents.c.name.label("host"))
        .join(trials, trials.c.run == run_table.c.id)
        .join(scripts, scripts.c.digest == run_table.c.digest)
        .join(agents, agents.c.id == run_table.c.agent)
        .where(is_of)
        .order_by(run_table.c.position.desc())
        .limit(most)
    )
    return list(connection.execute(query))
