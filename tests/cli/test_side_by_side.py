"""A difference in two columns: every line of the unified one is there, on the side where it belongs."""

from __future__ import annotations

import io
from typing import Any

import pytest

from cli import side_by_side
from cli.output import Output
from cli.reviews import show_code

DIFF = "@@ -1,4 +1,5 @@\n local a = 1\n-return a\n+-- more\n+return a + 1\n local c\n-gone\n local d\n+come\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_was_stands_left_and_what_is_stands_right() -> None:
    assert list(side_by_side.rows(DIFF)) == [
        ("@@ -1,4 +1,5 @@", "", ""),
        ("local a = 1", " | ", "local a = 1"),
        ("return a", " ! ", "-- more"),
        ("", " > ", "return a + 1"),
        ("local c", " | ", "local c"),
        ("gone", " < ", ""),
        ("local d", " | ", "local d"),
        ("", " > ", "come"),
    ]


def test_an_addition_before_a_removal_is_no_replacement_of_it() -> None:
    assert [row[1] for row in side_by_side.rows("+one\n-two\n")] == [" > ", " < "]


def test_long_and_wide_lines_stay_on_their_side() -> None:
    lines = list(side_by_side.drawn("-" + "x" * 25 + "\n+日本語日本語日本語\n", 23))
    assert lines == ["xxxxxxxxxx ! 日本語日本", "xxxxxxxxxx | 語日本語", "xxxxx      |"]


def shown(columns: int, parts: list[dict[str, Any]], out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_code(Output(stdout=out, no_color=True), parts)
    return out.getvalue()


def test_only_a_wide_terminal_gets_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        {"path": "main.lua", "change": "changed", "part": 1, "text": DIFF[:30]},
        {"path": "main.lua", "change": "changed", "part": 2, "text": DIFF[30:]},
        {"path": "new.lua", "change": "added", "part": 1, "text": "+x\n"},
    ]
    wide = shown(160, parts, Terminal(), monkeypatch)
    assert "local a = 1" + " " * 67 + " | local a = 1\n" in wide
    assert "\n--- new.lua  (added)\n+x\n" in wide
    for columns, out in ((139, Terminal()), (160, io.StringIO())):
        assert "-return a\n+-- more\n" in shown(columns, parts, out, monkeypatch)


def test_code_cannot_move_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [{"path": "main.lua", "change": "changed", "part": 1, "text": "-a\x1b[2J\n+b\r\x1b]0;x\x07\n"}]
    drawn = shown(160, parts, Terminal(), monkeypatch)
    assert "\x1b" not in drawn
    assert "\r" not in drawn
