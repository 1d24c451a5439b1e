"""Tables on a terminal, whatever its width: what names a thing is on one line, so that it can be read and copied.

Of three ways the first that the width has room for: each column as wide as it wants to be, or at least those of single
words (ids, names, times) and the first; else no table, but one paragraph for each row, with the titles before the
values and without what is empty. Only whoever writes to a terminal loads this, as rich costs tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

EMPTY: Final = "-"
GAP: Final = 2  # cells between two columns
LEAST: Final = 12  # cells, of a column whose texts are broken; chosen without measurement: a word or two
INDENT: Final = "  "  # of a paragraph's further lines


class Titled(Protocol):
    """What is known of a column."""

    @property
    def title(self) -> str:
        """What stands above it."""

    @property
    def is_number(self) -> bool:
        """Whether it stands to the right."""


def draw(
    stream: TextIO, rows: Sequence[Sequence[str]], columns: Sequence[Titled], *, may_color: bool,
    styles: dict[str, str], width: int | None = None,
) -> None:  # fmt: skip
    """Write rows of text under the titles of ``columns``.

    Args:
        stream: A terminal.
        rows: As many texts each as there are columns, of one line each.
        columns: Their titles.
        may_color: Whether texts may have colours.
        styles: Text of a cell -> its colour.
        width: Of the terminal, in cells; by default what it says itself.
    """
    console = Console(file=stream, no_color=not may_color, highlight=False, soft_wrap=False, width=width)
    breakable = layout(rows, [column.title for column in columns], console.width)
    if breakable is None:
        for row in rows:
            for line in _paragraph(row, columns, console.width, styles):
                console.print(line, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, may_break in zip(columns, breakable, strict=True):
        table.add_column(
            column.title, justify="right" if column.is_number else "left", overflow="fold", no_wrap=not may_break
        )
    for row in rows:
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    console.print(table)


def layout(rows: Sequence[Sequence[str]], titles: Sequence[str], width: int) -> list[bool] | None:
    """Return for each column whether its texts may be broken into lines; None if there is room for no table."""
    texts = [[titles[at], *(row[at] for row in rows)] for at in range(len(titles))]
    wanted = [max(map(cell_len, column)) for column in texts]
    room = width - GAP * (len(titles) - 1)
    words = [all(" " not in text for text in column) for column in texts]
    for whole in ([True] * len(titles), words, [at == 0 for at in range(len(titles))]):
        keeps = [is_whole or size <= LEAST for is_whole, size in zip(whole, wanted, strict=True)]
        if sum(size if keep else LEAST for keep, size in zip(keeps, wanted, strict=True)) <= room:
            return [not keep for keep in keeps]
    return None


def _paragraph(row: Sequence[str], columns: Sequence[Titled], width: int, styles: dict[str, str]) -> list[Text]:
    """Return one row as lines of titles and values; what is wider than a line is for the terminal to break."""
    lines: list[Text] = []
    for at, (cell, column) in enumerate(zip(row, columns, strict=True)):
        if cell == EMPTY and at:
            continue
        piece = Text.assemble((column.title, "dim"), " ", (cell, styles.get(cell, "bold" if not at else "")))
        if lines and lines[-1].cell_len + GAP + piece.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], " " * GAP, piece)
        else:
            lines.append(Text.assemble(INDENT, piece) if lines else piece)
    return lines
