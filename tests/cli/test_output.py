"""Data on stdout, talk on stderr; tables for people, padded text for pipes, JSON for programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cli.output import Column, Output, field, padded, plain
from protocol.plain_text import safe


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


ITEMS = [{"name": "web-1", "state": "ok", "cpu": 1.25}, {"name": "db", "state": "error", "cpu": None}]
COLUMNS = (field("name", "name"), field("state", "state"), field("cpu", "cpu", is_number=True))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def written(stream: io.StringIO, *, as_json: bool = False, no_color: bool = False) -> Output:
    return Output(as_json=as_json, no_color=no_color, stdout=stream, stderr=io.StringIO())


def test_pipe_gets_padded_text_without_escapes() -> None:
    stream = io.StringIO()
    written(stream).table(ITEMS, COLUMNS)
    assert stream.getvalue() == "NAME   STATE   CPU\nweb-1  ok     1.25\ndb     error     -\n"


def test_terminal_gets_colour() -> None:
    stream = Terminal()
    written(stream).table(ITEMS, COLUMNS)
    assert "\x1b[" in stream.getvalue()
    assert "web-1" in stream.getvalue()


@pytest.mark.parametrize("how", ["flag", "NO_COLOR"])
def test_no_color_on_a_terminal(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    output = written(stream, no_color=how == "flag")
    output.table(ITEMS, COLUMNS)
    output.line("ok  done")
    assert "\x1b[3" not in stream.getvalue()


def test_dumb_terminal_gets_padded_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    output = written(stream)
    output.table(ITEMS, COLUMNS)
    output.line("error  it broke")
    assert "\x1b" not in stream.getvalue()


def test_json_is_the_items_and_nothing_else() -> None:
    stream = io.StringIO()
    written(stream, as_json=True).table(ITEMS, COLUMNS)
    assert json.loads(stream.getvalue()) == ITEMS


def test_empty_table_talks_on_stderr_and_leaves_stdout_empty() -> None:
    out, err = io.StringIO(), io.StringIO()
    Output(stdout=out, stderr=err).table([], COLUMNS, empty="no agents")
    assert (out.getvalue(), err.getvalue()) == ("", "no agents\n")


def test_empty_table_is_an_empty_array_for_programs() -> None:
    stream = io.StringIO()
    written(stream, as_json=True).table([], COLUMNS)
    assert json.loads(stream.getvalue()) == []


def test_what_a_host_says_cannot_steer_the_terminal() -> None:
    """A host name or a script's output may hold escape sequences; the operator's terminal must not obey them."""
    stream = Terminal()
    hostile = "\x1b]52;c;ZXZpbA==\x07\x1b[2Jweb\u202e"
    output = written(stream, no_color=True)
    output.raw(hostile)
    output.line(hostile)
    output.table([{"name": hostile}], (field("name", "name"),))
    assert "\x1b]" not in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


def test_raw_output_reaches_a_pipe_unchanged() -> None:
    stream = io.StringIO()
    written(stream).raw("a\x1b[31mred\n")
    assert stream.getvalue() == "a\x1b[31mred\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"), ("", "-"), (True, "yes"), (False, "no"), (0, "0"), (1.23456789, "1.235"),
        (1234567.125, "1234567.125"), (0.0, "0"), (0.00012345678, "0.000123457"), (1e20, "1e+20"),
        (float("nan"), "nan"), ({}, "-"), ([], "-"),
        ({"b": 2, "a": 1}, "a=1, b=2"), ({"a": {"b": None}, "c": None}, 'a={"b": null}, c=null'),
        ([{"a": 1}], '{"a": 1}'), (["x", 1], "x, 1"), ("two\nlines", "two lines"), ("bell\x07", "bell\ufffd"),
    ],
)  # fmt: skip
def test_plain_text_of_values(value: Any, expected: str) -> None:
    assert plain(value) == expected


def test_safe_keeps_newline_and_tab() -> None:
    assert safe("a\tb\nc\rd") == "a\tb\nc\ufffdd"


def test_json_of_what_json_cannot_hold() -> None:
    stream = io.StringIO()
    written(stream, as_json=True).data({"blob": b"\xff\x00", 1: {"x"}, "lone": "\ud800"})
    assert json.loads(stream.getvalue()) == {"blob": "\\xff\x00", "1": ["x"], "lone": "\ud800"}


def test_numbers_stand_to_the_right() -> None:
    columns = (Column("n", lambda item: item, is_number=True),)
    assert padded([["1"], ["100"]], columns) == ["  N", "  1", "100"]


def test_facts_for_people_and_programs() -> None:
    out = io.StringIO()
    written(out).facts({"last_seen": "now", "id": 7})
    assert out.getvalue() == "last seen  now\nid         7\n"
    out = io.StringIO()
    written(out, as_json=True).facts({"id": 7})
    assert json.loads(out.getvalue()) == {"id": 7}


def test_seconds_are_told_as_durations() -> None:
    """To people; programs get the number under the name that says its unit."""
    told = {"every_s": 60.0, "splay_s": 0.25, "idle_s": None, "ttl_s": 7200, "is_s": True, "odd_s": -1}
    out = io.StringIO()
    written(out).facts(told)
    shown = [line.split() for line in out.getvalue().splitlines()]
    assert shown == [
        ["every", "1m"], ["splay", "250ms"], ["idle", "-"], ["ttl", "2h"], ["is", "s", "yes"], ["odd", "s", "-1"],
    ]  # fmt: skip
    out = io.StringIO()
    written(out, as_json=True).facts(told)
    assert json.loads(out.getvalue()) == told


def test_row_is_one_line_of_json() -> None:
    out = io.StringIO()
    written(out, as_json=True).row({"a": "x\ny"})
    assert out.getvalue() == '{"a": "x\\ny"}\n'


def test_json_drives_no_terminal_and_means_what_it_meant() -> None:
    """A terminal takes U+009B for the beginning of a sequence, and JSON leaves it as it is."""
    stream = Terminal()
    output, item = written(stream, as_json=True), {"name": "a\x9b31m\u202e\x7f\x1b[2J"}
    output.data(item)
    output.row(item)
    assert safe(stream.getvalue()) == stream.getvalue()
    assert [json.loads(each) for each in stream.getvalue().replace("{\n ", "{").replace('"\n}', '"}').splitlines()] == [
        item, item,
    ]  # fmt: skip
