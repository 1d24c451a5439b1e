"""Looking at records, and following them; what proves them is :mod:`server.services.proving`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, LargeBinary, Row, bindparam, func, select

from protocol.errors import ArgumentError, NotFoundError
from protocol.ledger import decode_record
from server import clock
from server.ledger import SERVER, plain
from server.services import agents as agent_service
from server.store.tables import agents, records


def view(row: Row[Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a record as the API shows it: what its bytes say, and their hash."""
    record = decode_record(bytes(row.blob))
    return {
        "agent": names.get(row.agent, row.agent), "agent_id": row.agent, "sequence": record.sequence,
        "hash": bytes(row.hash).hex(), "previous": record.previous.hex(), "time": clock.text(record.time_us),
        "time_us": record.time_us, "mono_us": record.mono_us, "session": record.session, "run": record.run,
        "principal": record.principal, "kind": record.kind, "call": record.call, "arguments": plain(record.arguments),
        "verdict": record.verdict, "rule": record.rule, "outcome": record.outcome, "duration_us": record.duration_us,
        "bytes": record.bytes, "data": plain(record.data),
    }  # fmt: skip


def views(connection: Connection, rows: list[Row[Any]]) -> list[dict[str, Any]]:
    """Return records as the API shows them, with the names of their agents."""
    names = agent_service.names(connection, {row.agent for row in rows})
    return [view(row, names) for row in rows]


def ledger_of(connection: Connection, reference: str) -> str:
    """Return whose ledger is meant: ``server``, or an agent's id, name, or the id of one that was removed.

    Raises:
        NotFoundError: There is none.
    """
    if reference == SERVER:
        return SERVER
    removed = connection.execute(select(agents.c.id).where(agents.c.id == reference)).scalar()
    return str(removed) if removed is not None else str(agent_service.find(connection, reference).id)


def query(
    connection: Connection, *, agent: str | None, kind: str | None, run: str | None, call: str | None,
    since: str | None, until: str | None, after_seq: int | None, principal: str | None = None,
) -> Any:  # fmt: skip
    """Return the query for the records that are meant, in the order of their arrival.

    Args:
        connection: Of the database.
        agent: Whose ledger.
        kind: Exactly.
        run: Exactly.
        call: Exactly, or with ``*`` for any characters: ``fs.*``.
        since: RFC 3339.
        until: RFC 3339; before it.
        after_seq: Of one ledger.
        principal: Who it was done for, exactly. It stands in the record alone, so those that hold the name are read.
    """
    found = select(records)
    if agent is not None:
        found = found.where(records.c.agent == ledger_of(connection, agent))
    for column, value in ((records.c.kind, kind), (records.c.run, run)):
        found = found if value is None else found.where(column == value)
    if call is not None:
        found = found.where(records.c.call.op("GLOB")(_glob(call)) if "*" in call else records.c.call == call)
    if principal is not None:
        holds_it = func.instr(records.c.blob, bindparam("name", principal.encode(), LargeBinary)) > 0
        found = found.where(holds_it, func.principal_of(records.c.blob) == principal)
    if since is not None:
        found = found.where(records.c.time_us >= moment_us(since, "since"))
    if until is not None:
        found = found.where(records.c.time_us < moment_us(until, "until"))
    return found if after_seq is None else found.where(records.c.sequence > after_seq)


def _glob(pattern: str) -> str:
    """Return a pattern with nothing but ``*`` in it as SQLite's GLOB has it."""
    return "".join(f"[{character}]" if character in "[?" else character for character in pattern)


def moment_us(text: str, name: str) -> int:
    """Return a moment in RFC 3339 in microseconds since 1970 UTC.

    Raises:
        ArgumentError: It is none; names the parameter ``name``.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ArgumentError(f"{text[:40]!r} is not a moment in RFC 3339 (2026-01-31T12:00:00Z)", parameter=name)
    return int(moment.timestamp() * 1_000_000)


def find(connection: Connection, reference: str, sequence: int) -> dict[str, Any]:
    """Return one record.

    Raises:
        NotFoundError: It is not here.
    """
    agent = ledger_of(connection, reference)
    row = connection.execute(select(records).where(records.c.agent == agent, records.c.sequence == sequence)).first()
    if row is None:
        raise NotFoundError(f"the ledger of {reference} has no record {sequence} here")
    return views(connection, [row])[0]


def newest_position(connection: Connection) -> int:
    """Return where a follower that wants only what comes next begins."""
    return int(
        connection.execute(select(records.c.position).order_by(records.c.position.desc()).limit(1)).scalar() or 0
    )


def beginning_of(connection: Connection, agent: str, session: str) -> int:
    """Return the position before the record that opened a session; that of the newest record if it did not come yet."""
    opened = select(records.c.position, records.c.blob).where(
        records.c.kind == "session.open", records.c.agent == agent
    )
    named = session.encode()
    for row in connection.execute(opened.order_by(records.c.position.desc())):
        # All sessions of the agent since then are passed over: to read their records would take five times as long.
        if named in row.blob and decode_record(bytes(row.blob)).session == session:
            return int(row.position) - 1
    return newest_position(connection)


def after(connection: Connection, position: int, agent: str | None, count: int) -> list[tuple[int, dict[str, Any]]]:
    """Return records that arrived after ``position``, with their positions."""
    found = select(records).where(records.c.position > position)
    if agent is not None:
        found = found.where(records.c.agent == agent)
    rows = list(connection.execute(found.order_by(records.c.position).limit(count)))
    return list(zip((row.position for row in rows), views(connection, rows), strict=True))
