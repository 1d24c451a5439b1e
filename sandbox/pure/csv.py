"""``csv.*``: RFC 4180. Every value is text; line breaks may be LF or CR LF, and stand inside quotes."""

from __future__ import annotations

import _csv
import io
from typing import Any

from sandbox.pure.declared import MAX_BYTES, Refused, boolean, listing, pure, shown, text, texts

Row = list[str]


@pure("csv.decode", text=text, delimiter=text, header=boolean)
def decode(text: str, delimiter: str = ",", header: bool = False) -> list[Any]:
    """Return the rows as lists; with ``header`` as maps by the names in the first row. Empty lines are left out."""
    lines = _csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=_one(delimiter), strict=True)
    rows: list[tuple[int, Row]] = []
    try:
        for row in lines:
            if row:
                rows.append((lines.line_num, row))
    except _csv.Error as error:
        raise Refused("text", f"line {lines.line_num}: {error}") from None
    return _mapped(rows) if header else [row for _, row in rows]


def _mapped(rows: list[tuple[int, Row]]) -> list[dict[str, str]]:
    if not rows:
        return []
    number, names = rows[0]
    for name in names:
        if names.count(name) > 1:
            raise Refused("text", f"line {number}: the name {shown(name)} stands twice")
    weight = sum(map(len, names))
    if weight * len(rows) > MAX_BYTES:
        raise Refused("text", "has names so long that the rows would not fit", "too_large")
    for number, row in rows:
        if len(row) != len(names):
            raise Refused("text", f"line {number}: has {len(row)} values for {len(names)} names")
    return [dict(zip(names, row, strict=True)) for _, row in rows[1:]]


def _one(delimiter: str) -> str:
    if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
        raise Refused("delimiter", "must be one character, and no quote, space, line break or NUL")
    return delimiter


class _Sink:
    """What the writer writes to, line by line. It ends them with CR LF, so that it quotes both; here LF is enough."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line.removesuffix("\r\n") + "\n")


@pure("csv.encode", rows=listing, columns=texts, delimiter=text)
def encode(rows: list[Any], columns: Row | tuple[()] = (), delimiter: str = ",") -> str:
    """Return the text of rows that are lists, or maps with ``columns`` (default: all names, sorted) as first row."""
    sink = _Sink()
    writer = _csv.writer(sink, delimiter=_one(delimiter), lineterminator="\r\n")
    for number, row in enumerate(_table(rows, list(columns)), 1):
        try:
            writer.writerow([_cell(value) for value in row])
        except (_csv.Error, ValueError) as error:
            raise Refused("rows", f"row {number}: {error}") from None
    return "".join(sink.lines)


def _table(rows: list[Any], columns: Row) -> list[list[Any]]:
    """Return lists for rows that are all lists or all maps."""
    if all(type(row) is list for row in rows):
        return [columns, *rows] if columns else rows
    if any(row and type(row) is not dict for row in rows):
        raise Refused("rows", "must be all lists or all maps")
    maps: list[dict[str, Any]] = [row or {} for row in rows]
    names = columns or sorted({name for row in maps for name in row})
    known = set(names)
    for number, row in enumerate(maps, 1):
        extra = row.keys() - known
        if extra:
            raise Refused("rows", f"row {number}: {shown(min(extra))} is none of the columns")
    return [names, *([row.get(name) for name in names] for row in maps)]


def _cell(value: Any) -> Any:
    kind = type(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is str or kind is int or kind is float:
        return value
    raise ValueError(f"a value must be text, a number or a boolean, not {kind.__name__}")
