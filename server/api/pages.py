"""Lists page by page: ``limit`` items after an opaque ``cursor``, and the cursor of the next page.

A cursor holds the keys of the last item, so a page is right however much was added meanwhile. It is only a place in a
list: it opens nothing that the caller could not ask for.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Connection, Row, tuple_

from protocol.errors import ArgumentError
from server import limits

ITEMS_AT_ONCE: Final = 1_000  # that are rendered in one go, which takes some 2 ms and lets nothing else go on
Limit = Annotated[int, Query(ge=1, le=limits.MAX_PAGE, description="Most items of the page.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")]


class Page(BaseModel):
    """One page of a list."""

    items: list[dict[str, Any]]
    next: str | None  # the cursor of the next page, None on the last one


@dataclass(frozen=True)
class Order:
    """By which columns a list goes; together they name one row."""

    columns: tuple[Any, ...]
    descending: bool = False


def page(
    connection: Connection, query: Any, order: Order, limit: int, cursor: str | None
) -> tuple[list[Row[Any]], str | None]:
    """Return the rows of one page of ``query`` and the cursor of the next.

    Raises:
        ArgumentError: The cursor is none of this list.
    """
    columns = order.columns
    if cursor is not None:
        place = tuple_(*read_cursor(cursor, [column.type.python_type for column in columns]))
        query = query.where(tuple_(*columns) < place if order.descending else tuple_(*columns) > place)
    rows = list(
        connection.execute(
            query.order_by(*(column.desc() if order.descending else column for column in columns)).limit(limit + 1)
        )
    )
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]._mapping
    return rows[:limit], make_cursor([last[column.name] for column in columns])


def slice_of(
    items: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str], limit: int, cursor: str | None
) -> Page:
    """Return one page of ``items``, which come in the order of their unique ``key``."""
    after = read_cursor(cursor, [str])[0] if cursor is not None else None
    found = [item for item in items if after is None or key(item) > after]
    more = len(found) > limit
    return Page(items=found[:limit], next=make_cursor([key(found[limit - 1])]) if more else None)


def rendered(page: Page) -> bytes:
    """Return a page as JSON, for a thread: piece by piece, so that a page of very many small items holds nobody up.

    Whoever returns a page has it checked and rendered in the event loop, in one go.
    """
    pieces = [
        json.dumps(page.items[at : at + ITEMS_AT_ONCE], allow_nan=False)[1:-1]
        for at in range(0, len(page.items), ITEMS_AT_ONCE)
    ]
    return f'{{"items": [{", ".join(pieces)}], "next": {json.dumps(page.next)}}}'.encode()


def make_cursor(values: Sequence[Any]) -> str:
    """Return the cursor for these keys."""
    return base64.urlsafe_b64encode(json.dumps(list(values)).encode()).decode().rstrip("=")


def read_cursor(text: str, kinds: Sequence[type]) -> list[Any]:
    """Return the keys in a cursor.

    Args:
        text: What the caller sent.
        kinds: ``str`` or ``int`` for each key of the list.

    Raises:
        ArgumentError: It is none, or of another list.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    is_one = isinstance(values, list) and len(values) == len(kinds) and all(map(_is_key, values, kinds))
    if not is_one:
        raise ArgumentError("the cursor is not one of this list", parameter="cursor")
    return list(values)


def _is_key(value: Any, kind: type) -> bool:
    """Tell whether the database can compare ``value`` with a column of ``kind``."""
    if isinstance(value, str):
        return kind is str and not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    return kind is type(value) is int and abs(value) < 1 << 63
