"""Looking at records, following them, and proving again that every chain is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, LargeBinary, Row, bindparam, func, select, type_coerce
from sqlalchemy.types import NullType

from protocol.errors import ArgumentError, LedgerError, NotFoundError, OutriderError
from protocol.ledger import GENESIS, decode_record, verify_checkpoint
from protocol.signing import Envelope, PublicKey
from server import clock
from server.core import Core
from server.ledger import SERVER, check_own_end, plain, read_batch, record_row
from server.limits import CHECKPOINT_RECORDS
from server.services import agents as agent_service
from server.store.tables import agents, records

_VERIFY_PAGE = 2_000  # records in memory at once while a chain is proved
#: Without what the driver would make of a value of another type than its column has, which is to fail.
_AS_STORED = [type_coerce(column, NullType()).label(column.name) for column in records.c]
_BEFORE_ALL = -(1 << 63)  # a record of sequence 0 or less would be shown in lists, so it must not be passed over here


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
        found = found.where(records.c.time_us >= _moment(since, "since"))
    if until is not None:
        found = found.where(records.c.time_us < _moment(until, "until"))
    return found if after_seq is None else found.where(records.c.sequence > after_seq)


def _glob(pattern: str) -> str:
    """Return a pattern with nothing but ``*`` in it as SQLite's GLOB has it."""
    return "".join(f"[{character}]" if character in "[?" else character for character in pattern)


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


# proving -------------------------------------------------------------------------------------------------------------


def verify(core: Core, connection: Connection, reference: str | None) -> dict[str, Any]:
    """Prove chains again from their stored bytes and signed checkpoints; of one ledger, or of all."""
    if reference is not None:
        wanted = [ledger_of(connection, reference)]
    else:
        wanted = [*connection.execute(select(agents.c.id).order_by(agents.c.name)).scalars(), SERVER]
        # A ledger of nobody is shown in lists like any other, so it must not pass here.
        strange = select(records.c.agent).distinct().where(records.c.agent.not_in([*wanted, SERVER]))
        wanted += connection.execute(strange).scalars()
    told = [_verify_one(core, connection, agent) for agent in wanted]
    return {"ok": all(each["error"] is None for each in told), "agents": told}


def _verify_one(core: Core, connection: Connection, agent: str) -> dict[str, Any]:
    row = connection.execute(select(agents).where(agents.c.id == agent)).first()
    told: dict[str, Any] = {
        "agent": agent if row is None else row.name, "agent_id": agent, "records": 0, "head": None, "checkpoints": 0,
        "error": None,
    }  # fmt: skip
    try:
        if agent == SERVER:
            sequence, digest = _prove(connection, agent, core.key.public, told)
            check_own_end(connection, sequence, digest)
        elif row is None:
            raise LedgerError("there are records, but no such agent was ever enrolled", sequence=1)
        else:
            end = _prove(connection, agent, PublicKey.from_text(row.public_key, where="the agent's key"), told)
            _check_end(row, *end)
    except OutriderError as error:
        told["error"] = str(error)
    return told


def _prove(connection: Connection, agent: str, key: PublicKey, told: dict[str, Any]) -> tuple[int, bytes]:
    """Go through one chain, counting in ``told``; return where it ends."""
    hashes: dict[int, bytes] = {}  # of the records since the last checkpoint
    signed, digest = 0, GENESIS  # up to where a checkpoint was seen
    for record, digest in _chain(connection, agent):
        told["records"], told["head"] = record.sequence, digest.hex()
        hashes[record.sequence] = digest
        if record.kind == "checkpoint":
            _check(record.data.get("envelope"), key, agent, hashes, record.sequence)
            told["checkpoints"] += 1
            signed, hashes = record.sequence, {record.sequence: digest}
        elif agent == SERVER and record.sequence - signed > CHECKPOINT_RECORDS:
            # Else somebody without the key could write the whole chain anew and just leave the checkpoints out.
            raise LedgerError(f"there is no checkpoint at record {record.sequence}", sequence=record.sequence)
    return told["records"], digest


def _check_end(row: Row[Any], sequence: int, digest: bytes) -> None:
    if row.last_sequence != sequence:
        raise LedgerError(
            f"the ledger ends at {sequence}, {row.last_sequence} were acknowledged", sequence=sequence + 1
        )
    if sequence and bytes(row.last_hash) != digest:
        raise LedgerError(f"record {sequence} is not the one that was acknowledged", sequence=sequence)


def _chain(connection: Connection, agent: str) -> Iterator[tuple[Any, bytes]]:
    """Yield each record and its hash, computed from the stored bytes; all else that is stored must follow from them."""
    sequence, previous = 1, GENESIS
    place = _BEFORE_ALL
    while True:
        query = select(*_AS_STORED).where(records.c.agent == agent, records.c.sequence > place)
        rows = connection.execute(query.order_by(records.c.sequence).limit(_VERIFY_PAGE)).all()
        if not rows:
            return
        batch = read_batch(list(_blobs(rows, sequence)), sequence, previous)
        for row, (record, blob, digest) in zip(rows, batch, strict=True):
            for name, value in record_row(agent, record, blob, digest).items():
                if row._mapping[name] != value:  # by which a record is found, or not found any more
                    raise LedgerError(
                        f"the stored {name} of record {record.sequence} is not its own", sequence=record.sequence
                    )
            yield record, digest
            previous = digest
        sequence, place = sequence + len(rows), rows[-1].sequence


def _blobs(rows: Sequence[Any], first: int) -> Iterator[bytes]:
    """Yield the stored bytes. SQLite keeps whatever somebody writes into a column, of any type."""
    for at, row in enumerate(rows, first):
        if not isinstance(row.blob, bytes):
            raise LedgerError(f"what is stored in the place of record {at} is not bytes", sequence=at)
        yield row.blob


def _check(text: Any, key: PublicKey, agent: str, hashes: dict[int, bytes], at: int) -> None:
    if not isinstance(text, str):
        raise LedgerError(f"the checkpoint in record {at} is none", sequence=at)
    try:
        sequence, digest = verify_checkpoint(Envelope.from_json(text), key, agent)
    except OutriderError as error:
        raise LedgerError(f"the checkpoint in record {at} proves nothing: {error.message}", sequence=at) from None
    if hashes.get(sequence) != digest:
        raise LedgerError(f"the checkpoint in record {at} is about another chain", sequence=at)
