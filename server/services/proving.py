"""Proving again that every chain of records is whole, from the stored bytes and the signed checkpoints.

- A proof of what came since some moment begins at the last checkpoint before it, which was signed: so what is proved
  hangs on a signature at its beginning, and whatever is stored behind that is held against the bytes that were hashed.
- Where it begins is looked up by the stored times. Whoever can change those can have it begin later only where the
  host's own clock went back past that moment: everything between the checkpoint and the first record is proved as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, type_coerce
from sqlalchemy.types import NullType

from protocol.errors import ArgumentError, LedgerError, OutriderError
from protocol.ledger import GENESIS, decode_record, verify_checkpoint
from protocol.signing import Envelope, PublicKey
from server import clock
from server.core import Core
from server.ledger import SERVER, check_own_end, read_batch, record_row
from server.limits import CHECKPOINT_RECORDS
from server.services.records import ledger_of
from server.store.tables import agents, records

_VERIFY_PAGE = 2_000  # records in memory at once while a chain is proved
#: Without what the driver would make of a value of another type than its column has, which is to fail.
_AS_STORED = [type_coerce(column, NullType()).label(column.name) for column in records.c]
_BEFORE_ALL = -(1 << 63)  # a record of sequence 0 or less would be shown in lists, so it must not be passed over here
Anchor = tuple[int, bytes]
"""The sequence and the hash of a record behind which a proof begins."""


def verify(core: Core, connection: Connection, reference: str | None, since_us: int | None = None) -> dict[str, Any]:
    """Prove chains again from their stored bytes and signed checkpoints; of one ledger, or of all.

    Args:
        core: The server.
        connection: Of the database.
        reference: Whose ledger, as :func:`server.services.records.ledger_of` takes it; None: all.
        since_us: Only from the first record on that is not older, in microseconds since 1970 UTC; None: from the first.

    Raises:
        NotFoundError: There is no such ledger.
        ArgumentError: ``since_us`` is yet to come, so that nothing would be proved.
    """
    if since_us is not None and since_us > clock.now_us():
        raise ArgumentError(f"{clock.text(since_us)} is yet to come: nothing would be proved", parameter="since")
    if reference is not None:
        wanted = [ledger_of(connection, reference)]
    else:
        wanted = [*connection.execute(select(agents.c.id).order_by(agents.c.name)).scalars(), SERVER]
        # A ledger of nobody is shown in lists like any other, so it must not pass here.
        strange = select(records.c.agent).distinct().where(records.c.agent.not_in([*wanted, SERVER]))
        wanted += connection.execute(strange).scalars()
    told = [_verify_one(core, connection, agent, since_us) for agent in wanted]
    return {"ok": all(each["error"] is None for each in told), "since": clock.text(since_us), "agents": told}


def _verify_one(core: Core, connection: Connection, agent: str, since_us: int | None) -> dict[str, Any]:
    row = connection.execute(select(agents).where(agents.c.id == agent)).first()
    told: dict[str, Any] = {
        "agent": agent if row is None else row.name, "agent_id": agent, "first": None, "records": 0, "head": None,
        "checkpoints": 0, "error": None,
    }  # fmt: skip
    try:
        if agent == SERVER:
            sequence, digest = _prove(connection, agent, core.key.public, since_us, told)
            check_own_end(connection, sequence, digest)
        elif row is None:
            raise LedgerError("there are records, but no such agent was ever enrolled", sequence=1)
        else:
            key = PublicKey.from_text(row.public_key, where="the agent's key")
            _check_end(row, *_prove(connection, agent, key, since_us, told))
    except OutriderError as error:
        told["error"] = str(error)
    return told


def _prove(connection: Connection, agent: str, key: PublicKey, since_us: int | None, told: dict[str, Any]) -> Anchor:
    """Go through one chain, counting in ``told`` what is not older than ``since_us``; return where it ends."""
    first = 1 if since_us is None else _first_since(connection, agent, since_us)
    end = (0, GENESIS) if since_us is None else _signed_before(connection, agent, key, first)
    hashes = {end[0]: end[1]} if end[0] else {}  # of the records since the last checkpoint
    signed = end[0]  # up to where a checkpoint was seen
    told["head"] = end[1].hex() if end[0] else None
    for record, digest in _chain(connection, agent, end):
        end = record.sequence, digest
        is_counted = first is not None and record.sequence >= first
        if is_counted:
            told["first"] = told["first"] or record.sequence
            told["records"] += 1
        told["head"] = digest.hex()
        hashes[record.sequence] = digest
        if record.kind == "checkpoint":
            _check(record.data.get("envelope"), key, agent, hashes, record.sequence)
            told["checkpoints"] += is_counted
            signed, hashes = record.sequence, {record.sequence: digest}
        elif agent == SERVER and record.sequence - signed > CHECKPOINT_RECORDS:
            # Else somebody without the key could write the whole chain anew and just leave the checkpoints out.
            raise LedgerError(f"there is no checkpoint at record {record.sequence}", sequence=record.sequence)
    return end


def _first_since(connection: Connection, agent: str, since_us: int) -> int | None:
    """Return the first record that is not older, by what is stored to search by; None if all are."""
    query = select(type_coerce(func.min(records.c.sequence), NullType()))
    found: Any = connection.execute(query.where(records.c.agent == agent, records.c.time_us >= since_us)).scalar()
    if found is not None and type(found) is not int:  # SQLite keeps whatever somebody writes into a column
        raise LedgerError("what is stored in the place of a record has no number", sequence=1)
    return None if found is None else int(found)


def _signed_before(connection: Connection, agent: str, key: PublicKey, first: int | None) -> Anchor:
    """Return what the last checkpoint before ``first`` signed, None being the end; the beginning if there is none.

    That the checkpoint itself is a record of the chain is proved as the chain is gone through.
    """
    query = select(*_AS_STORED).where(records.c.agent == agent, records.c.kind == "checkpoint")
    if first is not None:
        query = query.where(records.c.sequence < first)
    row = connection.execute(query.order_by(records.c.sequence.desc()).limit(1)).first()
    if row is None:
        return 0, GENESIS
    (blob,) = _blobs([row], row.sequence)
    try:
        record = decode_record(blob)
    except OutriderError as error:
        raise LedgerError(f"record {row.sequence} cannot be read: {error.message}", sequence=row.sequence) from None
    sequence, digest = _signed(record.data.get("envelope"), key, agent, row.sequence)
    if not 0 < sequence < row.sequence:
        raise LedgerError(f"the checkpoint in record {row.sequence} is about another chain", sequence=row.sequence)
    return sequence, digest


def _check_end(row: Row[Any], sequence: int, digest: bytes) -> None:
    if row.last_sequence != sequence:
        raise LedgerError(
            f"the ledger ends at {sequence}, {row.last_sequence} were acknowledged", sequence=sequence + 1
        )
    if sequence and bytes(row.last_hash) != digest:
        raise LedgerError(f"record {sequence} is not the one that was acknowledged", sequence=sequence)


def _chain(connection: Connection, agent: str, after: Anchor) -> Iterator[tuple[Any, bytes]]:
    """Yield each record after one and its hash, from the stored bytes; all else stored must follow from them."""
    sequence, previous = after[0] + 1, after[1]
    place = after[0] or _BEFORE_ALL
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
    sequence, digest = _signed(text, key, agent, at)
    if hashes.get(sequence) != digest:
        raise LedgerError(f"the checkpoint in record {at} is about another chain", sequence=at)


def _signed(text: Any, key: PublicKey, agent: str, at: int) -> Anchor:
    """Return what a checkpoint signs, in the record ``at``; LedgerError if it proves nothing."""
    if not isinstance(text, str):
        raise LedgerError(f"the checkpoint in record {at} is none", sequence=at)
    try:
        return verify_checkpoint(Envelope.from_json(text), key, agent)
    except OutriderError as error:
        raise LedgerError(f"the checkpoint in record {at} proves nothing: {error.message}", sequence=at) from None
