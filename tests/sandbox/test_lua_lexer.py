"""Lua source as tokens."""

from __future__ import annotations

import contextlib

import lupa.lua54
import pytest

from sandbox.lua_lexer import _SYMBOLS, END, KEYWORDS, NAME, NUMBER, STRING, LuaSyntaxError, tokens


def spelled(source: str) -> list[str]:
    return tokens(source).texts[:-1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        ("a.b", ["a", ".", "b"]),
        ("a..b", ["a", "..", "b"]),
        ("...", ["..."]),
        ("a==b~=c<=d>=e<<f", ["a", "==", "b", "~=", "c", "<=", "d", ">=", "e", "<<", "f"]),
        ("a>>b//c::d", ["a", ">>", "b", "//", "c", "::", "d"]),
        ("0x1p4 0xA.8 1e5 1.5e-3 .5 3. 0xep1", ["0x1p4", "0xA.8", "1e5", "1.5e-3", ".5", "3.", "0xep1"]),
        ("0x1e+1", ["0x1e", "+", "1"]),
        ("'a' \"b\" [[c]] [==[d]]]==]", ["a", "b", "c", "d]]"]),
        ("[[\nx]]", ["x"]),
        ("a--b\nc", ["a", "c"]),
        ("a--[[b\n]]c", ["a", "c"]),
        ("a--[b\nc", ["a", "c"]),
        ("a--\rc", ["a", "c"]),
        ("a[b[1]]", ["a", "[", "b", "[", "1", "]", "]"]),
        ("a[[[x]]]", ["a", "[x", "]"]),
    ],
)  # fmt: skip
def test_tokens(source: str, expected: list[str]) -> None:
    """As section 3.1 of the manual has them."""
    assert spelled(source) == expected


#: Section 3.1 of the manual of Lua 5.4.
SYMBOLS = (
    "+", "-", "*", "/", "%", "^", "#", "&", "~", "|", "<<", ">>", "//", "==", "~=", "<=", ">=", "<", ">", "=", "(", ")",
    "{", "}", "[", "]", "::", ";", ":", ",", ".", "..", "...",
)  # fmt: skip


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_symbol_is_marked_by_its_spelling(symbol: str) -> None:
    """What is not known to be a symbol would be taken for a name."""
    found = tokens(f"a {symbol} 'x'")
    assert found.marks == [NAME, symbol, STRING, END]
    assert found.texts[:3] == ["a", symbol, "x"]


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_a_keyword_is_told_from_a_text_and_a_name_like_it(word: str) -> None:
    found = tokens(f"{word} '{word}' [[{word}]] {word}s 7")
    assert found.marks == [word, STRING, STRING, NAME, NUMBER, END]


def test_every_symbol_of_the_manual_is_there() -> None:
    assert frozenset(SYMBOLS) == _SYMBOLS


def test_lines_are_counted_through_strings_comments_and_all_line_ends() -> None:
    """A place that is off by one sends the author to the wrong line."""
    found = tokens("a\r\nb\n\rc\rd [[\n\n]] e --[[\n]] f '\\\n' g")
    assert found.texts[:-1] == ["a", "b", "c", "d", "\n", "e", "f", "\n", "g"]
    assert found.lines == [1, 2, 3, 4, 4, 6, 7, 7, 8, 8]


@pytest.mark.parametrize(
    "source",
    [
        r"'a\nb\t\\\'\"\a\b\f\v\r'", r"'\65\066\0067'", r"'\x41\xff'",
        r"'\u{41}\u{e9}\u{20ac}\u{1F600}\u{D800}\u{7FFFFFFF}\u{0000041}'",
        "'a\\z  \n\t b'", "'a\\\nb'", "'a\\\r\nb'", "[[\nx\r\ny]]", "[==[]]]==]", "'\u00e9'",
    ],
)  # fmt: skip
def test_strings_are_decoded_as_lua_decodes_them(source: str) -> None:
    """A name that is spelled with escapes is the same name."""
    told = lupa.lua54.LuaRuntime(encoding=None).eval(source.encode())
    text, _ = tokens(source.encode().decode("latin-1")).texts
    assert text.encode("latin-1") == told


@pytest.mark.parametrize("source", [r"'\q'", r"'\x4'", r"'\256'", r"'\u{110000000}'", r"'\u41'", r"'\u{}'"])
def test_escapes_that_lua_does_not_know_are_refused(source: str) -> None:
    with pytest.raises(LuaSyntaxError):
        tokens(source)


def test_luajit_begins_behind_a_mark_and_a_header_line() -> None:
    """Elsewhere they are what they are: for Lua 5.4 no tokens at all."""
    source = "\xef\xbb\xbf#!/usr/bin/lua fs.read()\nreturn \xc3\xa9"
    found = tokens(source, "luajit")
    assert found.texts[:2] == ["return", "\xc3\xa9"]
    assert found.lines[:2] == [2, 2]
    with pytest.raises(LuaSyntaxError):
        tokens(source)


def test_time_is_linear() -> None:
    """Each of these makes a lexer slow that looks ahead or back more than once."""
    pieces = (
        "[=",
        "--[=",
        "'a",
        '"\\z ',
        "0x",
        "1e+",
        "a.",
        "[==[",
        "\\",
        "--\r",
        " ",
        "\t \n",
        "'",
        "\\z ",
        "[[]",
        "]=",
    )
    for piece in pieces:
        for source in (piece * 20_000, f"'{piece * 20_000}", f"[=[{piece * 20_000}", f"{' ' * 20_000}{piece}$",
                       "x = '" + "\\z \n" * 20_000 + "'"):  # fmt: skip
            with contextlib.suppress(LuaSyntaxError):
                tokens(source)


@pytest.mark.parametrize("source", ["'abc", "'a\nb'", "[[x", "--[[x", "$", "a ! b", "\x00", "é", "'a\\"])
def test_what_is_not_a_token_is_refused(source: str) -> None:
    """Nothing is skipped."""
    with pytest.raises(LuaSyntaxError):
        tokens(source)


def test_a_decimal_digit_of_another_script_is_no_number() -> None:
    """Python's idea of a digit is wider than Lua's."""
    with pytest.raises(LuaSyntaxError):
        tokens("\u0663")
