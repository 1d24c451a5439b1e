"""Tables on terminals of every width: nothing is lost, and what names a thing stays on one line."""

from __future__ import annotations

import io
import re

import pytest

from cli.drawing import GAP, draw, layout
from cli.output import Column

TITLES = ["run", "host", "result"]
RUN = "run_9f90543a6371cf8f165936c0"
RESULT = "the disk of this host is very nearly full, look at it"
ROWS = [[RUN, "web-3", RESULT], ["run_1", "-", "ok"]]


def drawn(width: int, *, rows: list[list[str]] = ROWS, titles: list[str] = TITLES, may_color: bool = False) -> str:
    stream = io.StringIO()
    columns = [Column(title, lambda item: item) for title in titles]
    draw(stream, rows, columns, may_color=may_color, styles={"ok": "green"}, width=width)
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def test_what_fits_is_not_broken() -> None:
    whole = len(RUN) + len("web-3") + len(RESULT) + 2 * GAP
    assert layout(ROWS, TITLES, whole) == [False, False, False]
    assert layout(ROWS, TITLES, whole - 1) == [False, False, True]
    assert len(drawn(whole).splitlines()) == 3


def test_texts_are_broken_before_names_are() -> None:
    told = drawn(60)
    assert RUN in told
    assert "web-3" in told
    assert " ".join(line[37:].strip() for line in told.splitlines()[1:-1]) == RESULT
    assert max(map(len, told.splitlines())) <= 60


def test_the_first_column_is_the_last_that_is_broken() -> None:
    """Names beside it are, if there is room for the first alone."""
    rows = [[RUN, "a-host-with-a-very-long-name.example.org", "ok"]]
    assert layout(rows, TITLES, 50) == [False, True, False]
    assert RUN in drawn(50, rows=rows)


@pytest.mark.parametrize("width", [40, 30, 20])
def test_a_narrow_terminal_gets_paragraphs(width: int) -> None:
    told = drawn(width)
    assert layout(ROWS, TITLES, width) is None
    first, *_, last = told.splitlines()
    assert first == f"run {RUN}"
    assert "  host web-3" in told
    assert f"result {RESULT}" in told, "for the terminal to break"
    assert last == "run run_1  result ok", "what is empty is left out"


def test_wide_letters_count_as_what_they_take() -> None:
    rows = [["日本語日本語", "a", "b c"]]
    assert layout(rows, TITLES, 12 + 4 + 6 + 2 * GAP) == [False, False, False]
    assert layout(rows, TITLES, 12 + 4 + 6 + 2 * GAP - 1) is None
