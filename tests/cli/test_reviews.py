"""How a review reads in a list: in a pipe and on a terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from cli.output import Output
from cli.reviews import MAX_SHOWN_CHARACTERS, QUEUE, describe, since_approved

ROW = {"id": "r42", "script": "fix/log-rotate", "version": "1.4.0", "tier": "operate", "author": "tom"}
RISK = {"code": "write_and_run", "short": "writes what runs + runs command"}


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def gained(*texts: str, more: int = 0, previous: str | None = "1.3.0") -> dict[str, Any]:
    return {"since_approved": {"previous": previous, "gained": list(texts), "more": more}}


@pytest.mark.parametrize(
    ("review", "said"),
    [
        (gained("+ tier inspect", previous=None), "new"),
        (gained("+ fs.write /etc/**"), "+ fs.write /etc/**"),
        (gained(), ""),
        (gained("a", "b", "c", "d", more=7), "a, b, c, and 8 more"),
        (gained("x" * 100), "x" * (MAX_SHOWN_CHARACTERS - 3) + "..."),
        ({"since_approved": None}, "not read yet"),
    ],
)
def test_what_was_gained_in_a_few_words(review: dict[str, Any], said: str) -> None:
    assert since_approved(review) == said


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_list_in_a_pipe_and_on_a_terminal(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = stream()
    checked = {"checked": {"passed": True, "by": "bob", "time": "2026-11-23T12:00:00Z"}}
    rows = [ROW | gained("+ fs.write /etc/**") | {"risks": [RISK]} | checked, ROW | gained() | {"risks": []}]
    Output(stdout=out).table(rows, QUEUE)
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in drawn.splitlines()]
    titles = ["ID", "SCRIPT", "VERSION", "TIER", "BY", "SINCE APPROVED", "RISK", "CHECKED"]
    assert [cell.upper() for cell in lines[0]] == titles
    assert lines[1][-3:] == ["+ fs.write /etc/**", "writes what runs + runs command", "passed (bob)"]
    assert lines[2][-3:] == ["-", "-", "-"]


def test_what_a_script_says_of_itself_cannot_move_the_terminal() -> None:
    """Paths and code come from the author, who may want the reviewer to see something else."""
    out = Terminal()
    change = {"text": "+ fs.write /\x1b[2J", "now": "/\x1b[2J", "before": "/a\nrisks none"}
    part = {"path": "a\x1b[1A.lua", "change": "added", "part": 1, "text": "+x\x1b[2K\n"}
    describe(Output(stdout=out, no_color=True), ROW | {"changes": [change], "code": [part]})
    assert "\x1b" not in out.getvalue()
    assert "\nrisks none" not in out.getvalue()
