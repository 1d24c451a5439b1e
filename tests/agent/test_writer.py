"""Group commit, and what happens when the disk refuses."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from agent import limits, rows
from agent.rows import FireState, Statement, Stored, Write
from agent.writer import Writer
from protocol.errors import InternalError, UnavailableError

WAIT_S = 60.0


class Disk(sqlite3.Connection):
    """A connection whose disk can be told to refuse or to hold a commit, and which counts commits."""

    refuses = False
    held: threading.Event | None = None  # a commit waits for it
    commits = 0
    commit_started = threading.Event()

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.commit_started.set()
            if self.held is not None:
                self.held.wait(WAIT_S)
            if self.refuses:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            self.commits += 1
        return super().execute(sql, *values)  # type: ignore[arg-type]  # handed on


class Rig:
    """A writer on a disk under control."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Disk)
        self.disk.commit_started = threading.Event()
        self.disk.execute("PRAGMA journal_mode=WAL")
        for statement in rows.SCHEMA:
            self.disk.execute(statement)
        self.durable: list[int] = []
        self.awaited: list[bool] = []  # beside each of them: whether somebody far away waits
        self.broken: Future[Exception] = Future()
        self.writer = Writer(
            self.disk,
            acknowledged=0,
            on_durable=lambda newest, is_awaited: self.durable.append(newest) or self.awaited.append(is_awaited),
            on_broken=self.broken.set_result,
            retry_s=0.001,
        )

    def sequences(self) -> list[int]:
        with sqlite3.connect(self.path) as reader:
            found = [row[0] for row in reader.execute("SELECT sequence FROM records ORDER BY sequence")]
        reader.close()
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "spool")
    yield made
    made.disk.refuses = False
    made.writer.close()


def record(sequence: int, *statements: Statement, size: int = 10) -> Write:
    return Write((Stored(sequence, b"x" * size, b"h", sequence),), statements)


def test_a_waiter_is_told_when_its_record_is_on_disk(rig: Rig) -> None:
    rig.writer.submit(record(1))
    rig.writer.submit_waited(record(2)).result(WAIT_S)
    assert rig.sequences() == [1, 2]
    assert rig.durable[-1] == 2


def test_it_is_told_which_records_somebody_far_away_waits_for(rig: Rig) -> None:
    """They are shipped at once; what only this host waits for may let others come with it."""
    rig.writer.submit_waited(record(1)).result(WAIT_S)
    rig.writer.submit(record(2), is_urgent=True)
    rig.writer.submit_waited(record(3)).result(WAIT_S)
    rig.writer.submit_waited(record(4)).result(WAIT_S)
    told = dict(zip(rig.durable, rig.awaited, strict=True))
    assert (told[1], told[4]) == (False, False)
    assert [newest for newest, is_awaited in told.items() if is_awaited] in ([2], [3])  # of its own, or of one group


def test_many_writers_share_a_commit(rig: Rig) -> None:
    """While one commit is held, everything that arrives gathers for the next."""
    rig.disk.held = threading.Event()
    first = rig.writer.submit_waited(record(1))
    rig.disk.commit_started.wait(WAIT_S)
    waiters = [rig.writer.submit_waited(record(sequence)) for sequence in range(2, 500)]
    assert not first.done()
    assert not any(waiter.done() for waiter in waiters)
    rig.disk.held.set()
    for waiter in [first, *waiters]:
        waiter.result(WAIT_S)
    assert rig.disk.commits == 2
    assert rig.sequences() == list(range(1, 500))


def test_closing_writes_what_is_pending(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "spool")
    for sequence in range(1, 300):
        rig.writer.submit(record(sequence))
    rig.writer.close()
    assert rig.sequences() == list(range(1, 300))


def test_a_disk_that_refuses_is_told_at_once_and_loses_nothing(rig: Rig) -> None:
    """The waiter hears it now; the record is written, in its place, when the disk is back."""
    rig.disk.refuses = True
    with pytest.raises(UnavailableError, match="disk I/O error"):
        rig.writer.submit_waited(record(1)).result(WAIT_S)
    assert rig.writer.problem == "disk I/O error"
    with pytest.raises(UnavailableError, match="cannot be written"):
        rig.writer.submit_waited(record(2))
    rig.writer.submit(record(2))  # the record of something that has happened already must not be dropped
    assert rig.sequences() == []
    rig.disk.refuses = False
    rig.writer.close()
    assert rig.sequences() == [1, 2]
    assert rig.writer.problem is None


def test_a_dead_disk_does_not_fill_the_memory(rig: Rig) -> None:
    rig.disk.refuses = True
    size = limits.MAX_PENDING_BYTES // 4
    for sequence in range(1, 5):
        rig.writer.submit(record(sequence, size=size))
    with pytest.raises(UnavailableError, match="behind"):
        rig.writer.submit(record(5, size=size))


def test_a_spool_at_its_bound_gives_up_what_the_server_has(tmp_path: Path) -> None:
    """A full file is not a reason to stop while it holds records that are safe elsewhere."""
    rig = Rig(tmp_path / "spool")
    pages = rig.disk.execute("PRAGMA page_count").fetchone()[0]
    rig.disk.execute(f"PRAGMA max_page_count={pages + 40}")
    last = 0
    for sequence in range(1, 400):
        try:
            rig.writer.submit_waited(record(sequence, size=3000)).result(WAIT_S)
        except UnavailableError:
            last = sequence
            break
    assert 5 < last < 60
    rig.writer.acknowledge(last - 1)
    rig.writer.submit(record(last + 1, size=3000))
    rig.writer.close()
    kept = rig.sequences()
    assert kept[0] == last - 1, "the newest acknowledged record proves the chain and stays"
    assert kept[-2:] == [last, last + 1]


def test_a_fire_time_taken_twice_stops_the_writer_for_good(rig: Rig) -> None:
    """It cannot happen; if it does, nothing may be written after it, and the agent must end."""
    mark = rows.mark_fire("s", 1, FireState.STARTED)
    rig.writer.submit_waited(record(1, mark)).result(WAIT_S)
    with pytest.raises(InternalError, match="broken"):
        rig.writer.submit_waited(record(2, mark)).result(WAIT_S)
    assert isinstance(rig.broken.result(WAIT_S), sqlite3.IntegrityError)
    with pytest.raises(InternalError, match="closed"):
        rig.writer.submit(record(3))
    assert rig.sequences() == [1]


def test_who_waits_may_be_cancelled_but_the_write_is_not(rig: Rig) -> None:
    waiter = rig.writer.submit_waited(record(1))
    assert not waiter.cancel()
    waiter.result(WAIT_S)


def test_an_acknowledgement_reaches_the_disk_at_the_latest_when_it_closes(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "spool")
    rig.writer.submit(record(1))
    rig.writer.acknowledge(1)
    rig.writer.acknowledge(0)
    assert rig.writer.acknowledged == 1
    rig.writer.close()
    with sqlite3.connect(rig.path) as reader:
        assert reader.execute("SELECT value FROM meta WHERE key = 'acknowledged'").fetchone() == (b"1",)
    reader.close()
