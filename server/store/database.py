"""The database: many readers, one writer that commits in groups.

- Every change is a command, a function of a connection. Commands run one after the other, in the order they came; many
  share one transaction and one synchronisation of the disk. Who waits for a command hears of it after the commit.
- A command that raises undoes only itself; the others of its group go on.
- If the commit itself fails (disk full), all of the group are told, and nothing of it has happened.
- A command that nobody waits for may lie for ``LATER_S``, and shares the transaction of the next that somebody does.
- Of each person there are never more reads before the readers than there are readers; the rest wait for these, and
  others come in between. Else who asks for five hundred long lists at once has everybody wait for all of them.
- Readers never wait for the writer (write-ahead log), and see only what was committed. But what somebody was told
  before it was committed (:meth:`Database.told_ahead`) every reader sees: one that begins after that waits for it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
import alembic.config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from protocol.errors import InternalError, OutriderError, UnavailableError
from protocol.ledger import decode_record
from server import limits
from server.fair import Fair

Result = TypeVar("Result")
READERS = 4  # threads; reads are short, and two processors serve no more at once
#: For whom what goes on now is read: a person, or a place in the network; None: for the server itself.
READING_FOR: ContextVar[Hashable | None] = ContextVar("READING_FOR", default=None)
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
        self._turns = Fair(lambda: READERS)
        self._commands: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._later: deque[_Command] = deque()  # commands that the next group takes along
        self._is_wake_planned = False
        self._closed = False
        self._told_ahead: set[asyncio.Future[Any]] = set()  # what was told already and is on its way to the disk
        self._looking = threading.RLock()  # a connection serves one thread at a time
        self._looker = self._engine.connect()  # kept: taking one from the pool costs more than a look
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    async def read(self, query: Callable[[Connection], Result]) -> Result:
        """Return what ``query`` finds in a consistent view, however many looks it takes; it must not write."""
        if self._told_ahead:
            await asyncio.wait(self._told_ahead.copy())  # one that fails has not happened, and what is read says so
        loop, whose = asyncio.get_running_loop(), READING_FOR.get()
        if whose is None:
            return await loop.run_in_executor(self._readers, self._read_at_once, query)
        async with self._turns.turn(whose):
            return await loop.run_in_executor(self._readers, self._read_at_once, query)

    def read_now(self, query: Callable[[Connection], Result]) -> Result:
        """Like :meth:`read`, in the calling thread and for a single look: for reads of microseconds and for tests.

        It waits for nothing, so it is not for what may have been told ahead.
        """
        with self._looking:
            try:
                return query(self._looker)
            finally:
                if self._looker.in_transaction():  # as SQLAlchemy counts; the driver has begun none
                    self._looker.rollback()

    def begin_told(self, command: Callable[[Connection], Result]) -> asyncio.Future[Result]:
        """Begin what somebody is told of now as if it were written, and let no reader miss it.

        Who reads from now on waits until it is on disk, or has failed.

        Raises:
            UnavailableError: Too many commands wait.
        """
        told = self.begin(command)
        self._told_ahead.add(told)
        told.add_done_callback(self._told_ahead.discard)
        return told

    @property
    def is_behind(self) -> bool:
        """Whether something that was told is not on disk yet."""
        return bool(self._told_ahead)

    async def write(self, command: Callable[[Connection], Result]) -> Result:
        """Run ``command`` in the writer and return its result once it is on disk.

        Cancellation:
            The command still runs.

        Raises:
            UnavailableError: Too many commands wait, or the disk refuses.
        """
        return await asyncio.shield(self.begin(command))

    def begin(self, command: Callable[[Connection], Result]) -> asyncio.Future[Result]:
        """Queue ``command`` like :meth:`write`; what is returned has its result once it is on disk."""
        told = _Told(asyncio.get_running_loop())
        self._queue(command, told)
        return told.heard

    def submit(self, command: Callable[[Connection], Result]) -> Future[Result]:
        """Queue ``command``; the future has its result once it is on disk. For where there is no event loop."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()  # who waits may be cancelled; what is written may not
        self._queue(command, future)
        return future

    def _queue(self, command: Callable[[Connection], Result], future: Any) -> None:
        if self._closed:
            raise UnavailableError("the server is ending")
        if self._commands.qsize() >= limits.MAX_PENDING_WRITES:
            raise UnavailableError("too much waits for the disk")
        self._commands.put(_Command(command, future))

    def submit_later(self, command: Callable[[Connection], Result]) -> Future[Result]:
        """Like :meth:`submit`, but not at once: what the answer to nobody depends on. Call it in the event loop."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        self._later.append(_Command(command, future))
        if not self._is_wake_planned:
            self._is_wake_planned = True
            asyncio.get_running_loop().call_later(limits.LATER_S, self._wake)
        if self._closed or len(self._later) >= limits.MAX_WRITES_PER_GROUP:
            self._wake()
        return future

    def _wake(self) -> None:
        """Let what was put off be written, if nothing took it along."""
        self._is_wake_planned = False
        if not self._later:
            return
        if self._closed:
            while self._later:
                self._later.popleft().future.set_exception(UnavailableError("the server is ending"))
        else:
            self._commands.put(_Command(lambda _: None, Future()))

    def close(self) -> None:
        """Write what waits, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._commands.put(None)
        self._thread.join()
        self._readers.shutdown()
        with self._looking:
            self._looker.close()
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
        first = self._commands.get()
        group: list[_Command | None] = []
        while self._later:  # they came before
            group.append(self._later.popleft())
        group.append(first)
        while group[-1] is not None and len(group) < limits.MAX_WRITES_PER_GROUP:
            try:
                group.append(self._commands.get_nowait())
            except queue.Empty:
                break
        return group

    def _run(self, connection: Connection, group: list[_Command]) -> None:
        if not group:
            return
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.execute("BEGIN IMMEDIATE")
            # Of one alone, the usual case, what it must undo is the transaction.
            alone = group[0] if len(group) == 1 else None
            done = [(alone, alone.run(connection))] if alone else _run_each(connection, driver, group)
            _end(connection, driver.commit)
        except Exception as error:  # noqa: BLE001 - told to who waits
            _end(connection, driver.rollback)
            for command in group:
                if not command.future.done():
                    command.future.set_exception(_told(error))
            return
        for command, result in done:
            command.future.set_result(result)


def _end(connection: Connection, end: Callable[[], None]) -> None:
    """End the transaction, as the driver sees it and as SQLAlchemy does, which knows of it only if it was used."""
    try:
        end()
    finally:
        if connection.in_transaction():
            connection.rollback()  # of nothing


def _run_each(connection: Connection, driver: Any, group: list[_Command]) -> list[tuple[_Command, Any]]:
    """Run the commands of a group; one that raises undoes only itself. Return the others with their results."""
    done: list[tuple[_Command, Any]] = []
    for command in group:
        driver.execute("SAVEPOINT command")
        try:
            done.append((command, command.run(connection)))
        except Exception as error:  # noqa: BLE001 - it is the command's own, and told to who waits for it
            command.future.set_exception(_told(error))
            _check_undone_alone(driver)
            driver.execute("ROLLBACK TO command")
        driver.execute("RELEASE command")
    return done


class _Told:
    """The writer's end of a future of the event loop: a result crosses the threads in one step."""

    __slots__ = ("_is_done", "_loop", "heard")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_done = False
        self.heard: asyncio.Future[Any] = loop.create_future()

    def done(self) -> bool:
        return self._is_done

    def set_result(self, result: Any) -> None:
        self._tell(self.heard.set_result, result)

    def set_exception(self, error: BaseException) -> None:
        self._tell(self.heard.set_exception, error)

    def _tell(self, settle: Callable[[Any], None], what: Any) -> None:
        self._is_done = True
        with suppress(RuntimeError):  # the loop is closed: nobody is there to hear it
            self._loop.call_soon_threadsafe(self._settle, settle, what)

    def _settle(self, settle: Callable[[Any], None], what: Any) -> None:
        if not self.heard.done():  # the loop is ending
            settle(what)


class _Command:
    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[Connection], Any], future: Future[Any] | _Told) -> None:
        self.run = run
        self.future = future


def _check_undone_alone(driver: Any) -> None:
    """Return if a command that failed can take only itself away.

    Raises:
        UnavailableError: The whole transaction is gone, and with it the commands before: SQLite does so when the disk
            is full or fails (sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
    """
    if not driver.in_transaction:
        raise UnavailableError("the database cannot be written: it has undone all of a group")


def _told(error: Exception) -> Exception:
    if isinstance(error, OperationalError):
        return UnavailableError(f"the database cannot be written: {error.orig}", detail=str(error))
    if isinstance(error, sqlite3.Error):  # of beginning or ending a transaction
        return UnavailableError(f"the database cannot be written: {error}", detail=repr(error))
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
        connection.create_function("principal_of", 1, _principal_of, deterministic=True)

    return engine


def _principal_of(blob: Any) -> str | None:
    """Return who a record was made for, for the database to compare; None where the bytes are none."""
    try:
        return decode_record(blob).principal
    except (OutriderError, TypeError):  # verify says so
        return None
