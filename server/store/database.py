"""The database: many readers, one writer that commits in groups.

- Every change is a command, a function of a connection. Commands run one after the other, in the order they came; many
  share one transaction and one synchronisation of the disk. Who waits for a command hears of it after the commit.
- A command that raises undoes only itself; the others of its group go on.
- If the commit itself fails (disk full), all of the group are told, and nothing of it has happened.
- Readers never wait for the writer (write-ahead log), and see only what was committed.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
import alembic.config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from protocol.errors import InternalError, UnavailableError
from server import limits

Result = TypeVar("Result")
READERS = 4  # threads; reads are short, and two processors serve no more at once
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database.

    Args:
        path: The file; made if it is not there, readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._engine = _engine(path)
        self._migrate()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._commands: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return what ``query`` finds in a consistent view, however many looks it takes; it must not write."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_at_once, query)

    def read_now(self, query: Callable[[Connection], Result]) -> Result:
        """Like :meth:`read`, in the calling thread and for a single look: for reads of microseconds and for tests."""
        with self._engine.connect() as connection:
            return query(connection)

    async def write(self, command: Callable[[Connection], Result]) -> Result:
        """Run ``command`` in the writer and return its result once it is on disk.

        Cancellation:
            The command still runs.

        Raises:
            UnavailableError: Too many commands wait, or the disk refuses.
        """
        return await asyncio.wrap_future(self.submit(command))

    def submit(self, command: Callable[[Connection], Result]) -> Future[Result]:
        """Queue ``command``; the future has its result once it is on disk."""
        if self._closed:
            raise UnavailableError("the server is ending")
        if self._commands.qsize() >= limits.MAX_PENDING_WRITES:
            raise UnavailableError("too much waits for the disk")
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()  # who waits may be cancelled; what is written may not
        self._commands.put(_Command(command, future))
        return future

    def close(self) -> None:
        """Write what waits, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._commands.put(None)
        self._thread.join()
        self._readers.shutdown()
        self._engine.dispose()

    def _read_at_once(self, query: Callable[[Connection], Result]) -> Result:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # else each look would see what was committed since the one before
            return query(connection)

    def _migrate(self) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._engine.connect() as connection:
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
            connection.commit()

    def _work(self) -> None:
        with self._engine.connect() as connection:
            while group := self._next_group():
                self._run(connection, [command for command in group if command is not None])
                if group[-1] is None:
                    return

    def _next_group(self) -> list[_Command | None]:
        """Return the commands that wait, at least one; None stands last where the database closes."""
        group = [self._commands.get()]
        while group[-1] is not None and len(group) < limits.MAX_WRITES_PER_GROUP:
            try:
                group.append(self._commands.get_nowait())
            except queue.Empty:
                break
        return group

    def _run(self, connection: Connection, group: list[_Command]) -> None:
        done: list[tuple[_Command, Any]] = []
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for command in group:
                try:
                    with connection.begin_nested():
                        done.append((command, command.run(connection)))
                except Exception as error:  # noqa: BLE001 - it is the command's own, and told to who waits for it
                    command.future.set_exception(_told(error))
                    _check_undone_alone(connection)
            connection.commit()
        except (SQLAlchemyError, UnavailableError) as error:
            connection.rollback()
            for command in group:
                if not command.future.done():
                    command.future.set_exception(_told(error))
            return
        for command, result in done:
            command.future.set_result(result)


class _Command:
    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[Connection], Any], future: Future[Any]) -> None:
        self.run = run
        self.future = future


def _check_undone_alone(connection: Connection) -> None:
    """Return if a command that failed took only itself away.

    Raises:
        UnavailableError: The whole transaction is gone, and with it the commands before: SQLite does so when the disk
            is full or fails (sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
    """
    if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]  # it is open
        raise UnavailableError("the database cannot be written: it has undone all of a group")


def _told(error: Exception) -> Exception:
    if isinstance(error, OperationalError):
        return UnavailableError(f"the database cannot be written: {error.orig}", detail=str(error))
    if isinstance(error, SQLAlchemyError):
        return InternalError("the database refused a command", detail=str(error))
    return error


def _engine(path: Path) -> Engine:
    path.touch(mode=0o600, exist_ok=True)
    engine = create_engine(f"sqlite+pysqlite:///{path}", poolclass=QueuePool, pool_size=READERS + 2, max_overflow=4)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
