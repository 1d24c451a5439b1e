"""Looking at records, following them, and proving again that every chain is whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from protocol.errors import ArgumentError, LedgerError, NotFoundError, OutriderError
from protocol.ledger import GENESIS, decode_record, verify_checkpoint
from protocol.signing import Envelope, PublicKey
from server import clock
from server.core import Core
from server.ledger import SERVER, plain, read_batch
from server.services import agents as agent_service
from server.store.tables import agents, records

_VERIFY_PAGE = 2_000  # records in memory at once while a chain is proved


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
    since: str | None, until: str | None, after_seq: int | None,
) -> Any:  # fmt: skip
    """Return the query for the records that are meant, in the order of their arrival."""
    found = select(records)
    if agent is not None:
        found = found.where(records.c.agent == ledger_of(connection, agent))
    for column, value in ((records.c.kind, kind), (records.c.run, run), (records.c.call, call)):
        found = found if value is None else found.where(column == value)
    if since is not None:
        found = found.where(records.c.time_us >= _moment(since, "since"))
    if until is not None:
        found = found.where(records.c.time_us < _moment(until, "until"))
    return found if after_seq is None else found.where(records.c.sequence > after_seq)


def _moment(text: str, name: str) -> int:
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


def after(connection: Connection, position: int, agent: str | None, count: int) -> list[tuple[int, dict[str, Any]]]:
    """Return records that arrived after ``position``, with their positions."""
    found = select(records).where(records.c.position > position)
    if agent is not None:
        found = found.where(records.c.agent == agent)
    rows = list(connection.execute(found.order_by(records.c.position).limit(count)))
    return list(zip((row.position for row in rows), views(connection, rows), strict=True))


# proving -------------------------------------------------------------------------------------------------------------


def verify(core: Core, connection: Connection, reference: str | None) -> dict[str, Any]:
    """Prove chains again from their stored bytes and signed checkpoints; of one ledger, or of all."""
    if reference is not None:
        wanted = [ledger_of(connection, reference)]
    else:
        wanted = [*connection.execute(select(agents.c.id).order_by(agents.c.name)).scalars(), SERVER]
    told = [_verify_one(core, connection, agent) for agent in wanted]
    return {"ok": all(each["error"] is None for each in told), "agents": told}


def _verify_one(core: Core, connection: Connection, agent: str) -> dict[str, Any]:
    row = None
    if agent == SERVER:
        key, name = core.key.public, SERVER
    else:
        row = connection.execute(select(agents).where(agents.c.id == agent)).one()
        key, name = PublicKey.from_text(row.public_key), row.name
    told: dict[str, Any] = {
        "agent": name,
        "agent_id": agent,
        "records": 0,
        "head": None,
        "checkpoints": 0,
        "error": None,
    }
    hashes: dict[int, bytes] = {}  # of the records since the last checkpoint
    try:
        for record, digest in _chain(connection, agent):
            told["records"], told["head"] = record.sequence, digest.hex()
            hashes[record.sequence] = digest
            if record.kind == "checkpoint":
                _check(record.data.get("envelope"), key, agent, hashes, record.sequence)
                told["checkpoints"] += 1
                hashes = {record.sequence: digest}
        if row is not None and row.last_sequence != told["records"]:
            raise LedgerError(
                f"the ledger ends at {told['records']}, {row.last_sequence} were acknowledged",
                sequence=told["records"] + 1,
            )
    except OutriderError as error:
        told["error"] = error.message
    return told


def _chain(connection: Connection, agent: str) -> Iterator[tuple[Any, bytes]]:
    """Yield each record and its hash, computed from the stored bytes."""
    sequence, previous = 1, GENESIS
    while True:
        query = select(records.c.sequence, records.c.blob, records.c.hash).where(
            records.c.agent == agent, records.c.sequence >= sequence
        )
        rows = connection.execute(query.order_by(records.c.sequence).limit(_VERIFY_PAGE)).all()
        if not rows:
            return
        batch = read_batch([bytes(row.blob) for row in rows], sequence, previous)
        for row, (record, _, digest) in zip(rows, batch, strict=True):
            if bytes(row.hash) != digest:
                raise LedgerError(f"the stored hash of record {row.sequence} is not its own", sequence=row.sequence)
            yield record, digest
            previous = digest
        sequence += len(rows)


def _check(text: Any, key: PublicKey, agent: str, hashes: dict[int, bytes], at: int) -> None:
    if not isinstance(text, str):
        raise LedgerError(f"the checkpoint in record {at} is none", sequence=at)
    sequence, digest = verify_checkpoint(Envelope.from_json(text), key, agent)
    if hashes.get(sequence) != digest:
        raise LedgerError(f"the checkpoint in record {at} is about another chain", sequence=at)
