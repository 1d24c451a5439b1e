"""The agent's durable store: records not yet acknowledged, open runs, decided fire times, schedules.

- What is durable here survives kill -9 and power loss (SQLite, write-ahead log, ``synchronous=FULL``).
- One thread writes (:mod:`agent.writer`); reads come from the event loop's thread on a second connection that can not
  write and never checkpoints, which also keeps clear of the WAL-reset race of SQLite before 3.51.3.
- The file has a bound (``max_bytes``), so that the agent never fills a host's disk. At the bound acknowledged records
  are given up early, and if that is not enough, writing fails, and with it every effect.
- What the disk holds is checked at the start and when it is read (:mod:`agent.spool_checks`): the tables, the types,
  and that the newest records, and those that the server does not have yet, form a chain.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from agent import limits, rows
from agent.files import synchronise_directory
from agent.rows import FireState, Write
from agent.spool_checks import check_hash, check_records, check_tables, counted, moment, octets, text
from agent.writer import Writer
from protocol.errors import LedgerError, OutriderError, UnavailableError
from protocol.ledger import GENESIS

_PAGE_BYTES = 4096


class Head(NamedTuple):
    """Where a chain stands."""

    sequence: int  # of the newest record; 0 while there is none
    hash: bytes  # of the newest record; the genesis value while there is none


class OpenRun(NamedTuple):
    """A run without an end on disk."""

    run: str
    about: bytes
    started_us: int


Listener = Callable[[int, bool], None]


class KeptSchedule(NamedTuple):
    """A schedule as it is kept."""

    id: str
    body: bytes
    decided_us: int


class Spool:
    """One open spool. Use :meth:`open`; everything but the writer's callbacks runs in the opener's thread.

    Args:
        reader: Connection for reading.
        writer: Started writer.
        head: Newest record on disk.
    """

    def __init__(self, reader: sqlite3.Connection, writer: Writer, head: Head, listeners: list[Listener]):
        self._reader = reader
        self._writer = writer
        self._listeners = listeners
        self.head = head  # as found at the start; the recorder goes on from it

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        max_bytes: int = limits.DEFAULT_SPOOL_MAX_BYTES,
        on_broken: Callable[[Exception], None],
        retry_s: float = limits.SPOOL_RETRY_S,
    ) -> Spool:
        """Open or create the spool at ``path``, readable by its owner only.

        Args:
            path: The database file.
            max_bytes: Bound of the database file, in bytes.
            on_broken: Called in the writer's thread when the spool must not be used any more.
            retry_s: Seconds between two attempts after the disk refused.

        Raises:
            UnavailableError: It cannot be opened or written, or is of a newer version.
            LedgerError: What it holds is not a chain.
        """
        try:
            connection = _open_for_writing(path, max_bytes)
            reader = _open_for_reading(path)
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # the last, of what a damaged schema is told with
            raise UnavailableError(f"the spool {path} cannot be opened: {error}") from error
        try:
            check_tables(reader)
            acknowledged = counted(_meta(reader, "acknowledged"), "what the server has acknowledged")
            check_records(reader, acknowledged)
            head = _head(reader)
        except (OutriderError, sqlite3.Error, UnicodeDecodeError) as error:
            reader.close()
            connection.close()
            if isinstance(error, OutriderError):
                raise
            raise UnavailableError(f"the spool {path} cannot be read: {error}") from error
        listeners: list[Listener] = []

        def tell(sequence: int, is_awaited_afar: bool) -> None:
            for listener in listeners:
                listener(sequence, is_awaited_afar)

        writer = Writer(connection, acknowledged=acknowledged, on_durable=tell, on_broken=on_broken, retry_s=retry_s)
        return cls(reader, writer, head, listeners)

    def close(self) -> None:
        """Write what is pending and close. The reader goes first, so that the writer's connection checkpoints alone."""
        self._reader.close()
        self._writer.close()

    # writing -----------------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why nothing can be written at present; None while all is well."""
        if self._writer.broken is not None:
            return repr(self._writer.broken)
        return self._writer.problem

    @property
    def has_room(self) -> bool:
        """Whether the disk takes records, and one of the largest size can be queued now."""
        return self._writer.has_room

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` in the writer's thread after each commit with records; see :class:`agent.writer.Writer`."""
        self._listeners.append(listener)

    def submit(self, write: Write, *, is_urgent: bool = False) -> None:
        """Queue a write; see :meth:`agent.writer.Writer.submit`."""
        self._writer.submit(write, is_urgent=is_urgent)

    def submit_waited(self, write: Write) -> Future[None]:
        """Queue a write and return what tells that it is durable; see :meth:`agent.writer.Writer.submit_waited`."""
        return self._writer.submit_waited(write)

    def acknowledge(self, through: int) -> None:
        """The server holds all records up to ``through`` durably."""
        self._writer.acknowledge(through)

    @property
    def acknowledged(self) -> int:
        """Highest sequence that the server has acknowledged; 0 before the first."""
        return self._writer.acknowledged

    # reading -----------------------------------------------------------------------------------------------------

    def read(self, after: int, max_records: int, max_bytes: int) -> list[bytes]:
        """Return records after sequence ``after`` in order: at least one if there is one, within both bounds else.
        After 0 come the oldest that are still here.

        Raises:
            LedgerError: The next one is not there, or is none. What is missing is never passed over.
        """
        cursor = self._reader.execute(
            "SELECT sequence, blob FROM records WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, max_records)
        )
        found: list[bytes] = []
        size, following = 0, after
        with closing(cursor):
            for sequence, blob in cursor:
                following = following + 1 if following else sequence
                if sequence != following or type(blob) is not bytes:
                    raise LedgerError(f"record {following} is missing in the spool, or is none", sequence=following)
                size += len(blob)
                if found and size > max_bytes:
                    break
                found.append(blob)
        return found

    def hash_of(self, sequence: int) -> bytes | None:
        """Return the hash of record ``sequence``, of the genesis for 0, None if it is not (or no longer) here."""
        if sequence == 0:
            return GENESIS
        row = self._reader.execute("SELECT hash FROM records WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else check_hash(row[0], sequence)

    def durable(self) -> Head:
        """Return the newest record on disk now."""
        return _head(self._reader)

    def meta(self, key: str) -> bytes | None:
        """Return what :func:`agent.rows.set_meta` kept under ``key``."""
        return _meta(self._reader, key)

    def open_runs(self) -> list[OpenRun]:
        """Return the runs that have no end on disk, oldest first.

        Raises:
            UnavailableError: What is kept of one cannot be that; so with what else is read here.
        """
        sql = "SELECT run, about, started_us FROM runs WHERE ended_us IS NULL ORDER BY started_us, run"
        return [
            OpenRun(text(run, "a run"), octets(about, f"run {run!r:.60}"), moment(started_us, "its start"))
            for run, about, started_us in self._reader.execute(sql)
        ]

    def knows_run(self, run: str) -> bool:
        """Has a run of this id been started here, ended or not?"""
        return self._reader.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone() is not None

    def knows_nonce(self, nonce: str) -> bool:
        """Has an order with this nonce been used here?"""
        return self._reader.execute("SELECT 1 FROM nonces WHERE nonce = ?", (nonce,)).fetchone() is not None

    def schedules(self) -> list[KeptSchedule]:
        """Return all schedules by id."""
        return [
            KeptSchedule(
                text(schedule, "a schedule"), octets(body, f"schedule {schedule!r:.60}"),
                moment(decided_us, f"up to when schedule {schedule!r:.60} is decided"),
            )
            for schedule, body, decided_us in self._reader.execute("SELECT id, body, decided_us FROM schedules")
        ]  # fmt: skip

    def is_decided(self, schedule: str, fire_us: int) -> bool:
        """Has it been decided what becomes of this fire time?"""
        sql = "SELECT 1 FROM fires WHERE schedule = ? AND fire_us = ?"
        return self._reader.execute(sql, (schedule, fire_us)).fetchone() is not None

    def queued_fires(self) -> list[tuple[str, int]]:
        """Return (schedule, fire time in microseconds) of what was queued and never started, oldest first."""
        sql = "SELECT schedule, fire_us FROM fires WHERE state = ? ORDER BY fire_us, schedule"
        return [
            (text(schedule, "a schedule"), moment(fire_us, f"a fire time of schedule {schedule!r:.60}"))
            for schedule, fire_us in self._reader.execute(sql, (FireState.QUEUED.value,))
        ]


def _open_for_writing(path: Path, max_bytes: int) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        _prepare(connection, max_bytes)
    except BaseException:
        connection.close()
        raise
    synchronise_directory(path.parent)
    return connection


def _prepare(connection: sqlite3.Connection, max_bytes: int) -> None:
    connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={64 * limits.MIB}")
    connection.execute(f"PRAGMA max_page_count={max(64, max_bytes // _PAGE_BYTES)}")
    connection.execute("PRAGMA cache_size=-1024")  # KiB; the default of 2 MiB would only hold what is not read again
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > rows.FORMAT:
        raise UnavailableError(
            f"the spool is of format {found}, this agent knows up to {rows.FORMAT}: update the agent"
        )
    connection.execute("BEGIN IMMEDIATE")  # also proves that it can be written at all
    if found == 0:
        for statement in rows.SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={rows.FORMAT}")
    connection.execute("COMMIT")


def _open_for_reading(path: Path) -> sqlite3.Connection:
    reader = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    reader.execute("PRAGMA query_only=1")
    reader.execute("PRAGMA cache_size=-512")
    return reader


def _meta(reader: sqlite3.Connection, key: str) -> bytes | None:
    row = reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else octets(row[0], f"what is kept as {key}")


def _head(reader: sqlite3.Connection) -> Head:
    row = reader.execute("SELECT sequence, hash FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
    return Head(0, GENESIS) if row is None else Head(row[0], check_hash(row[1], row[0]))
