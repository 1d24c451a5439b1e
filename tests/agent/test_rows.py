"""Statements that must fail on the second use, on a real database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from agent import limits, rows
from agent.rows import FireState, Statement


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in rows.SCHEMA:
        connection.execute(statement)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [rows.open_run("r", b"", 1), rows.mark_fire("s", 1, FireState.STARTED), rows.use_nonce("n", 1)],
    ids=["run", "fire", "nonce"],
)
def test_nothing_is_taken_twice(database: sqlite3.Connection, statement: Statement) -> None:
    database.execute(*statement)
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(*statement)


def test_a_schedule_that_is_set_again_keeps_its_place(database: sqlite3.Connection) -> None:
    database.execute(*rows.put_schedule("s", b"one", 5))
    database.execute(*rows.advance_schedule("s", 9))
    database.execute(*rows.put_schedule("s", b"two", 5))
    assert database.execute("SELECT body, decided_us FROM schedules").fetchall() == [(b"two", 9)]


def test_only_a_queued_fire_time_is_settled(database: sqlite3.Connection) -> None:
    database.execute(*rows.mark_fire("s", 1, FireState.SKIPPED))
    database.execute(*rows.mark_fire("s", 2, FireState.QUEUED))
    for fire_us in (1, 2):
        database.execute(*rows.settle_fire("s", fire_us, FireState.STARTED))
    assert database.execute("SELECT state FROM fires ORDER BY fire_us").fetchall() == [("skipped",), ("started",)]


def test_trimming_keeps_what_proves_the_chain(database: sqlite3.Connection) -> None:
    for sequence in range(1, 11):
        database.execute(rows.INSERT_RECORDS[1], (sequence, b"x", b"h", sequence * 10))
    database.execute(*rows.trim_records(through=6, before_us=1000, at_most=3))
    assert [row[0] for row in database.execute("SELECT sequence FROM records")] == [4, 5, 6, 7, 8, 9, 10]
    database.execute(*rows.trim_records(through=6, before_us=1000, at_most=100))
    assert [row[0] for row in database.execute("SELECT sequence FROM records")] == [6, 7, 8, 9, 10]


def test_what_is_old_is_forgotten_and_what_is_open_is_not(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OLD_NONCES", 1)
    for statement in (
        rows.open_run("open", b"", 1), rows.open_run("ended", b"", 1), rows.close_run("ended", 5),
        rows.mark_fire("s", 1, FireState.STARTED), rows.mark_fire("s", 2, FireState.QUEUED), rows.use_nonce("n", 5),
        rows.use_nonce("expired a while ago", 15),
    ):  # fmt: skip
        database.execute(*statement)
    for statement in rows.forget(marks_before_us=10, runs_before_us=10):
        database.execute(*statement)
    assert database.execute("SELECT run FROM runs").fetchall() == [("open",)]
    assert database.execute("SELECT fire_us FROM fires").fetchall() == [(2,)]
    assert database.execute("SELECT nonce FROM nonces").fetchall() == [("expired a while ago",)]


def test_used_orders_are_kept_whatever_the_clock_says_as_long_as_they_are_few(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is years ahead for a day must make no order good twice; the newest are what it could."""
    monkeypatch.setattr(limits, "MAX_OLD_NONCES", 3)
    for number in range(3):
        database.execute(*rows.use_nonce(f"n{number}", number))
    years = 10**15
    for statement in rows.forget(marks_before_us=years, runs_before_us=years):
        database.execute(*statement)
    assert database.execute("SELECT count(*) FROM nonces").fetchone() == (3,)
    for number in range(3, 9):
        database.execute(*rows.use_nonce(f"n{number}", number))
    for statement in rows.forget(marks_before_us=years, runs_before_us=years):
        database.execute(*statement)
    assert database.execute("SELECT nonce FROM nonces ORDER BY nonce").fetchall() == [("n6",), ("n7",), ("n8",)]
    for statement in rows.forget(marks_before_us=0, runs_before_us=0):
        database.execute(*statement)
    assert database.execute("SELECT count(*) FROM nonces").fetchone() == (3,)
