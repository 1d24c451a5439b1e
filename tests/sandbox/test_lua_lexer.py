"""Lua source as tokens."""

from __future__ import annotations

import pytest

from sandbox.lua_lexer import Kind, LexError, tokens


def spelled(source: str) -> list[str]:
    return [token.text for token in tokens(source)][:-1]


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


def test_lines_are_counted_through_strings_comments_and_all_line_ends() -> None:
    """A place that is off by one sends the author to the wrong line."""
    found = {token.text: token.line for token in tokens("a\r\nb\n\rc\rd [[\n\n]] e --[[\n]] f '\\\n' g")}
    assert [found[name] for name in "abcdefg"] == [1, 2, 3, 4, 6, 7, 8]


def test_strings_with_escapes_are_marked() -> None:
    """Their content was not decoded, so nobody may rely on it."""
    exact = {token.text: token.is_exact for token in tokens(r"'plain' 'a\nb' [[a\nb]]") if token.kind is Kind.STRING}
    assert exact == {"plain": True, r"a\nb": True}  # the long one came last and is exact
    assert next(tokens(r"'a\65'")).is_exact is False


@pytest.mark.parametrize("source", ["'abc", "'a\nb'", "[[x", "--[[x", "$", "a ! b", "\x00", "é", "'a\\"])
def test_what_is_not_a_token_is_refused(source: str) -> None:
    """Nothing is skipped."""
    with pytest.raises(LexError):
        list(tokens(source))


def test_a_decimal_digit_of_another_script_is_no_number() -> None:
    """Python's idea of a digit is wider than Lua's."""
    with pytest.raises(LexError):
        list(tokens("\u0663"))
