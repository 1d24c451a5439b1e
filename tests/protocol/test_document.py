"""Strict YAML: one reading only, and every mistake has a file, a line and a path."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import limits
from protocol.document import Reader, dotted, load
from protocol.errors import ArgumentError, DocumentError

BAD = [
    ("a: 1\na: 2", "x:2: the key 'a' stands twice"),
    ("b:\n  - a: 1\n    a: 2", "x:3: b[0]: the key 'a' stands twice"),
    ("a: &x 1\nb: *x", "x:1: anchors and aliases are not allowed"),
    ("a: *x", "x:1: anchors and aliases"),
    ("a: {<<: {b: 1}}", "x:1: a: a key must be plain text"),
    ("a:\n  ? [1]\n  : 2", "x:2: a: a key must be plain text"),
    ("a: !!python/object:os.system 1", "x:1: a: the tag"),
    ("a: !mine 1", "x:1: a: the tag !mine"),
    ("a: !!binary YQ==", "x:1: a: the tag"),
    ("a: !!set {b}", "x:1: a: the tag"),
    ("a: !!omap [b: 1]", "x:1: a: the tag"),
    ("a:\n  b: .nan", "x:2: a.b: a number must be finite"),
    ("a: -.inf", "x:1: a: a number must be finite"),
    ("a: 99999999999999999999", "x:1: a: a number is out of range"),
    ("a: " + "9" * 5000, "x:1: a: '9999"),
    ('a: !!int ""', "x:1: a: '' cannot be read"),
    ('a: !!float ""', "x:1: a: '' cannot be read"),
    ("b: 1\na: !!bool maybe", "x:2: a: 'maybe' cannot be read"),
    ("a: 1\n---\nb: 2", "x:2: "),
    ("a: [1", "x:"),
    ("a: 'b", "x:"),
    ("\tb: 1", "x:1: "),
    ("a: \x07", "x: "),
    ("a: \ud800", "x: "),
    ("a: " + "[" * 100 + "]" * 100, "x:1: nested deeper than 24 levels"),
    ("{a: " * 100_000, "x:1: nested deeper than 24 levels"),
    ("{" * 100_000, "x:1: a key must be plain text"),
    ("a: " + "b" * limits.MAX_DOCUMENT_BYTES, "x: the file is over"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=lambda value: repr(value)[:30])
def test_what_can_be_read_in_two_ways_is_refused_with_its_place(text: str, words: str) -> None:
    """A reviewer and a program must not read different things out of one file."""
    with pytest.raises(DocumentError) as caught:
        load(text, "x")
    assert str(caught.value).startswith(words)


def test_plain_values_come_out_as_written() -> None:
    text = 'a: 1\nb: [x, "1", 1.5, true, null]\nc: 2026-11-23\nd: {e: ""}\n'
    assert load(text, "x").value == {
        "a": 1, "b": ["x", "1", 1.5, True, None], "c": "2026-11-23", "d": {"e": ""}
    }  # fmt: skip
    assert load("", "x").value == {}
    assert load('{"a": [1, {"b": null}]}', "x").value == {"a": [1, {"b": None}]}


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=[]), max_size=40) | st.text("a:-[]{}&*!?|>#'\"%@`,\n 01", max_size=30))
def test_hostile_text_is_a_document_or_a_documented_error(text: str) -> None:
    with contextlib.suppress(DocumentError):
        load(text, "x")


def test_places_are_those_of_the_keys() -> None:
    document = load("a:\n  b:\n    - c: 1\n    - c: 2\n      d: 3\n", "f.yaml")
    assert document.where(("a", "b", 1, "d")) == "f.yaml:5: a.b[1].d"
    assert document.where(("a", "b", 1, "missing")) == "f.yaml:4: a.b[1].missing"
    assert document.where(()) == "f.yaml:1"
    assert dotted(("tests", 0, "calls")) == "tests[0].calls"


READS: list[tuple[str, str, str]] = [
    ("text", "a: 1", "x:1: a: must be text, not 1"),
    ("text", "b: 1", "x:1: a: 'a' is missing"),
    ("text", "a:", "x:1: a: 'a' is missing"),
    ("integer", "a: 1.0", "x:1: a: must be a whole number, not 1.0"),
    ("integer", "a: true", "x:1: a: must be a whole number, not True"),
    ("integer", "a: -1", "x:1: a: must be 0 to"),
    ("number", "a: '1'", "x:1: a: must be a number"),
    ("boolean", "a: 1", "x:1: a: must be true or false"),
    ("sequence", "a: {}", "x:1: a: must be a list"),
    ("sequence", "a: [[1]]", "x:1: a: must be a list of plain values"),
    ("strings", "a: [1]", "x:1: a: must be a list of texts"),
    ("strings", "a: b", "x:1: a: must be a list of texts"),
    ("duration", "a: 10", "x:1: a: 10 is not a duration"),
    ("duration", "a: 1:30", "x:1: a: 90 is not a duration"),  # YAML 1.1 makes that a number of base 60
    ("size", "a: 1.5MiB", "x:1: a: '1.5MiB' is not a size"),
    ("section", "a: [1]", "x:1: a: must be a mapping"),
    ("mapping", "a:\n  b: 1", "x:2: a.b: must be a mapping"),
    ("items", "a:\n  - b: 1\n  - 2", "x:3: a[1]: must be a mapping"),
    ("items", "a: {}", "x:1: a: must be a list"),
]


@pytest.mark.parametrize(("method", "text", "words"), READS)
def test_a_value_of_another_kind_is_named(method: str, text: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        getattr(Reader(load(text, "x")), method)("a")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("method", "default"),
    [
        ("text", "d"),
        ("integer", 3),
        ("number", 1.5),
        ("boolean", True),
        ("strings", []),
        ("duration", 2.0),
        ("size", 9),
    ],
)
def test_what_is_absent_or_empty_is_the_default(method: str, default: Any) -> None:
    for text in ("{}", "a:", "a: null"):
        assert getattr(Reader(load(text, "x")), method)("a", default) == default


def test_a_choice_is_one_of_its_words() -> None:
    assert Reader(load("a: lua", "x")).choice("a", ("lua", "python")) == "lua"
    with pytest.raises(DocumentError, match="x:1: a: 'ruby' is not one of lua, python"):
        Reader(load("a: ruby", "x")).choice("a", ("lua", "python"))


def test_a_key_nobody_asked_for_is_refused_with_a_guess() -> None:
    """A misspelt deny would otherwise allow."""
    reader = Reader(load("wall: 1\nlimts: 2\n", "x"))
    reader.raw("wall")
    reader.has("limits")
    with pytest.raises(DocumentError) as caught:
        reader.finish()
    assert str(caught.value) == "x:2: limts: unknown key 'limts' (did you mean 'limits'? known: limits, wall)"
    assert caught.value.parameter == "limts"
