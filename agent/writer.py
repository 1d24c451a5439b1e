"""The one thread that writes the spool, and the group commit.

- Writes reach the disk in the order in which they were submitted, many in one transaction; one synchronisation of the
  disk pays for all of them.
- A waited write is answered only after the commit that holds it. A write that nobody waits for may lie for
  ``GATHER_S``, so that a script that calls and calls does not wake this thread, and the disk, for each of its records.
- A disk that refuses (full, read-only, input/output error) loses nothing: what was submitted stays in memory, in order,
  and is tried again; the waiters are told at once, and :attr:`Writer.problem` says why until a write succeeds.
- What cannot happen unless the file is damaged or a rule of the agent is broken (a fire time taken twice, a malformed
  database) stops the writer for good. The agent must end then; at the next start the disk alone says what is true.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain

from agent import limits
from agent.rows import INSERT_CHUNKS, INSERT_RECORDS, Statement, Stored, Write, set_meta, trim_records
from protocol.errors import InternalError, UnavailableError
from protocol.limits import MAX_RECORD_BYTES

_Waiter = Future[None]
_EVER_US = 2**62  # later than any time that a record can carry


class Writer:
    """Owns the writing connection and its thread.

    Args:
        connection: In autocommit mode, may be used from another thread; closed by :meth:`close`.
        acknowledged: Highest sequence that the server has acknowledged.
        on_durable: Called in the writer's thread after each commit with records: the newest durable sequence, and
            whether somebody far away waits for one of them.
        on_broken: Called once, in the writer's thread, when the writer stops for good.
        retry_s: Seconds between two attempts after the disk refused.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        acknowledged: int,
        on_durable: Callable[[int, bool], None],
        on_broken: Callable[[Exception], None],
        retry_s: float = limits.SPOOL_RETRY_S,
    ) -> None:
        self._connection = connection
        self._on_durable = on_durable
        self._on_broken = on_broken
        self._retry_s = retry_s
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._pending: list[tuple[Write, _Waiter | None]] = []  # oldest first; guarded by the condition
        self._pending_bytes = 0  # of records in ``_pending`` and in the group under way
        self._is_urgent = False  # something pending is waited for; guarded by the condition
        self._is_awaited_afar = False  # something pending is waited for far away; guarded by the condition
        self._group_is_awaited_afar = False  # the same of the group under way
        self._is_gathering = False  # the thread lets writes come together; guarded by the condition
        self._closing = False
        self._had_last_attempt = False  # while closing; room may have been made by the attempt before
        self._acknowledged = acknowledged  # as last told by the server
        self._acknowledged_on_disk = acknowledged
        self.problem: str | None = None  # why the disk refuses now; None while it does not
        self.broken: Exception | None = None  # why the writer stopped for good
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write, *, is_urgent: bool = False) -> None:
        """Queue a write; nobody waits for it.

        Args:
            write: What becomes durable.
            is_urgent: Somebody far away waits for its effect: write at once.

        Raises:
            UnavailableError: Too much is pending already. Nothing was queued.
            InternalError: The writer has stopped for good.
        """
        self._queue(write, None, is_urgent, is_urgent)

    def submit_waited(self, write: Write) -> Future[None]:
        """Queue a write and return what tells that it is on disk.

        The result is UnavailableError as soon as the disk refuses; the write itself stays queued.

        Raises:
            UnavailableError: Too much is pending, or the disk refuses at present. Nothing was queued.
            InternalError: The writer has stopped for good.
        """
        if self.problem is not None:
            raise UnavailableError(f"the spool cannot be written: {self.problem}")
        waiter: Future[None] = Future()
        waiter.set_running_or_notify_cancel()  # who waits may be cancelled; what is written may not
        self._queue(write, waiter, True, False)
        return waiter

    def acknowledge(self, through: int) -> None:
        """Remember what the server has; it reaches the disk with the next write, for the server will tell it again."""
        with self._condition:
            self._acknowledged = max(self._acknowledged, through)

    @property
    def acknowledged(self) -> int:
        """Highest sequence that the server has acknowledged."""
        return self._acknowledged

    @property
    def has_room(self) -> bool:
        """Whether the disk takes writes, and one more with a record of the largest size can be queued. Only this thread
        queues writes.
        """
        return (
            self.broken is None
            and self.problem is None
            and not self._closing
            and len(self._pending) < limits.MAX_PENDING_WRITES
            and self._pending_bytes + MAX_RECORD_BYTES <= limits.MAX_PENDING_BYTES
        )

    def close(self) -> None:
        """Write what is pending, once more if the disk refuses, then end the thread and close the connection."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        self._connection.close()

    def _queue(self, write: Write, waiter: _Waiter | None, is_urgent: bool, is_awaited_afar: bool) -> None:
        size = write.size_bytes
        with self._lock:  # of the condition, without the condition's own layer
            if self.broken is not None or self._closing:
                raise InternalError("the spool is closed", detail=repr(self.broken))
            if len(self._pending) >= limits.MAX_PENDING_WRITES or self._pending_bytes + size > limits.MAX_PENDING_BYTES:
                raise UnavailableError(f"the spool is behind: {self.problem or 'too much waits for the disk'}")
            self._pending.append((write, waiter))
            self._pending_bytes += size
            self._is_urgent = self._is_urgent or is_urgent
            self._is_awaited_afar = self._is_awaited_afar or is_awaited_afar
            if is_urgent or (len(self._pending) == 1 and not self._is_gathering):
                self._condition.notify()

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                while not self._try(group):
                    if self._pause():
                        return
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be written after it
                self._break(error, group)
                return

    def _next_group(self) -> list[tuple[Write, _Waiter | None]] | None:
        """Return what to write next; empty when only the acknowledgement is; None when all is written and closed."""
        with self._condition:
            while not self._pending and not self._closing:
                self._condition.wait()
            if not self._pending and self._acknowledged == self._acknowledged_on_disk:
                return None
            if not self._is_urgent and not self._closing:
                self._is_gathering = True
                self._condition.wait_for(lambda: self._is_urgent or self._closing, timeout=limits.GATHER_S)
                self._is_gathering = False
            group = self._pending[: limits.MAX_GROUP_WRITES]
            del self._pending[: len(group)]
            self._is_urgent = any(waiter is not None for _, waiter in self._pending)
            self._group_is_awaited_afar = self._is_awaited_afar
            self._is_awaited_afar = self._is_awaited_afar and bool(self._pending)
            return group

    def _try(self, group: list[tuple[Write, _Waiter | None]]) -> bool:
        """Commit the group and tell its waiters; False if the disk refused, which they are told too."""
        try:
            self._commit_making_room(group)
        except sqlite3.OperationalError as error:
            self._refused(error, group)
            return False
        self.problem = None
        with self._condition:
            self._pending_bytes -= sum(write.size_bytes for write, _ in group)
        newest = max((write.records[-1].sequence for write, _ in group if write.records), default=0)
        if newest:
            self._on_durable(newest, self._group_is_awaited_afar)
        for _, waiter in group:
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        return True

    def _commit_making_room(self, group: Sequence[tuple[Write, _Waiter | None]]) -> None:
        """Commit; when the file is full, give up acknowledged records before their time and commit once more."""
        try:
            self._commit(group)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                raise
            # The server has them, and new records have nowhere else to go.
            self._transaction([], [trim_records(self._acknowledged, _EVER_US, limits.TRIM_CHUNK_RECORDS)])
            self._commit(group)

    def _commit(self, group: Sequence[tuple[Write, _Waiter | None]]) -> None:
        acknowledged = self._acknowledged
        statements = [statement for write, _ in group for statement in write.statements]
        if acknowledged != self._acknowledged_on_disk:
            statements.append(set_meta("acknowledged", str(acknowledged).encode()))
        self._transaction([stored for write, _ in group for stored in write.records], statements)
        self._acknowledged_on_disk = acknowledged

    def _transaction(self, records: Sequence[Stored], statements: Sequence[Statement]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(records)
            for sql, values in statements:
                connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _insert(self, records: Sequence[Stored]) -> None:
        at = 0
        while at < len(records):
            rows = next(rows for rows in INSERT_CHUNKS if rows <= len(records) - at)
            self._connection.execute(INSERT_RECORDS[rows], list(chain.from_iterable(records[at : at + rows])))
            at += rows

    def _refused(self, error: sqlite3.OperationalError, group: Sequence[tuple[Write, _Waiter | None]]) -> None:
        self.problem = str(error)
        for _, waiter in group:
            if waiter is not None and not waiter.done():
                waiter.set_exception(UnavailableError(f"the spool cannot be written: {error}"))

    def _pause(self) -> bool:
        """Wait before the next attempt; True if the one before was the last because the writer is closing."""
        with self._condition:
            if not self._closing:
                self._condition.wait_for(lambda: self._closing, timeout=self._retry_s)
                return False
            is_over, self._had_last_attempt = self._had_last_attempt, True
            return is_over

    def _break(self, error: Exception, group: Sequence[tuple[Write, _Waiter | None]]) -> None:
        with self._condition:
            self.broken = error
            waiters = [waiter for _, waiter in [*group, *self._pending]]
            self._pending.clear()
        for waiter in waiters:
            if waiter is not None and not waiter.done():
                waiter.set_exception(InternalError("the spool is broken", detail=repr(error)))
        self._on_broken(error)
