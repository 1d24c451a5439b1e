"""The durable key-value store of scripts: one SQLite file, one transaction for each call, every size bounded.

- What belongs to one script lies under its name and cannot be reached from another: a call gets a :class:`ScriptStore`,
  which was made for one name by whoever started the run, and knows no other.
- A call is one transaction. Kill the process at any moment: the call has happened, or it has not.
- A file that is damaged is set aside under another name and said, never deleted and never read further.
- Everything here may wait for the disk: it is for threads, not for an event loop.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from protocol.errors import ArgumentError, BudgetError, ConflictError, ProtocolError, TooLargeError, UnavailableError
from protocol.frames import decode, encode
from stdlib.rates import TOO_SOON, Moment, Reading, elapsed_us, rate_between

# Bounds; chosen without measurement. A check keeps a handful of numbers.
MAX_KEY_BYTES: Final = 200
MAX_VALUE_BYTES: Final = 16 << 10  # of one value, encoded
MAX_KEYS: Final = 1_000  # of one script, of all kinds together
MAX_SCRIPT_BYTES: Final = 256 << 10  # of one script: keys and values, and ROW_BYTES for each
MAX_TOTAL_BYTES: Final = 32 << 20  # of all scripts of a host, counted likewise
MAX_DEPTH: Final = 8  # levels of a value
ROW_BYTES: Final = 64  # that a key costs beside itself
MAX_SET_ASIDE: Final = 3  # damaged files that are kept; the oldest goes, so that they never fill a disk

_FORMAT: Final = 1
_PAGE_BYTES: Final = 4096
_BUSY_S: Final = 5.0
_VALUE, _RATE, _DEDUP = 0, 1, 2  # kinds of rows; a rate and a value may have the same key
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_NUMBERS: Final = (-(1 << 63), (1 << 64) - 1)  # whole numbers that can be kept

_SCHEMA: Final = (
    "CREATE TABLE items (script TEXT NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " until_us INTEGER, PRIMARY KEY (script, kind, key)) WITHOUT ROWID",
    "CREATE TABLE totals (script TEXT PRIMARY KEY, keys INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
)


class KeyValue(Protocol):
    """What calls need of the store: what one script keeps on one host."""

    def get(self, key: str) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...
    def increment(self, key: str, by: float) -> float: ...
    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool: ...
    def delete(self, key: str) -> bool: ...
    def keys(self, prefix: str) -> list[str]: ...
    def rate(self, key: str, value: float) -> dict[str, Any]: ...
    def is_first(self, key: str, ttl_s: float) -> bool: ...


def host_moment() -> Moment:
    """Return the present by the host's own clocks."""
    return Moment(_boot_id(), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000, time.time_ns() // 1000)


class Store:
    """The store of one host, or of one local run. Opened by the first call that needs it.

    Args:
        path: The file, in a directory that only its owner writes in; None keeps everything in memory.
        now: The present.
        on_damage: Called, in the thread of the call, with one sentence when a damaged file was set aside.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        now: Callable[[], Moment] = host_moment,
        on_damage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._now = now
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    def of(self, script: str) -> ScriptStore:
        """Return what the script of this name keeps. Where the name comes from decides what it may touch."""
        return ScriptStore(self, script)

    def now(self) -> Moment:
        """Return the present."""
        return self._now()

    def close(self) -> None:
        """Close the file; later calls are refused. Idempotent."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction; it is committed at the end, and undone by an error.

        Raises:
            UnavailableError: The file cannot be used; nothing has changed. If it was damaged, it was set aside, and
                the next call begins with an empty one.
        """
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # it may be undone already, as after a full disk
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                if _is_damage(error):
                    raise UnavailableError(self._set_aside(error)) from error
                raise UnavailableError(f"the state of scripts cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._is_closed:
            raise UnavailableError("the state of scripts is closed")
        try:
            return _connect(self._path)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self._set_aside(error)
        return _connect(self._path)

    def _set_aside(self, error: Exception) -> str:
        """Put the damaged file out of the way, say so, and return what was said."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._path is None:
            told = f"the state of scripts in memory is damaged ({error}); it begins anew"
        else:
            kept = _move(self._path, self._now().wall_us)
            told = f"the state of scripts, {self._path.name}, is damaged ({error}); it was set aside as {kept}"
        self._on_damage(told)
        return told


class ScriptStore:
    """What one script keeps. Every method is one transaction, and raises UnavailableError if it cannot be made."""

    def __init__(self, store: Store, script: str) -> None:
        self._store = store
        self._script = script

    def get(self, key: str) -> Any:
        """Return the value under ``key``; None if there is none."""
        name = _name(key)
        with self._store.transaction() as connection:
            return _value(_read(connection, self._script, _VALUE, name))

    def set(self, key: str, value: Any) -> None:
        """Put ``value`` under ``key``.

        Raises:
            ArgumentError: The key is empty, or the value is none, no plain one or too large.
            BudgetError: The script, or the host, keeps as much as it may.
        """
        name, blob = _name(key), _blob(value)
        with self._store.transaction() as connection:
            self._write(connection, _VALUE, name, blob)

    def increment(self, key: str, by: float) -> float:
        """Add ``by`` to the number under ``key``, 0 if there is none, and return the sum.

        Raises:
            ConflictError: There is something else than a number under the key, or the sum cannot be kept.
            BudgetError: As :meth:`set`.
        """
        name = _name(key)
        with self._store.transaction() as connection:
            before = _value(_read(connection, self._script, _VALUE, name))
            if before is None:
                before = 0
            if type(before) not in (int, float):
                raise ConflictError(f"what is kept as {key!r:.60} is no number")
            total: float = before + by
            if (type(total) is int and not _NUMBERS[0] <= total <= _NUMBERS[1]) or total in _INFINITE:
                raise ConflictError(f"the sum under {key!r:.60} is out of range")
            self._write(connection, _VALUE, name, _blob(total))
            return total

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        """Put ``value`` under ``key`` if ``expected`` is there (None: nothing is); a value of None deletes.

        Returns:
            Whether it was there, and so was replaced.

        Raises:
            ArgumentError: As :meth:`set`.
            BudgetError: As :meth:`set`.
        """
        name = _name(key)
        blob = None if value is None else _blob(value)
        with self._store.transaction() as connection:
            found = _value(_read(connection, self._script, _VALUE, name))
            if not _same(found, expected):
                return False
            if blob is None:
                self._remove(connection, _VALUE, name)
            else:
                self._write(connection, _VALUE, name, blob)
            return True

    def delete(self, key: str) -> bool:
        """Delete what is under ``key``; return whether there was anything."""
        name = _name(key)
        with self._store.transaction() as connection:
            return self._remove(connection, _VALUE, name)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``, sorted by their bytes."""
        start = prefix.encode("utf-8", "surrogateescape")
        with self._store.transaction() as connection:
            rows = connection.execute(
                "SELECT key FROM items WHERE script = ? AND kind = ? AND key >= ? ORDER BY key",
                (self._script, _VALUE, start),
            )
            names = [bytes(row[0]) for row in rows]
        return [name.decode("utf-8", "surrogateescape") for name in names if name.startswith(start)]

    def rate(self, key: str, value: float) -> dict[str, Any]:
        """Keep a reading of the counter ``key``; return its speed since the one before (see ``stdlib.rates``).

        Raises:
            BudgetError: As :meth:`set`.
        """
        name, now = _name(key), Reading(value, self._store.now())
        with self._store.transaction() as connection:
            answer = rate_between(_reading(_read(connection, self._script, _RATE, name)), now)
            if answer["reason"] != TOO_SOON:  # else the next one would be too soon as well
                at = now.moment
                self._write(connection, _RATE, name, encode([now.value, at.boot, at.since_boot_us, at.wall_us]))
        return answer

    def is_first(self, key: str, ttl_s: float) -> bool:
        """Tell whether ``key`` is asked about for the first time within ``ttl_s`` seconds; the time runs from then.

        A wall clock that was set back over a reboot makes it the first time: better twice than never.

        Raises:
            BudgetError: As :meth:`set`.
        """
        name, now = _name(key), self._store.now()
        with self._store.transaction() as connection:
            before = _moment(_read(connection, self._script, _DEDUP, name))
            passed_us = None if before is None else elapsed_us(before, now)
            if passed_us is not None and passed_us < ttl_s * 1_000_000:
                return False
            until_us = now.wall_us + int(ttl_s * 1_000_000)
            blob = encode([now.boot, now.since_boot_us, now.wall_us])
            self._write(connection, _DEDUP, name, blob, until_us)
            return True

    # rows ----------------------------------------------------------------------------------------------------------

    def _write(
        self, connection: sqlite3.Connection, kind: int, name: bytes, blob: bytes, until_us: int | None = None
    ) -> None:
        before = _read(connection, self._script, kind, name)
        added = len(blob) - len(before) if before is not None else len(name) + len(blob) + ROW_BYTES
        new_keys = 0 if before is not None else 1
        if added > 0 and not self._has_room(connection, new_keys, added):
            self._forget_old(connection)
            self._check_room(connection, new_keys, added)
        connection.execute(
            "INSERT INTO items VALUES (?, ?, ?, ?, ?) ON CONFLICT (script, kind, key)"
            " DO UPDATE SET value = excluded.value, until_us = excluded.until_us",
            (self._script, kind, name, blob, until_us),
        )
        self._count(connection, new_keys, added)

    def _remove(self, connection: sqlite3.Connection, kind: int, name: bytes) -> bool:
        before = _read(connection, self._script, kind, name)
        if before is None:
            return False
        connection.execute("DELETE FROM items WHERE script = ? AND kind = ? AND key = ?", (self._script, kind, name))
        self._count(connection, -1, -(len(name) + len(before) + ROW_BYTES))
        return True

    def _count(self, connection: sqlite3.Connection, keys: int, size_bytes: int) -> None:
        connection.execute(
            "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT (script)"
            " DO UPDATE SET keys = keys + excluded.keys, bytes = bytes + excluded.bytes",
            (self._script, keys, size_bytes),
        )

    def _totals(self, connection: sqlite3.Connection) -> tuple[int, int, int]:
        own = connection.execute("SELECT keys, bytes FROM totals WHERE script = ?", (self._script,)).fetchone()
        everybody = connection.execute("SELECT coalesce(sum(bytes), 0) FROM totals").fetchone()[0]
        return (*(own or (0, 0)), everybody)

    def _has_room(self, connection: sqlite3.Connection, keys: int, size_bytes: int) -> bool:
        own_keys, own_bytes, all_bytes = self._totals(connection)
        return (
            own_keys + keys <= MAX_KEYS
            and own_bytes + size_bytes <= MAX_SCRIPT_BYTES
            and all_bytes + size_bytes <= MAX_TOTAL_BYTES
        )

    def _check_room(self, connection: sqlite3.Connection, keys: int, size_bytes: int) -> None:
        own_keys, own_bytes, all_bytes = self._totals(connection)
        if own_keys + keys > MAX_KEYS:
            raise BudgetError(f"a script keeps at most {MAX_KEYS} keys", budget="state_keys")
        if own_bytes + size_bytes > MAX_SCRIPT_BYTES:
            raise BudgetError(f"a script keeps at most {MAX_SCRIPT_BYTES} bytes", budget="state_bytes")
        if all_bytes + size_bytes > MAX_TOTAL_BYTES:
            raise BudgetError(f"all scripts of a host keep at most {MAX_TOTAL_BYTES} bytes", budget="state_total")

    def _forget_old(self, connection: sqlite3.Connection) -> None:
        """Delete what ``is_first`` kept and nobody will ask for again, now that its room is wanted."""
        old = connection.execute(
            "DELETE FROM items WHERE script = ? AND kind = ? AND until_us < ? RETURNING length(key), length(value)",
            (self._script, _DEDUP, self._store.now().wall_us),
        ).fetchall()
        if old:
            self._count(connection, -len(old), -sum(key + value + ROW_BYTES for key, value in old))


_INFINITE: Final = (float("inf"), float("-inf"))


def _name(key: str) -> bytes:
    name = key.encode("utf-8", "surrogateescape")
    if not 0 < len(name) <= MAX_KEY_BYTES:
        raise ArgumentError(f"key: must be 1 to {MAX_KEY_BYTES} bytes", parameter="key")
    return name


def _blob(value: Any) -> bytes:
    if value is None:
        raise ArgumentError("value: nothing cannot be kept (state.delete takes a key away)", parameter="value")
    try:
        return encode([value], max_bytes=MAX_VALUE_BYTES, max_depth=MAX_DEPTH + 1)
    except TooLargeError:
        raise ArgumentError(
            f"value: is over {MAX_VALUE_BYTES} bytes or deeper than {MAX_DEPTH} levels", parameter="value"
        ) from None
    except ProtocolError as error:
        raise ArgumentError(f"value: cannot be kept: {error.message}", parameter="value") from None


def _read(connection: sqlite3.Connection, script: str, kind: int, name: bytes) -> bytes | None:
    row = connection.execute(
        "SELECT value FROM items WHERE script = ? AND kind = ? AND key = ?", (script, kind, name)
    ).fetchone()
    return None if row is None else bytes(row[0])


def _items(blob: bytes) -> list[Any]:
    try:
        items = decode(blob)
    except ProtocolError as error:
        raise UnavailableError(f"what is kept under this key is damaged: {error.message}") from None
    return list(items)


def _value(blob: bytes | None) -> Any:
    return None if blob is None else _items(blob)[0]


def _reading(blob: bytes | None) -> Reading | None:
    if blob is None:
        return None
    value, *moment = _items(blob)
    return Reading(value, Moment(*moment))


def _moment(blob: bytes | None) -> Moment | None:
    return None if blob is None else Moment(*_items(blob))


def _same(left: Any, right: Any) -> bool:
    """Tell whether two values are the same to a script: Lua knows one empty table, and True is no 1."""
    if isinstance(left, (list, dict)) and isinstance(right, (list, dict)) and not left and not right:
        return True
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


# the file ------------------------------------------------------------------------------------------------------------


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:  # before SQLite makes it, which would give it the mode that the umask leaves
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    try:
        found = _format(connection)  # before anything is written
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={4 << 20}")
        connection.execute(f"PRAGMA max_page_count={2 * MAX_TOTAL_BYTES // _PAGE_BYTES}")
        connection.execute("PRAGMA cache_size=-512")  # KiB
        _check_pages(connection)
        if not found:
            _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _format(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > _FORMAT:
        raise UnavailableError(f"the state of scripts is of format {found}, known is {_FORMAT}: update the agent")
    return found


def _check_pages(connection: sqlite3.Connection) -> None:
    told = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if told != "ok":
        raise sqlite3.DatabaseError(f"{_DAMAGED}: {told}")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={_FORMAT}")
    connection.execute("COMMIT")


_DAMAGED: Final = "the check of its pages failed"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def _is_damage(error: Exception) -> bool:
    """Tell whether the file holds something else than it must; a full or absent disk is no damage."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _DAMAGE  # the low byte is the primary code (sqlite.org/rescode.html)
    return isinstance(error, sqlite3.DatabaseError) and str(error).startswith(_DAMAGED)


def _move(path: Path, wall_us: int) -> str:
    """Give a damaged file, and what belongs to it, another name; return that."""
    aside = path.with_name(f"{path.name}.damaged-{wall_us}")
    for suffix in ("-wal", "-shm", ""):  # the file last: while it has its name, the whole is found again
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    found = sorted(path.parent.glob(f"{path.name}.damaged-*"), reverse=True)
    kept = [item for item in found if not item.name.endswith(("-wal", "-shm"))]
    for old in kept[MAX_SET_ASIDE:]:
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                old.with_name(old.name + suffix).unlink()
    return aside.name


def _boot_id() -> str:
    """Return the kernel's id of this boot (random(4)); empty where it gives none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
