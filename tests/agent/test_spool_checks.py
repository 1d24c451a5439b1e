"""A spool that somebody changed by hand: each change is told as what it is, and nothing is done by it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from agent import limits, rows
from agent.rows import FireState, Stored, Write
from agent.spool import Spool
from agent.spool_checks import counted, moment, octets, text
from protocol.errors import LedgerError, OutriderError, UnavailableError
from protocol.ledger import Chain

WAIT_S = 60.0
RECORDS = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool with something in each table, which nobody has open."""
    made = tmp_path / "spool.sqlite"
    with closing(opened(made)) as spool:
        chain = Chain()
        records = tuple(Stored(*chain.append(kind="event", time_us=1, mono_us=1), 1) for _ in range(RECORDS))
        statements = (
            rows.put_schedule("sch_1", b"body", 1), rows.mark_fire("sch_1", 60, FireState.QUEUED),
            rows.open_run("run_1", b"about", 5), rows.set_meta("acknowledged", b"3"),
            rows.set_meta("schedules_version", b"2"),
        )  # fmt: skip
        spool.submit_waited(Write(records, statements)).result(WAIT_S)
    return made


def opened(path: Path) -> Spool:
    return Spool.open(path, on_broken=lambda _: None, retry_s=0.001)


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as found:
        found.executescript(sql)


def use(path: Path) -> None:
    """Open it and read what an agent reads when it starts."""
    with closing(opened(path)) as spool:
        spool.open_runs()
        spool.schedules()
        spool.queued_fires()
        counted(spool.meta("schedules_version"), "the version")
        spool.hash_of(spool.acknowledged)
        spool.read(spool.acknowledged, 100, 1 << 20)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE meta SET value = 'x' WHERE key = 'acknowledged'", "acknowledged is no bytes"),
        ("UPDATE meta SET value = x'ff' WHERE key = 'acknowledged'", "acknowledged is no number"),
        ("UPDATE meta SET value = x'2d31' WHERE key = 'acknowledged'", "acknowledged is no number"),
        ("UPDATE meta SET value = x'' WHERE key = 'acknowledged'", "acknowledged is no number"),
        ("UPDATE meta SET value = 5 WHERE key = 'acknowledged'", "acknowledged is no bytes"),
        ("UPDATE meta SET value = CAST('9' AS BLOB) WHERE key = 'acknowledged'", "records are missing"),
        ("UPDATE meta SET value = 'x' WHERE key = 'schedules_version'", "schedules_version is no bytes"),
        ("UPDATE records SET hash = 'x' WHERE sequence = 8", "hash of record 8 is no bytes"),
        ("UPDATE records SET hash = 99999999999 WHERE sequence = 8", "hash of record 8 is no bytes"),
        ("UPDATE records SET hash = x'00' WHERE sequence = 8", "hash of record 8 is none"),
        ("UPDATE records SET hash = zeroblob(32) WHERE sequence = 3", ""),  # of no effect: nobody goes by it
        ("UPDATE records SET blob = 'x' WHERE sequence = 8", "record 8 is no bytes"),
        ("UPDATE records SET blob = 5 WHERE sequence = 4", "record 4 is no bytes"),
        ("UPDATE records SET sequence = -1 WHERE sequence = 1", "number -1"),
        ("UPDATE records SET sequence = 9223372036854775807 WHERE sequence = 8", "number 9223372036854775807"),
        ("UPDATE records SET sequence = 9 WHERE sequence = 8", "record 8 is missing"),
        ("UPDATE records SET sequence = -sequence; UPDATE records SET sequence = 9 + sequence", "record 1 is missing"),
        ("DELETE FROM records", "records are missing"),
        ("DELETE FROM records WHERE sequence > 2", "records are missing"),
        ("DELETE FROM records WHERE sequence < 8; UPDATE records SET blob = x'00'", "record 8 cannot be read"),
        ("DELETE FROM records WHERE sequence < 8; UPDATE records SET hash = zeroblob(32)", "record 8 is not the one"),
        ("DELETE FROM records WHERE sequence < 8; UPDATE records SET sequence = 7", "record 7 is not the one"),
        ("DELETE FROM records WHERE sequence = 5", "record 5 is missing"),
        ("UPDATE schedules SET body = 'x'", "schedule 'sch_1' is no bytes"),
        ("UPDATE schedules SET body = 5", "schedule 'sch_1' is no bytes"),
        ("UPDATE schedules SET decided_us = 'x'", "is no time"),
        ("UPDATE schedules SET decided_us = 9223372036854775807", "is no time"),
        ("UPDATE schedules SET decided_us = -1", "is no time"),
        ("UPDATE schedules SET id = x'00'", "no text"),
        ("UPDATE fires SET fire_us = 'x'", "is no time"),
        ("UPDATE fires SET fire_us = 9223372036854775807", "is no time"),
        ("UPDATE fires SET schedule = x'00'", "no text"),
        ("UPDATE runs SET about = 'x'", "run 'run_1' is no bytes"),
        ("UPDATE runs SET run = x'00'", "no text"),
        ("UPDATE runs SET started_us = 'x'", "is no time"),
        ("DROP TABLE fires", "lacks what every agent makes: CREATE TABLE fires"),
        ("DROP TABLE meta", "lacks"), ("DROP TABLE records", "lacks"), ("DROP INDEX open_runs", "lacks"),
        ("ALTER TABLE runs RENAME COLUMN about TO other", "lacks"),
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM fires; END", "no agent made: CREATE TRIGGER"),
        ("CREATE TRIGGER t BEFORE INSERT ON fires BEGIN SELECT RAISE(IGNORE); END", "no agent made: CREATE TRIGGER"),
        ("DROP TABLE nonces; CREATE VIEW nonces AS SELECT 'x' AS nonce, 1 AS expires_us", "makes: CREATE TABLE nonces"),
        ("PRAGMA user_version = 0", "already exists"),
    ],
)  # fmt: skip
def test_what_somebody_changed_is_told(path: Path, sql: str, says: str, descriptors_kept: None) -> None:
    """A trigger that forgets marks would have schedules run twice; a value of the wrong type end the agent who knows
    where, every two seconds.
    """
    change(path, sql)
    if not says:
        use(path)
        return
    with pytest.raises((LedgerError, UnavailableError)) as caught:
        use(path)
    assert says in caught.value.message


def test_what_the_server_does_not_have_is_checked_however_old_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that was away for a month has more of it than the newest records, and would send it changed."""
    monkeypatch.setattr(limits, "VERIFY_AT_START_RECORDS", 2)
    change(path, "UPDATE records SET blob = x'00' WHERE sequence = 4")
    with pytest.raises(LedgerError, match="record 4 cannot be read"):
        use(path)
    change(path, "UPDATE meta SET value = CAST('5' AS BLOB) WHERE key = 'acknowledged'")
    use(path)  # the server has it as it was


def test_no_more_is_checked_than_a_start_may_take(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_AT_START_RECORDS", 2)
    monkeypatch.setattr(limits, "VERIFY_AT_START_MOST_RECORDS", 3)
    change(path, "UPDATE records SET blob = x'00' WHERE sequence = 5")
    use(path)
    change(path, "UPDATE records SET blob = x'00' WHERE sequence = 6")
    with pytest.raises(LedgerError, match="record 6"):
        use(path)


def test_what_is_missing_is_never_passed_over_when_it_is_sent(path: Path) -> None:
    """The records behind the gap would take the places of those that are gone."""
    with closing(opened(path)) as spool:
        change(path, "DELETE FROM records WHERE sequence = 5")
        assert len(spool.read(3, 1, 1 << 20)) == 1
        with pytest.raises(LedgerError, match="record 5 is missing") as caught:
            spool.read(3, 100, 1 << 20)
        assert caught.value.sequence == 5


@pytest.mark.parametrize("kept", [0, 100, 4096, 6000])
def test_a_file_that_was_cut_short_is_told(path: Path, kept: int, descriptors_kept: None) -> None:
    """An empty one is a new spool, which the server's copy shows to be one that lost everything."""
    with path.open("r+b") as file:
        file.truncate(kept)
    if kept == 0:
        use(path)
    else:
        with pytest.raises(OutriderError):
            use(path)


@pytest.mark.parametrize("offset", range(0, 16_384, 512))
def test_bytes_that_were_changed_break_nothing_but_the_spool(path: Path, offset: int, descriptors_kept: None) -> None:
    """Wherever they are: it opens as it was, or says what is wrong."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(range(255, 223, -1)))
    with suppress(OutriderError, sqlite3.DatabaseError):  # the latter of a page that is read later: the agent ends
        use(path)


def test_what_else_may_lie_in_its_place_is_told(path: Path, tmp_path: Path, descriptors_kept: None) -> None:
    for name, make in {
        "folder": lambda at: at.mkdir(), "pipe": lambda at: subprocess.run(["mkfifo", at], check=True),
        "other": lambda at: change(at, "CREATE TABLE x (y); PRAGMA user_version = 1"),
        "link": lambda at: at.symlink_to(path), "nowhere": lambda at: at.symlink_to(tmp_path / "made by a link"),
    }.items():  # fmt: skip
        at = tmp_path / name
        make(at)
        with pytest.raises(UnavailableError) as caught:
            use(at)
        assert (
            name in caught.value.message or "agent makes" in caught.value.message or "no agent" in caught.value.message
        )
    assert not (tmp_path / "made by a link").exists()
    use(path)


@contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """A file system of its own, if the tests run as somebody who may make one."""
    at.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at], capture_output=True)
    if done.returncode:
        pytest.skip("needs to mount")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_a_disk_that_is_full_or_read_only_refuses_and_is_told(path: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=256k") as disk:
        shutil.copy(path, disk / "spool.sqlite")
        chain = Chain()
        with closing(opened(path)) as source:
            blobs = source.read(0, 100, 1 << 20)
        chain.next_sequence, chain.previous = len(blobs) + 1, _head(path)
        with closing(opened(disk / "spool.sqlite")) as spool:
            with pytest.raises(UnavailableError, match=r"full|disk I/O error"):
                _fill(spool, chain)
            assert spool.problem is not None
            assert not spool.has_room
            newest = spool.durable().sequence
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(UnavailableError, match=r"spool\.sqlite"):
            opened(disk / "spool.sqlite")
        subprocess.run(["mount", "-o", "remount,rw,size=2m", disk], check=True)
        with closing(opened(disk / "spool.sqlite")) as spool:
            assert spool.head.sequence >= newest, "what was durable is there, as a chain"


def _fill(spool: Spool, chain: Chain) -> None:
    for _ in range(50):
        made = Stored(*chain.append(kind="event", time_us=1, mono_us=1, data={"x": bytes(20_000)}), 1)
        spool.submit_waited(Write((made,))).result(WAIT_S)


def _head(path: Path) -> bytes:
    with closing(opened(path)) as spool:
        return spool.head.hash


@pytest.mark.parametrize("read", [octets, text, moment])
def test_nothing_is_taken_for_what_it_is_not(read: object) -> None:
    assert callable(read)
    for value in (None, 1.5, True, [], -1, 1 << 62):
        with pytest.raises(UnavailableError, match="the thing"):
            read(value, "the thing")


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b" 1", b"9" * 30, "\u0663".encode(), b"1_0", b"9007199254740992"])
def test_a_number_is_digits(value: bytes) -> None:
    with pytest.raises(UnavailableError, match="the thing is no number"):
        counted(value, "the thing")


def test_a_number_that_was_never_kept_is_none_yet() -> None:
    assert (counted(None, "x"), counted(b"0", "x"), counted(b"12", "x")) == (0, 0, 12)
