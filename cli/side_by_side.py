"""A unified difference as two columns, for a terminal that is wide enough: before on the left, after on the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocol.plain_text import safe

MIN_COLUMNS: Final = 140  # of a terminal, so that 68 characters of code fit on either side
GAP: Final = " | "
MARKED: Final = " ! "  # between lines of which one replaced the other

Row = tuple[str, str, str]  # what was before, what stands between, what is now


def rows(unified: str) -> Iterator[Row]:
    """Yield the rows of a unified difference; a line that names a hunk is a row with an empty right side."""
    before: list[str] = []
    after: list[str] = []
    for line in unified.split("\n"):
        if line.startswith("-"):
            if after:
                yield from _pairs(before, after)
                before, after = [], []
            before.append(line[1:])
        elif line.startswith("+"):
            after.append(line[1:])
        else:
            yield from _pairs(before, after)
            before, after = [], []
            if line.startswith("@@"):
                yield line, "", ""
            elif line:
                yield line[1:], GAP, line[1:]
    yield from _pairs(before, after)


def _pairs(before: list[str], after: list[str]) -> Iterator[Row]:
    for place in range(max(len(before), len(after))):
        is_old, is_new = place < len(before), place < len(after)
        between = MARKED if is_old and is_new else " < " if is_old else " > "
        yield before[place] if is_old else "", between, after[place] if is_new else ""


def drawn(unified: str, columns: int) -> Iterator[str]:
    """Yield the lines that show a unified difference in ``columns`` cells; long lines go on below."""
    from rich.cells import chop_cells, set_cell_size  # knows how wide characters are; only a terminal pays for it

    width = (columns - len(GAP)) // 2
    for left, between, right in rows(unified):
        if not between:
            yield left
            continue
        parts = [chop_cells(safe(text.expandtabs(4)), width) or [""] for text in (left, right)]
        for place in range(max(map(len, parts))):
            cells = [held[place] if place < len(held) else "" for held in parts]
            middle = between if not place else GAP
            yield f"{set_cell_size(cells[0], width)}{middle}{cells[1]}".rstrip()
