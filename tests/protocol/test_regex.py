"""The one language of regular expressions: what it takes, and that nothing written in it can run away."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ArgumentError
from protocol.regex import MAX_PATTERN_CHARACTERS, Regex, of_parameter

#: Patterns that make a backtracking matcher try every way, each with the text that makes it.
RUNAWAYS = [
    ("(a+)+$", "a" * 100_000 + "!"),
    ("(a|aa)+$", "a" * 100_000 + "!"),
    (r"(\w+\s*)+$", "a " * 50_000 + "!"),
    ("(x+x+)+y", "x" * 1_000_000),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 100_000),
    ("(.*,){11}P", "1," * 50_000),
    ("(a?){30}a{30}", "a" * 29),
]


@pytest.mark.parametrize(("pattern", "text"), RUNAWAYS)
def test_no_pattern_runs_away(pattern: str, text: str) -> None:
    """With the interpreter's matcher each of these would outlive the machine; the test's timeout would tell."""
    assert Regex(pattern).search(text) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(a", "missing"),
        (r"(a)\1", "invalid escape"),
        ("(?=x)", "invalid perl operator"),
        ("(?<!x)y", "invalid perl operator"),
        ("(?>x)", "invalid perl operator"),
        ("a{1001}", "invalid repetition"),
        ("(((a{99}){99}){99})", "repetition"),
        (r"(\pL{0,80}){0,9}\d", "KiB of memory"),
        ("[z-a]", "invalid character class range"),
        ("\ud800", "not valid Unicode"),
        ("a" * (MAX_PATTERN_CHARACTERS + 1), "more than 2000 characters"),
        ("a\\", "trailing"),
    ],
)
def test_what_is_no_pattern_is_refused_by_name(pattern: str, words: str) -> None:
    """In the words of the engine, which quote the piece that it does not take."""
    with pytest.raises(ArgumentError, match=re.escape(words)) as caught:
        Regex(pattern)
    assert caught.value.parameter == "pattern"
    with pytest.raises(ArgumentError, match=rf"^match: (?!pattern).*{re.escape(words)}") as caught:
        of_parameter(pattern, "match")
    assert caught.value.parameter == "match"


def test_groups_and_places() -> None:
    regex = Regex(r"(?P<key>\w+)=(\d+)?")
    found = regex.search("a b=")
    assert found is not None
    assert (found.group(), found.groups(), found.groupdict()) == ("b=", ("b", None), {"key": "b"})
    assert (found.start(), found.end(), regex.groups, regex.names) == (2, 4, 2, {"key": 1})


def test_flags_stand_in_the_pattern() -> None:
    assert Regex("(?i)straSSe").search("STRASSE") is not None
    assert [found.group() for found in Regex("(?m)^b$").finds("a\nb\nb")] == ["b", "b"]
    assert Regex("a.b").search("a\nb") is None
    assert Regex("(?s)a.b").search("a\nb") is not None


def test_bytes_that_are_no_text_hinder_no_match_beside_them() -> None:
    """A line of a log holds whatever was written into it."""
    found = Regex("user=(é+)").search(b"\xff\xfe user=" + "éé".encode() + b"\xff")
    assert found is not None
    assert found.groups() == ("éé".encode(),)
    assert Regex("a.b").search(b"a\xffb") is None


def test_nothing_that_was_compiled_is_kept() -> None:
    """The library's own cache would hold 128 patterns of a megabyte each."""
    for number in range(5):
        Regex(f"a{{{number + 1}}}")
    assert re2._Regexp._make.cache_info().currsize == 0


@given(st.text(max_size=200), st.text(alphabet="ab é\n", max_size=50))
def test_any_text_is_a_pattern_or_is_refused(pattern: str, text: str) -> None:
    """Nothing else leaves: no crash, no other exception."""
    try:
        regex = Regex(pattern)
    except ArgumentError:
        return
    for found in regex.finds(text):
        assert text[found.start() : found.end()] == found.group()


_PIECES = st.sampled_from(["a", "b", "[ab]", "a*", "(a|b)", "b+", "(?:ab)?", ".", "^", "$"])


@given(st.lists(_PIECES, max_size=6).map("".join), st.text(alphabet="ab", max_size=12))
def test_it_finds_what_the_interpreter_finds(pattern: str, text: str) -> None:
    """Where both have the syntax, they agree on the leftmost match and its groups."""
    expected = re.search(pattern, text)
    found = Regex(pattern).search(text)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert (found.start(), found.end()) == expected.span()
