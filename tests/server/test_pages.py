"""Lists page by page: nothing twice, nothing left out, whatever is added meanwhile, and no cursor does harm."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.engine import Connection

from protocol.errors import ArgumentError
from server import limits
from server.api.pages import Order, Page, make_cursor, page, read_cursor, rendered, slice_of

LISTS = ("/agents", "/scripts", "/reviews", "/schedules", "/runs", "/records")
KINDS: dict[str, list[type]] = {
    "/agents": [str], "/scripts": [str, int], "/reviews": [int, str], "/schedules": [int, str], "/runs": [int],
    "/records": [int],
}  # fmt: skip

numbers = Table(
    "numbers", MetaData(), Column("id", Integer, primary_key=True), Column("word", String), Column("time", BigInteger)
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        numbers.metadata.create_all(opened)
        yield opened
    engine.dispose()


def add(connection: Connection, *identities: int) -> None:
    rows = [{"id": number, "word": f"w{number % 3}", "time": number // 2} for number in identities]
    connection.execute(insert(numbers), rows)


def walk(connection: Connection, order: Order, limit: int, between: Any = None) -> list[int]:
    found: list[int] = []
    cursor = None
    while True:
        rows, cursor = page(connection, select(numbers), order, limit, cursor)
        assert 0 < len(rows) <= limit or not found, "an empty page is never promised"
        found += [row.id for row in rows]
        if cursor is None:
            return found
        if between is not None:
            between()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("columns", [("id",), ("word", "id"), ("time", "id"), ("word", "time", "id")])
@pytest.mark.parametrize("limit", [1, 2, 6, 7, 8, 100])
def test_every_item_comes_once_in_order(
    connection: Connection, columns: tuple[str, ...], limit: int, descending: bool
) -> None:
    add(connection, *range(1, 8))
    order = Order(tuple(numbers.c[name] for name in columns), descending)
    keys = {
        number: tuple({"id": number, "word": f"w{number % 3}", "time": number // 2}[n] for n in columns)
        for number in range(1, 8)
    }
    assert walk(connection, order, limit) == sorted(range(1, 8), key=lambda number: keys[number], reverse=descending)


def test_what_is_added_between_two_pages_moves_nothing(connection: Connection) -> None:
    """With an offset in the place of a cursor a new run would show the last one of the page again."""
    add(connection, *range(10, 20))
    newest = iter(range(100, 200))
    found = walk(connection, Order((numbers.c.id,), descending=True), 3, lambda: add(connection, next(newest)))
    assert found == list(range(19, 9, -1))


def test_what_is_added_ahead_is_seen(connection: Connection) -> None:
    add(connection, *range(10, 20))
    newest = iter(range(100, 103))

    def one_more() -> None:
        number = next(newest, None)
        if number is not None:
            add(connection, number)

    assert walk(connection, Order((numbers.c.id,)), 3, one_more) == [*range(10, 20), 100, 101, 102]


def test_a_full_last_page_promises_no_other(connection: Connection) -> None:
    add(connection, 1, 2, 3)
    rows, cursor = page(connection, select(numbers), Order((numbers.c.id,)), 3, None)
    assert (len(rows), cursor) == (3, None)


def test_slices_of_what_is_in_memory_go_the_same_way() -> None:
    items = [{"name": f"n{number}"} for number in range(5)]
    first = slice_of(items, lambda item: str(item["name"]), 2, None)
    second = slice_of([{"name": "m"}, *items], lambda item: str(item["name"]), 2, first.next)
    third = slice_of(items, lambda item: str(item["name"]), 2, second.next)
    assert [[item["name"] for item in each.items] for each in (first, second, third)] == [
        ["n0", "n1"], ["n2", "n3"], ["n4"],
    ]  # fmt: skip
    assert third.next is None


# hostile cursors ------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(1 << 62), 1 << 62), max_size=3))
def test_a_cursor_survives_its_text(values: list[Any]) -> None:
    assert read_cursor(make_cursor(values), [type(value) for value in values]) == values


@settings(max_examples=200)
@given(
    st.text(max_size=60)
    | st.binary(max_size=40).filter(lambda raw: b"[" not in raw).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
)
def test_noise_is_no_cursor(text: str) -> None:
    with pytest.raises(ArgumentError):
        read_cursor(text, [int])
    with pytest.raises(ArgumentError):
        read_cursor(text, [str, int])


def raw(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode()


HOSTILE = [
    make_cursor([]), make_cursor([1, 2, 3, 4]), make_cursor([None]), make_cursor([True]), make_cursor([1.5]),
    make_cursor([[1]]), make_cursor([{}]), make_cursor([10**30]), make_cursor([-(10**30)]), make_cursor([1 << 63]),
    make_cursor(["\ud800"]), make_cursor([1 << 63, "x"]), make_cursor(["\ud800", 1]), make_cursor([1, "\ud800"]),
    make_cursor([None, None]), raw("{}"), raw("[" * 10_000)[:900], raw("1"), raw(f"[{'9' * 700}]"), raw("[1]]"), "=",
    "==", "a", "ä", "\0", "'; DROP TABLE runs; --", "%00", raw('["a"'),
]  # fmt: skip


async def test_a_hostile_cursor_is_refused_by_every_list(bare: Headquarters) -> None:
    for path in LISTS:
        for cursor in (*HOSTILE, "a" * 1_001):
            answer = await bare.ask("GET", path, cursor=cursor)
            refused(answer, 422, "invalid_argument", parameter="cursor")


async def test_the_cursor_of_another_list_is_refused(bare: Headquarters) -> None:
    """It would show an arbitrary part of this list as if it were all that is left."""
    for path in LISTS:
        for kinds in KINDS.values():
            cursor = make_cursor([{str: "x", int: 1}[kind] for kind in kinds])
            answer = await bare.ask("GET", path, cursor=cursor)
            if kinds == KINDS[path]:
                expect(answer, 200)
            else:
                refused(answer, 422, "invalid_argument", parameter="cursor")


async def test_limits_have_bounds(bare: Headquarters) -> None:
    for path in LISTS:
        for limit in ("0", "-1", str(limits.MAX_PAGE + 1), "9" * 30, "1.5", "x", ""):
            refused(await bare.ask("GET", path, limit=limit), 422, "invalid_argument", parameter="limit")
        expect(await bare.ask("GET", path, limit=str(limits.MAX_PAGE)), 200)


async def test_a_page_has_fifty_items_unless_told_otherwise(bare: Headquarters) -> None:
    for number in range(limits.DEFAULT_PAGE + 1):
        bare.core.database.submit(
            lambda c, number=number: bare.core.ledger.append(c, call=f"test.{number}", principal="t")
        ).result()
    first = await bare.get("/records")
    assert len(first["items"]) == limits.DEFAULT_PAGE
    assert len((await bare.get("/records", cursor=first["next"]))["items"]) == 1


async def test_real_lists_are_stable_under_inserts(server: Headquarters) -> None:
    for number in range(5):
        await server.add_agent(f"host-{number}")
    first = await server.get("/agents", limit=2)
    await server.add_agent("host-00")
    rest = await server.pages("/agents", limit=2, cursor=first["next"])
    names = [item["name"] for item in [*first["items"], *rest]]
    assert names == [f"host-{number}" for number in range(5)]
    records = await server.pages("/records", limit=2)
    assert [item["sequence"] for item in records] == list(range(1, len(records) + 1))


async def test_ten_thousand_digits_in_a_path_are_no_failure(bare: Headquarters) -> None:
    for sequence in ("9" * 30, "9" * 5_000, "-1", "0", str(1 << 63), "x"):
        refused(await bare.ask("GET", f"/records/server/{sequence}"), 422, "invalid_argument", parameter="sequence")
    refused(await bare.ask("GET", "/records/server/7"), 404, "not_found")


def test_a_cursor_is_opaque_but_plain() -> None:
    """It opens nothing: there is nothing in it but the keys that the caller has just seen."""
    text = make_cursor(["checks/disk", 17])
    assert json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) == ["checks/disk", 17]
    assert text.isascii()
    assert not set(text) & set("+/=")


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_500])
def test_a_page_is_rendered_as_a_whole_in_pieces(count: int) -> None:
    items = [
        {"kind": "output", "data": '"ä,\u2028', "about": {"offset": number}, "time_s": 0.5} for number in range(count)
    ]
    page = Page(items=items, next=None if count else "Wz,x")
    assert json.loads(rendered(page)) == page.model_dump()
