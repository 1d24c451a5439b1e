"""The database: commands in order, many in one commit, each undone alone, and nobody told of what is not on disk."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import pytest
from headquarters import Headquarters
from sqlalchemy import Connection, create_engine, insert, inspect, select, text

from protocol.errors import ConflictError, InternalError, UnavailableError
from server import clock, limits
from server.store.database import MIGRATIONS, READERS, READING_FOR, Database
from server.store.tables import meta, metadata


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    path = tmp_path / "server.sqlite"
    path.write_bytes(empty_database.read_bytes())
    opened = Database(path)
    yield opened
    opened.close()


class Gate:
    """A command that holds the writer until it is opened, so that what is queued behind it becomes one group."""

    def __init__(self, database: Database) -> None:
        self._open = threading.Event()
        self._reached = threading.Event()
        self._future = database.submit(self._wait)

    def _wait(self, _: Connection) -> None:
        self._reached.set()
        assert self._open.wait(60)

    def reached(self) -> Gate:
        assert self._reached.wait(60)
        return self

    def open(self) -> None:
        self._open.set()


def begun_keys(connection: Connection) -> set[str]:
    return set(connection.execute(select(meta.c.key)).scalars())


async def test_who_reads_what_was_told_waits_for_it(database: Database) -> None:
    """And for nothing that is told later, so that no reader waits for ever."""
    gate = Gate(database).reached()
    told = database.begin_told(put("a"))
    reading = asyncio.create_task(database.read(begun_keys))
    await asyncio.sleep(0)
    later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    database._told_ahead.add(later)
    gate.open()
    assert "a" in await reading
    assert told.done()
    database._told_ahead.discard(later)
    await asyncio.sleep(0)
    assert not database.is_behind


async def test_what_was_told_and_failed_holds_nobody_up(database: Database) -> None:
    told = database.begin_told(lambda _: 1 // 0)
    await database.read(begun_keys)
    with pytest.raises(ZeroDivisionError):
        await told
    assert not database.is_behind


def put(key: str, value: str = "v") -> Any:
    return lambda connection: connection.execute(insert(meta).values(key=key, value=value)).rowcount


def keys(database: Database) -> list[str]:
    found = database.read_now(lambda c: c.execute(select(meta.c.key).order_by(meta.c.key)).scalars().all())
    return list(found)


def commits(path: Path) -> int:
    """Return how often the write-ahead log was committed to: its frames that hold a size (sqlite.org/fileformat2)."""
    raw = Path(f"{path}-wal").read_bytes()
    page_bytes = int.from_bytes(raw[8:12], "big")
    frames = range(32, len(raw) - page_bytes - 23, page_bytes + 24)
    return sum(1 for at in frames if raw[at + 4 : at + 8] != bytes(4) and raw[at + 8 : at + 16] == raw[16:24])


def test_many_commands_share_one_commit(database: Database, tmp_path: Path) -> None:
    """A commit waits for the disk; a thousand agents that return at once must not wait a thousand times."""
    gate = Gate(database).reached()
    futures = [database.submit(put(f"k{number:03}")) for number in range(100)]
    before = commits(tmp_path / "server.sqlite")
    gate.open()
    assert [future.result(60) for future in futures] == [1] * 100
    assert commits(tmp_path / "server.sqlite") - before == 1
    assert len(keys(database)) == 100


def test_a_group_is_bounded(database: Database, tmp_path: Path) -> None:
    gate = Gate(database).reached()
    count = limits.MAX_WRITES_PER_GROUP + 1
    futures = [database.submit(put(f"k{number:03}")) for number in range(count)]
    before = commits(tmp_path / "server.sqlite")
    gate.open()
    assert all(future.result(60) == 1 for future in futures)
    assert commits(tmp_path / "server.sqlite") - before == 2


def test_commands_run_in_the_order_they_came(database: Database) -> None:
    gate = Gate(database).reached()
    seen: list[int] = []
    futures = [database.submit(lambda _, number=number: seen.append(number)) for number in range(500)]
    gate.open()
    for future in futures:
        future.result(60)
    assert seen == list(range(500))


def test_a_command_that_raises_undoes_only_itself(database: Database) -> None:
    def half(connection: Connection) -> None:
        put("half")(connection)
        raise ConflictError("no")

    gate = Gate(database).reached()
    first, middle, last = database.submit(put("a")), database.submit(half), database.submit(put("z"))
    gate.open()
    assert (first.result(60), last.result(60)) == (1, 1)
    with pytest.raises(ConflictError):
        middle.result(60)
    assert keys(database) == ["a", "z"]


def test_what_the_database_refuses_is_ours_and_tells_nothing(database: Database) -> None:
    database.submit(put("a")).result(60)
    gate = Gate(database).reached()
    twice, other = database.submit(put("a", "hunter2")), database.submit(put("b"))
    gate.open()
    with pytest.raises(InternalError) as caught:
        twice.result(60)
    assert "hunter2" not in caught.value.message
    assert other.result(60) == 1


def test_nobody_hears_of_a_command_before_its_commit(database: Database) -> None:
    """Who was told that a record is durable lets go of his own copy."""
    gate = Gate(database).reached()
    done = database.submit(put("a"))
    behind = Gate(database)
    gate.open()
    behind.reached()
    assert not done.done(), "it has run, but its group is still open"
    assert keys(database) == []
    behind.open()
    assert done.result(60) == 1
    assert keys(database) == ["a"]


def full(connection: Connection) -> None:
    """As on a full disk: SQLite undoes the whole transaction by itself."""
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    connection.execute(insert(meta).values(key="big", value="x" * (1 << 20)))


def roomy(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count=1073741823")


def test_a_full_disk_is_told_to_all_of_the_group_and_nothing_of_it_happened(database: Database) -> None:
    """The commands before the one that met the full disk are gone with it, and must not be told that they are kept."""
    gate = Gate(database).reached()
    futures = [database.submit(each) for each in (put("a"), full, put("b"))]
    gate.open()
    for future in futures:
        with pytest.raises(UnavailableError):
            future.result(60)
    assert keys(database) == []
    database.submit(roomy).result(60)
    assert database.submit(put("c")).result(60) == 1, "and it goes on once there is room"
    assert keys(database) == ["c"]


def test_a_commit_that_fails_is_told_to_all_of_the_group(database: Database, tmp_path: Path) -> None:
    """Somebody holds the file: nobody is told that his command is kept."""
    database.submit(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=1")).result(60)  # or it waits for seconds
    other = sqlite3.connect(tmp_path / "server.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for future in [database.submit(put(key)) for key in "ab"]:
        with pytest.raises(UnavailableError, match="locked"):
            future.result(30)
    other.execute("ROLLBACK")
    other.close()
    assert database.submit(put("c")).result(60) == 1
    assert keys(database) == ["c"]


async def test_a_reader_sees_one_moment_however_often_it_looks(database: Database) -> None:
    """Verifying a chain takes many looks; records that arrive meanwhile must not show as tampering."""

    def look(connection: Connection) -> list[int]:
        found = []
        for key in ("a", "b", "c"):
            found.append(len(connection.execute(select(meta.c.key)).all()))
            database.submit(put(key)).result(60)
        return found

    assert await database.read(look) == [0, 0, 0]
    assert keys(database) == ["a", "b", "c"]


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    gate = Gate(database).reached()
    async with asyncio.timeout(60):
        assert await database.read(lambda c: c.execute(select(meta.c.key)).all()) == []
    gate.open()


async def test_who_gives_up_waiting_stops_no_command(database: Database) -> None:
    gate = Gate(database).reached()
    waiting = asyncio.create_task(database.write(put("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open()
    await database.write(put("b"))
    assert keys(database) == ["a", "b"]


async def test_too_many_waiting_commands_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; the caller hears at once that the disk does not keep up."""
    monkeypatch.setattr(limits, "MAX_PENDING_WRITES", 3)
    gate = Gate(database).reached()
    futures = [database.submit(put(key)) for key in "abc"]
    with pytest.raises(UnavailableError, match="too much waits"):
        await database.write(put("d"))
    gate.open()
    assert [future.result(60) for future in futures] == [1, 1, 1]
    assert keys(database) == ["a", "b", "c"]


def test_closing_writes_what_waits_and_takes_no_more(database: Database, tmp_path: Path) -> None:
    gate = Gate(database).reached()
    waiting = [database.submit(put(key)) for key in "ab"]
    gate.open()
    database.close()
    assert [future.result(0) for future in waiting] == [1, 1]
    with pytest.raises(UnavailableError, match="ending"):
        database.submit(put("c"))
    database.close()
    again = Database(tmp_path / "server.sqlite")
    assert keys(again) == ["a", "b"]
    again.close()


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    Database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_commit_reaches_the_disk(database: Database) -> None:
    """``synchronous=NORMAL`` would lose acknowledged records when the power goes."""
    settings = database.submit(
        lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    ).result(60)
    assert settings == ["wal", 2]


def test_the_steps_lead_to_the_tables_that_the_code_knows(database: Database) -> None:
    """A column that is only in one of the two would fail on the first host that upgrades."""

    def look(connection: Connection) -> dict[str, Any]:
        found = inspect(connection)
        return {
            table: (
                {column["name"]: bool(column["nullable"]) for column in found.get_columns(table)},
                {index["name"]: index["column_names"] for index in found.get_indexes(table)},
                sorted(tuple(unique["column_names"]) for unique in found.get_unique_constraints(table)),
                found.get_pk_constraint(table)["constrained_columns"],
            )
            for table in found.get_table_names()
            if table != "alembic_version"
        }

    made = database.read_now(look)
    assert set(made) == set(metadata.tables)
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        assert made == look(connection)
    engine.dispose()


def shipped(path: Path, steps: list[tuple[str, str]]) -> list[int]:
    """Upgrade a database step by step, each followed by a statement; return the dates of the shipped grants."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        for revision, statement in steps:
            alembic.command.upgrade(config, revision)
            connection.execute(text(statement))
        connection.commit()
        query = "SELECT created_us FROM access_grants WHERE principal = 'outrider-server'"
        found = list(connection.execute(text(query)).scalars())
    engine.dispose()
    return found


def test_shipped_grants_have_the_date_of_a_new_database(tmp_path: Path) -> None:
    before_us = clock.now_us()
    dates = shipped(tmp_path / "new.sqlite", [("head", "SELECT 1")])
    assert len(dates) == 3
    assert all(before_us <= date <= clock.now_us() for date in dates)


RECORD = (
    "INSERT INTO records (agent, sequence, blob, hash, time_us, kind, call, run)"
    " VALUES ('server', 1, x'00', x'00', 5000, 'event', 'x', '')"
)
GRANT = (
    "INSERT INTO access_grants (id, who, scope, reason, principal, created_us)"
    " VALUES ('a_1', 'tom', '{}', '', 'admin', 4000)"
)


@pytest.mark.parametrize(("statement", "date_us"), [(RECORD, 5000), (GRANT, 4000)])
def test_shipped_grants_of_an_older_database_hold_from_its_beginning(
    tmp_path: Path, statement: str, date_us: int
) -> None:
    """And stay the oldest, as lists have them."""
    assert shipped(tmp_path / "old.sqlite", [("0017", statement), ("head", "SELECT 1")]) == [date_us] * 3


# later ----------------------------------------------------------------------------------------------------------------


async def test_what_nobody_waits_for_shares_the_commit_of_the_next_command(database: Database, tmp_path: Path) -> None:
    """And comes before it: a command finds what was put off earlier."""
    path = tmp_path / "server.sqlite"
    await database.write(put("a"))
    before = commits(path)
    later = database.submit_later(put("b"))
    seen = await database.write(lambda c: c.execute(select(meta.c.key).where(meta.c.key == "b")).scalar())
    assert (seen, later.result(60)) == ("b", 1)
    assert commits(path) == before + 1


async def test_what_nobody_waits_for_is_written_although_nothing_follows(database: Database) -> None:
    assert await asyncio.wrap_future(database.submit_later(put("a"))) == 1
    assert keys(database) == ["a"]


async def test_what_nobody_waits_for_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its time in memory, so at some number it is written at once."""
    monkeypatch.setattr(limits, "LATER_S", 3600.0)
    monkeypatch.setattr(limits, "MAX_WRITES_PER_GROUP", 3)
    later = [database.submit_later(put(name)) for name in "abc"]
    assert [future.result(60) for future in later] == [1, 1, 1]


async def test_closing_writes_what_was_put_off(tmp_path: Path, empty_database: Path) -> None:
    path = tmp_path / "server.sqlite"
    path.write_bytes(empty_database.read_bytes())
    opened = Database(path)
    later = opened.submit_later(put("a"))
    opened.close()
    assert later.result(0) == 1
    with pytest.raises(UnavailableError):
        opened.submit_later(put("b")).result(0)


async def test_what_was_put_off_and_fails_takes_nothing_with_it(database: Database) -> None:
    await database.write(put("a"))
    later = database.submit_later(put("a"))
    assert await database.write(put("b")) == 1
    with pytest.raises(InternalError):
        later.result(60)
    assert keys(database) == ["a", "b"]


# turns ----------------------------------------------------------------------------------------------------------------


async def test_whoever_asks_for_very_much_waits_for_themselves(database: Database) -> None:
    """A burst of five hundred long lists by one token had everybody wait two minutes for the simplest look."""
    may_end, may_follow, begun = threading.Event(), threading.Event(), itertools.count()

    def slow(_: Connection) -> None:
        assert (may_end if next(begun) < READERS else may_follow).wait(60)

    async def ask(whose: str | None, query: Callable[[Connection], None]) -> None:
        READING_FOR.set(whose)
        await database.read(query)

    flood = [asyncio.create_task(ask("tom", slow)) for _ in range(10 * READERS)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(ask(whose, lambda _: None)) for whose in ("ann", None, "eva")]
    await asyncio.sleep(0)
    may_end.set()
    try:
        await asyncio.wait_for(asyncio.gather(*others), 30)  # behind what was begun, however long what is next takes
    finally:
        may_follow.set()
        await asyncio.gather(*flood)


async def test_what_the_server_does_by_itself_is_read_for_nobody(server: Headquarters) -> None:
    READING_FOR.set("tom")
    found = []

    async def work() -> None:
        found.append(READING_FOR.get())

    await server.core.background(work())
    assert (found, READING_FOR.get()) == ([None], "tom")
