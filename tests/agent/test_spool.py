"""The durable store: what it holds after a stop, a kill, a full disk, and when somebody changed it."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent import rows
from agent.rows import FireState, Stored, Write
from agent.spool import Head, Spool
from protocol.errors import LedgerError, OutriderError, UnavailableError
from protocol.ledger import GENESIS, Chain

WAIT_S = 10.0
SMALL_BYTES = 256 * 1024  # the least that a spool can be told to be


class Ledger:
    """A spool and the chain that is written to it."""

    def __init__(self, path: Path, max_bytes: int = 1 << 30) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.broken: list[Exception] = []
        self.chain = Chain()
        self.open()

    def open(self) -> None:
        self.spool = Spool.open(self.path, max_bytes=self.max_bytes, on_broken=self.broken.append, retry_s=0.001)

    def restart(self) -> None:
        self.spool.close()
        self.open()

    def made(self, padding: int = 0) -> Stored:
        sequence, blob, digest = self.chain.append(
            kind="event", time_us=1000, mono_us=1, data={"padding": bytes(padding)}
        )
        return Stored(sequence, blob, digest, 1000)

    def write(self, *statements: rows.Statement, records: int = 1, padding: int = 0) -> None:
        made = tuple(self.made(padding) for _ in range(records))
        self.spool.submit_waited(Write(made, tuple(statements))).result(WAIT_S)

    def fill(self) -> None:
        """Write more than a small spool holds."""
        for _ in range(20):
            self.write(padding=20_000)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "spool.sqlite")
    yield made
    made.spool.close()


def tamper(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as found, found:
        found.execute(sql, values)


def opened_again(path: Path) -> Spool:
    return Spool.open(path, on_broken=lambda _: None)


def test_a_new_spool_is_readable_by_its_owner_only(ledger: Ledger) -> None:
    """Records hold arguments of calls; they are nobody else's business."""
    ledger.write()
    for path in ledger.path.parent.glob("spool.sqlite*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_everything_is_there_after_a_restart(ledger: Ledger) -> None:
    ledger.write(
        rows.open_run("run_open", b"about", 7),
        rows.open_run("run_ended", b"about", 8),
        rows.close_run("run_ended", 9),
        rows.use_nonce("used", 10),
        rows.set_meta("name", b"value"),
        rows.put_schedule("sch_1", b"body", 11),
        rows.mark_fire("sch_1", 12, FireState.QUEUED),
        rows.mark_fire("sch_1", 13, FireState.STARTED),
        records=3,
    )
    ledger.restart()
    spool = ledger.spool
    assert spool.head == Head(3, ledger.chain.previous)
    assert [run.run for run in spool.open_runs()] == ["run_open"]
    assert spool.knows_run("run_ended")
    assert spool.knows_nonce("used")
    assert not spool.knows_nonce("unused")
    assert spool.meta("name") == b"value"
    assert [tuple(kept) for kept in spool.schedules()] == [("sch_1", b"body", 11)]
    assert spool.queued_fires() == [("sch_1", 12)]
    assert spool.is_decided("sch_1", 13)
    assert not spool.is_decided("sch_1", 14)


def test_what_was_said_to_be_durable_survives_a_kill(tmp_path: Path) -> None:
    """The promise on which effects and acknowledgements rest."""
    path = tmp_path / "spool.sqlite"
    program = f"""
import os, signal
from pathlib import Path
from agent.rows import Stored, Write, mark_fire, FireState
from agent.spool import Spool
from protocol.ledger import Chain
spool = Spool.open(Path({str(path)!r}), on_broken=print)
chain = Chain()
for number in range(20):
    stored = Stored(*chain.append(kind="event", time_us=1, mono_us=1), 1)
    write = Write((stored,), (mark_fire("sch_1", number, FireState.STARTED),))
    spool.submit_waited(write).result(60)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == -signal.SIGKILL
    with closing(opened_again(path)) as spool:
        assert spool.head.sequence == 20
        assert all(spool.is_decided("sch_1", number) for number in range(20))


def test_reading_keeps_both_bounds_and_always_gets_on(ledger: Ledger) -> None:
    """A record larger than the bound on bytes must not stop the shipping for ever."""
    ledger.write(records=5, padding=1000)
    size = len(ledger.spool.read(0, 1, 1)[0])
    assert len(ledger.spool.read(0, 3, 1 << 20)) == 3
    assert len(ledger.spool.read(0, 5, 2 * size)) == 2
    assert len(ledger.spool.read(3, 5, 1)) == 1
    assert ledger.spool.read(5, 5, 1 << 20) == []


def test_the_hash_of_what_was_given_up_is_unknown(ledger: Ledger) -> None:
    """That is what tells a server restored from a copy from one that is merely behind."""
    ledger.write(records=5)
    ledger.write(rows.trim_records(4, 1 << 60, 100), records=0)
    assert ledger.spool.hash_of(0) == GENESIS
    assert ledger.spool.hash_of(3) is None
    assert ledger.spool.hash_of(4) is not None
    assert ledger.spool.hash_of(5) == ledger.chain.previous
    assert ledger.spool.hash_of(6) is None


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE records SET blob = (SELECT blob FROM records WHERE sequence = 2) WHERE sequence = 3", "record"),
        ("DELETE FROM records WHERE sequence = 3", "record 3 is missing"),
        ("UPDATE records SET hash = zeroblob(32) WHERE sequence = 5", "newest record"),
        ("UPDATE records SET blob = x'00' WHERE sequence = 4", "record 4 cannot be read"),
    ],
)
def test_a_spool_that_somebody_changed_is_refused(ledger: Ledger, sql: str, says: str, descriptors_kept: None) -> None:
    """Going on from it would give a ledger that the server must reject, or hide what was done."""
    ledger.write(records=5)
    ledger.spool.close()
    tamper(ledger.path, sql)
    with pytest.raises(LedgerError, match=says):
        opened_again(ledger.path)
    tamper(ledger.path, "DELETE FROM records")
    ledger.open()


def test_a_trimmed_spool_opens_and_is_still_checked(ledger: Ledger) -> None:
    ledger.write(records=6)
    ledger.write(rows.trim_records(3, 1 << 60, 100), records=0)
    ledger.restart()
    assert ledger.spool.head.sequence == 6
    ledger.spool.close()
    tamper(ledger.path, "DELETE FROM records WHERE sequence = 5")
    with pytest.raises(LedgerError):
        opened_again(ledger.path)
    tamper(ledger.path, "DELETE FROM records")
    ledger.open()


def test_a_spool_of_a_newer_agent_is_left_alone(ledger: Ledger) -> None:
    """An agent that was set back to an older version must not write into tables it does not know."""
    ledger.write()
    ledger.spool.close()
    tamper(ledger.path, f"PRAGMA user_version={rows.FORMAT + 1}")
    with pytest.raises(UnavailableError, match="update the agent"):
        opened_again(ledger.path)
    tamper(ledger.path, f"PRAGMA user_version={rows.FORMAT}")
    ledger.open()
    assert ledger.spool.head.sequence == 1


def test_what_is_no_database_is_named(tmp_path: Path, descriptors_kept: None) -> None:
    path = tmp_path / "spool.sqlite"
    path.write_bytes(b"no database at all, and longer than a header" * 100)
    with pytest.raises(UnavailableError, match=r"spool\.sqlite"):
        opened_again(path)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever may place a link must not choose which file root writes to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / "spool.sqlite").symlink_to(elsewhere)
    with pytest.raises(UnavailableError):
        opened_again(tmp_path / "spool.sqlite")
    assert elsewhere.read_bytes() == b""


def test_listeners_hear_of_what_is_on_disk_already(ledger: Ledger) -> None:
    """What is shipped must be durable, or a crash would let the server know more than the host."""
    heard: list[tuple[int, int]] = []
    told = threading.Event()

    def listen(sequence: int, _: bool) -> None:
        with closing(sqlite3.connect(f"file:{ledger.path}?mode=ro", uri=True)) as found:
            heard.append((sequence, found.execute("SELECT max(sequence) FROM records").fetchone()[0]))
        told.set()

    ledger.spool.listen(listen)
    ledger.write(records=3)
    assert told.wait(WAIT_S)
    assert heard == [(3, 3)]


def test_a_fire_time_taken_twice_stops_the_spool_for_good(ledger: Ledger) -> None:
    """It means that a rule of ours is broken; the disk alone says what is true."""
    ledger.write(rows.mark_fire("sch_1", 1, FireState.STARTED))
    with pytest.raises(OutriderError):
        ledger.write(rows.mark_fire("sch_1", 1, FireState.STARTED))
    assert ledger.spool.problem is not None
    with pytest.raises(OutriderError):
        ledger.write()
    assert ledger.spool.durable().sequence == 1, "the record beside the second mark is not there either"
    ledger.spool.close()  # its thread tells who waits first, and then that it is broken
    assert len(ledger.broken) == 1
    ledger.open()


def test_a_full_spool_refuses_and_keeps_what_the_server_does_not_have(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spool.sqlite", SMALL_BYTES)
    with closing(ledger.spool):
        with pytest.raises(UnavailableError, match="full"):
            ledger.fill()
        assert ledger.spool.problem is not None
        assert ledger.path.stat().st_size <= SMALL_BYTES
        kept = ledger.spool.durable().sequence
        assert kept >= 5
        assert len(ledger.spool.read(0, 100, 1 << 30)) == kept


def test_acknowledged_records_make_room_in_a_full_spool(tmp_path: Path) -> None:
    """A host whose disk is small goes on as long as its server listens."""
    ledger = Ledger(tmp_path / "spool.sqlite", SMALL_BYTES)
    with closing(ledger.spool):
        for _ in range(100):
            ledger.write(padding=20_000)
            ledger.spool.acknowledge(ledger.chain.next_sequence - 1)
        assert ledger.spool.durable().sequence == 100
        assert ledger.spool.hash_of(99) is not None, "the newest acknowledged one proves the chain"


def test_a_spool_that_was_full_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """What had to wait is written then, in its place."""
    ledger = Ledger(tmp_path / "spool.sqlite", SMALL_BYTES)
    with closing(ledger.spool):
        with pytest.raises(UnavailableError):
            ledger.fill()
        newest = ledger.chain.next_sequence - 1
        written = threading.Event()
        ledger.spool.listen(lambda sequence, _: written.set() if sequence == newest else None)
        ledger.spool.acknowledge(ledger.spool.durable().sequence)
        assert written.wait(WAIT_S)
        ledger.write()
        assert ledger.spool.problem is None
        assert ledger.spool.durable().sequence == newest + 1


def test_what_the_server_acknowledged_is_remembered(ledger: Ledger) -> None:
    ledger.write(records=4)
    ledger.spool.acknowledge(3)
    ledger.spool.acknowledge(2)
    ledger.restart()
    assert ledger.spool.acknowledged == 3
