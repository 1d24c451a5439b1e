"""The tables of the spool and every statement that changes them.

A change of state that must be durable together with a record (a fire time is taken, a run is open, an order's nonce is
used) is a :class:`Statement` in the same :class:`Write` as that record, so that one commit makes both true or neither.
Nothing here does I/O, and no other module of the agent spells SQL that writes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from agent import limits

FORMAT: Final = 1  # PRAGMA user_version of the tables below

SCHEMA: Final = (
    "CREATE TABLE records"
    " (sequence INTEGER PRIMARY KEY, blob BLOB NOT NULL, hash BLOB NOT NULL, time_us INTEGER NOT NULL)",
    "CREATE TABLE runs (run TEXT PRIMARY KEY, about BLOB NOT NULL, started_us INTEGER NOT NULL, ended_us INTEGER)"
    " WITHOUT ROWID",
    "CREATE INDEX open_runs ON runs (started_us) WHERE ended_us IS NULL",
    "CREATE TABLE fires (schedule TEXT NOT NULL, fire_us INTEGER NOT NULL, state TEXT NOT NULL,"
    " PRIMARY KEY (schedule, fire_us)) WITHOUT ROWID",
    "CREATE TABLE schedules (id TEXT PRIMARY KEY, body BLOB NOT NULL, decided_us INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE nonces (nonce TEXT PRIMARY KEY, expires_us INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)

# Many rows in one statement: between two statements Python's lock changes hands, which costs more than the rows.
INSERT_CHUNKS: Final = (128, 16, 4, 1)


def insert_records(rows: int) -> str:
    """Return the statement that inserts ``rows`` records at once."""
    places = ", ".join(["(?, ?, ?, ?)"] * rows)
    return f"INSERT INTO records (sequence, blob, hash, time_us) VALUES {places}"  # noqa: S608 - only question marks


INSERT_RECORDS: Final = {rows: insert_records(rows) for rows in INSERT_CHUNKS}

Value = int | str | bytes | None


class FireState(StrEnum):
    """What was decided about one fire time of one schedule."""

    STARTED = "started"  # its run.start is in the same commit
    QUEUED = "queued"  # waits behind a run of the same schedule; not started yet
    SKIPPED = "skipped"  # will never run; the record says why


class Stored(NamedTuple):
    """One record as it is kept: the exact bytes that the hash covers."""

    sequence: int
    blob: bytes
    hash: bytes
    time_us: int


class Statement(NamedTuple):
    """One change of a table that travels in the same commit as the records beside it."""

    sql: str
    values: tuple[Value, ...]


class Write(NamedTuple):
    """What becomes durable together or not at all."""

    records: tuple[Stored, ...] = ()
    statements: tuple[Statement, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of the records in it; what the bound on pending bytes counts."""
        if len(self.records) == 1:
            return len(self.records[0].blob)
        return sum([len(stored.blob) for stored in self.records])


def open_run(run: str, about: bytes, started_us: int) -> Statement:
    """A run is under way; ``about`` is what its end must repeat if the agent dies. A second one of that id fails."""
    return Statement("INSERT INTO runs (run, about, started_us) VALUES (?, ?, ?)", (run, about, started_us))


def close_run(run: str, ended_us: int) -> Statement:
    """The run has ended, its ``run.end`` is in the same commit."""
    return Statement("UPDATE runs SET ended_us = ? WHERE run = ?", (ended_us, run))


def mark_fire(schedule: str, fire_us: int, state: FireState) -> Statement:
    """Take a fire time that nobody has decided about. A second mark of the same time fails the commit."""
    return Statement("INSERT INTO fires (schedule, fire_us, state) VALUES (?, ?, ?)", (schedule, fire_us, state.value))


def settle_fire(schedule: str, fire_us: int, state: FireState) -> Statement:
    """Move a queued fire time on to its final state; one that has its final state keeps it."""
    return Statement(
        "INSERT INTO fires (schedule, fire_us, state) VALUES (?, ?, ?)"
        " ON CONFLICT (schedule, fire_us) DO UPDATE SET state = excluded.state WHERE state = 'queued'",
        (schedule, fire_us, state.value),
    )


def put_schedule(schedule: str, body: bytes, decided_us: int) -> Statement:
    """Keep a schedule; a known one keeps the time up to which its fire times are decided."""
    return Statement(
        "INSERT INTO schedules (id, body, decided_us) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (schedule, body, decided_us),
    )


def drop_schedule(schedule: str) -> Statement:
    """Forget a schedule, but none of its decided fire times: the id may come back."""
    return Statement("DELETE FROM schedules WHERE id = ?", (schedule,))


def advance_schedule(schedule: str, decided_us: int) -> Statement:
    """All fire times of the schedule up to ``decided_us`` are decided."""
    return Statement("UPDATE schedules SET decided_us = ? WHERE id = ?", (decided_us, schedule))


def use_nonce(nonce: str, expires_us: int) -> Statement:
    """An order is used up. A second use fails the commit."""
    return Statement("INSERT INTO nonces (nonce, expires_us) VALUES (?, ?)", (nonce, expires_us))


def set_meta(key: str, value: bytes) -> Statement:
    """Keep one value under a name of the agent's own."""
    return Statement("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def trim_records(through: int, before_us: int, at_most: int) -> Statement:
    """Delete the oldest acknowledged records, never the one that the server named last: its hash proves the chain.

    Args:
        through: Highest acknowledged sequence; it stays itself.
        before_us: Only records older than this, microseconds since 1970.
        at_most: Rows of one transaction.
    """
    return Statement(
        "DELETE FROM records WHERE sequence IN"
        " (SELECT sequence FROM records WHERE sequence < ? AND time_us < ? ORDER BY sequence LIMIT ?)",
        (through, before_us, at_most),
    )


_FORGET_NONCES: Final = (
    "DELETE FROM nonces WHERE (SELECT count(*) FROM nonces) > ?"  # constant: where it is false, nothing is sorted
    " AND expires_us < min(?, (SELECT expires_us FROM nonces ORDER BY expires_us DESC LIMIT 1 OFFSET ? - 1))"
)


def forget(marks_before_us: int, runs_before_us: int) -> tuple[Statement, ...]:
    """Drop what is too old to matter: decided fire times, ended runs, and nonces that expired as long ago as the marks.

    A nonce outlives its order by that much, and the newest ``limits.MAX_OLD_NONCES`` are kept whatever the clock says,
    so that one that was wrong for however long does not make an order good twice.
    """
    return (
        Statement("DELETE FROM fires WHERE fire_us < ? AND state <> 'queued'", (marks_before_us,)),
        Statement("DELETE FROM runs WHERE ended_us < ?", (runs_before_us,)),
        Statement(_FORGET_NONCES, (limits.MAX_OLD_NONCES, marks_before_us, limits.MAX_OLD_NONCES)),
    )
