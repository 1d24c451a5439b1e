"""Prepared statements: the same rows and errors as SQLAlchemy gives, and nothing of a look stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, bindparam, create_engine, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from server.store.prepared import Prepared
from server.store.tables import agents, metadata, tokens

BY_ID = select(tokens).where(tokens.c.id == bindparam("wanted"))
ADD = Prepared(insert(tokens), "id", "hash", "principal", "roles", "created_us", "expires_us")
ROW: dict[str, Any] = {
    "id": "a", "hash": b"\x00\xff", "principal": "mia", "roles": ["viewer", "é"], "created_us": 1, "expires_us": 2**60,
}  # fmt: skip


def opened(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
    metadata.create_all(engine)
    return engine


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = opened(tmp_path / "db")
    with engine.connect() as made:
        yield made
    engine.dispose()


def test_a_row_is_what_sqlalchemy_makes_of_it(connection: Connection) -> None:
    """Bytes, JSON and NULL among them."""
    ADD.add(connection, [ROW])
    row = Prepared(BY_ID).first(connection, wanted="a")
    assert row._asdict() == dict(connection.execute(BY_ID, {"wanted": "a"}).one()._mapping)
    assert (row.roles, row.hash, row.revoked_us) == (["viewer", "é"], b"\x00\xff", None)


def test_a_boolean_and_an_object_go_in_and_out(connection: Connection) -> None:
    columns = ("id", "name", "public_key", "hostname", "labels", "facts", "created_us", "schedules_version", "frozen",
               "freeze_reason", "last_sequence", "last_hash")  # fmt: skip
    values: dict[str, Any] = dict.fromkeys(columns, "x") | {
        "labels": {"env": "prod"}, "facts": {}, "created_us": 1, "schedules_version": 0, "frozen": True,
        "last_sequence": 0, "last_hash": b"h",
    }  # fmt: skip
    Prepared(insert(agents), *columns).add(connection, [values])
    (row,) = Prepared(select(agents.c.frozen, agents.c.labels)).all(connection)
    assert (row.frozen, row.labels) == (True, {"env": "prod"})


def test_none_and_many(connection: Connection) -> None:
    assert Prepared(BY_ID).first(connection, wanted="a") is None
    assert Prepared(select(tokens.c.id)).all(connection) == []
    ADD.add(connection, [ROW | {"id": name, "hash": name.encode()} for name in "cab"])
    assert [row.id for row in Prepared(select(tokens.c.id).order_by(tokens.c.id)).all(connection)] == ["a", "b", "c"]


def test_a_change_tells_how_many_rows(connection: Connection) -> None:
    ADD.add(connection, [ROW])
    end = Prepared(update(tokens).where(tokens.c.id == bindparam("wanted")).values(revoked_us=bindparam("at_us")))
    assert [end.change(connection, wanted=name, at_us=7) for name in ("a", "b")] == [1, 0]
    assert Prepared(BY_ID).first(connection, wanted="a").revoked_us == 7


def test_values_that_stand_in_the_statement(connection: Connection) -> None:
    ADD.add(connection, [ROW, ROW | {"id": "b", "hash": b"b", "principal": "tom"}])
    found = Prepared(select(tokens.c.id).where(tokens.c.principal == "tom", tokens.c.id == bindparam("wanted")))
    assert [found.first(connection, wanted=name) for name in ("a", "b")] == [None, ("b",)]


def test_a_value_that_is_missing_is_an_error(connection: Connection) -> None:
    """Never a silent NULL."""
    with pytest.raises(KeyError):
        Prepared(BY_ID).first(connection)


def test_errors_are_those_of_sqlalchemy(connection: Connection) -> None:
    """Who catches them need not know how a statement was run."""
    ADD.add(connection, [ROW])
    with pytest.raises(IntegrityError):
        ADD.add(connection, [ROW])
    metadata.drop_all(connection)
    with pytest.raises(OperationalError):
        Prepared(BY_ID).first(connection, wanted="a")


def test_a_look_leaves_no_view_of_the_database_open(connection: Connection, tmp_path: Path) -> None:
    """Or the kept connection of the loop would never see that a token was revoked, or a script withdrawn."""
    ADD.add(connection, [ROW | {"id": name, "hash": name.encode()} for name in "ab"])
    any_one = Prepared(select(tokens.c.id, tokens.c.revoked_us).order_by(tokens.c.id))
    other = opened(tmp_path / "db")
    with other.connect() as writer:
        for moment in (1, 2):
            assert any_one.first(connection).revoked_us == (None if moment == 1 else 1)
            writer.execute(update(tokens).values(revoked_us=moment))
    other.dispose()


def test_one_statement_serves_several_databases(connection: Connection, tmp_path: Path) -> None:
    found = Prepared(BY_ID)
    ADD.add(connection, [ROW])
    other = opened(tmp_path / "other")
    with other.connect() as second:
        for at, name in ((connection, "a"), (second, None), (connection, "a")):
            row = found.first(at, wanted="a")
            assert (row.id if row else None) == name
    other.dispose()
