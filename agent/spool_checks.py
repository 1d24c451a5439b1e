"""What is checked of a spool when it is opened, and of what is read from it: somebody may have changed it.

SQLite keeps whatever it is given in a column, and does what triggers and views say. So the tables must be exactly those
that an agent makes, and each value of its type, before anything is done by it. What is wrong is told as what it is;
nothing is mended here, for what was there before nobody knows.

Who can change the file so that all fits can still have it say less than happened; the server's copy, which must be a
part of it, shows that (:func:`agent.shipping.check_resume`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Final

from agent import limits, rows
from protocol.errors import LedgerError, ProtocolError, UnavailableError
from protocol.ledger import GENESIS, HASH_BYTES, decode_record, record_hash, verify_chain
from protocol.limits import MAX_SEQUENCE

MAX_TIME_US: Final = 253_402_300_799_999_999  # the last moment of the year 9999; datetime knows no later one


def octets(value: object, what: str) -> bytes:
    """Return what was read as bytes; UnavailableError, with ``what`` it should be, if not."""
    if type(value) is not bytes:
        raise changed(f"{what} is no bytes")
    return value


def text(value: object, what: str) -> str:
    """Do as :func:`octets` for a text."""
    if type(value) is not str:
        raise changed(f"{what} is no text")
    return value


def moment(value: object, what: str) -> int:
    """Do as :func:`octets` for a time, in microseconds since 1970."""
    if type(value) is not int or not 0 <= value <= MAX_TIME_US:
        raise changed(f"{what} is no time")
    return value


def counted(value: bytes | None, what: str) -> int:
    """Return a number that is kept as digits; 0 if it was never kept. Raises as :func:`octets`."""
    if value is None:
        return 0
    if not value.isdigit() or not 0 <= (number := int(value[:20])) <= MAX_SEQUENCE:
        raise changed(f"{what} is no number")
    return number


def check_tables(reader: sqlite3.Connection) -> None:
    """Return if the tables are those that an agent makes, and there is nothing beside them that SQLite would obey.

    Raises:
        UnavailableError: Names what is missing or too much.
    """
    found = {sql for (sql,) in reader.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    odd = sorted(map(str, found ^ set(rows.SCHEMA)))
    if odd:
        what = "has what no agent made" if odd[0] in found else "lacks what every agent makes"
        raise changed(f"it {what}: {odd[0]:.80}")


def check_records(reader: sqlite3.Connection, acknowledged: int) -> None:
    """Return if the newest records, and those that the server does not have yet, form a chain that ends in the head.

    Args:
        reader: Of the spool.
        acknowledged: Highest sequence that the server has.

    Raises:
        LedgerError: Names the first record that is not as it was written.
        UnavailableError: What is kept of one cannot be that.
    """
    lowest, highest = reader.execute("SELECT min(sequence), max(sequence) FROM records").fetchone()
    if acknowledged > (highest or 0):
        raise LedgerError(
            f"the spool ends at record {highest or 0}, and the server has acknowledged {acknowledged}: records are"
            " missing",
            sequence=(highest or 0) + 1,
        )
    if highest is None:
        return
    if not 1 <= lowest <= highest <= MAX_SEQUENCE:
        raise changed(f"a record cannot have the number {lowest if lowest < 1 else highest}")
    wanted = min(acknowledged + 1, highest - limits.VERIFY_AT_START_RECORDS + 1)
    first = max(lowest, wanted, highest - limits.VERIFY_AT_START_MOST_RECORDS + 1)
    head = _hash(reader, highest)
    before = GENESIS if first == 1 else _hash(reader, first - 1)
    if before is None:  # given up: the chain can be checked from the oldest one on, which must be what its hash says
        first, before = _beginning(reader, first)
    with closing(_blobs(reader, first)) as blobs:
        _, last = verify_chain(blobs, first, before)
    if last != head:
        raise LedgerError("the spool's newest record is not the one its chain ends in", sequence=highest)


def _beginning(reader: sqlite3.Connection, first: int) -> tuple[int, bytes]:
    """Return where the chain can be checked from, and the hash before that: of the oldest record from ``first`` on."""
    sequence, blob, told = reader.execute(
        "SELECT sequence, blob, hash FROM records WHERE sequence >= ? ORDER BY sequence LIMIT 1", (first,)
    ).fetchone()
    blob = octets(blob, f"record {sequence}")
    try:
        record = decode_record(blob)
    except ProtocolError as error:
        raise LedgerError(f"record {sequence} cannot be read: {error.message}", sequence=sequence) from None
    if record.sequence != sequence or record_hash(blob) != told:
        raise LedgerError(f"record {sequence} is not the one that was written", sequence=sequence)
    return sequence + 1, octets(told, f"the hash of record {sequence}")


def _blobs(reader: sqlite3.Connection, first: int) -> Generator[bytes, None, None]:
    sql = "SELECT sequence, blob FROM records WHERE sequence >= ? ORDER BY sequence"
    with closing(reader.execute(sql, (first,))) as found:
        for sequence, blob in found:
            yield octets(blob, f"record {sequence}")


def _hash(reader: sqlite3.Connection, sequence: int) -> bytes | None:
    row = reader.execute("SELECT hash FROM records WHERE sequence = ?", (sequence,)).fetchone()
    return None if row is None else check_hash(row[0], sequence)


def check_hash(value: object, sequence: int) -> bytes:
    """Return what was read as the hash of a record; raises as :func:`octets`."""
    found = octets(value, f"the hash of record {sequence}")
    if len(found) != HASH_BYTES:
        raise changed(f"the hash of record {sequence} is none")
    return found


def changed(what: str) -> UnavailableError:
    """Return what says that somebody did; ``what`` is wrong."""
    return UnavailableError(f"somebody changed the spool: {what}")
