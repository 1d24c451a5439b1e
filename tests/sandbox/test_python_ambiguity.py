"""Patterns that can take exponential time are told from those that cannot. The matcher itself is the oracle."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest

from sandbox.python_ambiguity import Ambiguous, check

HARMLESS = [
    r"(?:[a-z]+,)*[a-z]+",
    r"^(?:\d+\.)+\d+$",
    r"(?:\d{4}-?)+",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
    r"^\s*(\w+)\s*=\s*(.*?)\s*$",
    r'"(?:[^"\\]|\\.)*"',
    r"(?:\w+\s)+",
    r"(a|b|c)*d",
    r"(?:foo|bar|baz)+",
    r"[A-Z]{3}(?:-\d{2}){2}",
    r"(?i:ab|AC)*",
    r"(\w)\1",
    r"(?=.*\d)(?=.*[a-z]).{8,}",
    r"(?:a?b)*",
    r"([0-9a-f]{2}:){5}[0-9a-f]{2}",
    r"^([a-zA-Z0-9_.+-]+)@([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}$",
    r"\w{1,255}",
    r"x{5000}",
    r"(?:GET|POST|PUT) (/\S*) HTTP/\d\.\d",
    r"(\d+)(?:\s+(\d+))*",
    r"(\w|\d)+$",  # the parser makes one set of it
    r"(?s:.)*",
    r"(a)?(?(1)b|c)",
    r"(?:(?!x)y)*",
    r"(?a:\w+\s)*",
    r"(?>a+)b",
    r"(?:[^,]*,){3}(\d+)",
    r"a++",
    r"",
]

EXPONENTIAL = [
    r"(a+)+",
    r"(a*)*b",
    r"(\w+\s*)+$",
    r"(a|a?)*b",
    r"(a|aa)+$",
    r"(?:a?){30}a{30}",
    r"(?:(?:a?)?b)*c",
    r"(?:(a?)*b)*c",
    r"(\s*\w+\s*)*",
    r"(.*,)*x",
    r"(?:a|ab|b)*c",
    r"(a|ab|b){30}",
    r"([a-z]+)*=",
    r"(?i)(a|Ab?)*c",
    r"(x+x+)+y",
    r"(?:\d{1,3}\s?)+",
    r"((a{1,9}){1,9}){1,9}",
    r'(?:[^"]|\\.)*"',
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?:.|\n|\s)*x",
    r"((?=a)a+)+",
    r"(?:a(?=b*)|ab?)+",
    r"(?:a+?)+?b",
    r"(?=(a+)+b)",
    r"(?<!xa)(?:aa|a)*b",
    r"(?:é+|\w)+",
    r"^(.*?,){11}P",
    r"(?:(?:.+){1,3}){1,3}d",
]

NOT_TOLD = [
    r"(?:(a)?(?(1)b|c)){2}",
    r"(.)(?:\1)*",
    r"(?:(a)|b(?(1)c|d))*",
    r"(?:a{1000}|b{1500})*c",
    r"(?:(?:\w{1,20}:){2,3}\w){1,999}",
]


@pytest.mark.parametrize("pattern", HARMLESS)
def test_patterns_that_people_write_are_accepted(pattern: str) -> None:
    """A refusal without a reason would teach authors to avoid the check."""
    check(pattern, 0)


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_patterns_that_can_run_away_are_refused(pattern: str) -> None:
    """A line in a log, written by whoever, must not be able to stop a check."""
    with pytest.raises(Ambiguous, match="exponential"):
        check(pattern, 0)


@pytest.mark.parametrize("pattern", NOT_TOLD)
def test_what_cannot_be_told_is_refused(pattern: str) -> None:
    """The safe side."""
    with pytest.raises(Ambiguous):
        check(pattern, 0)


def test_flags_from_outside_count() -> None:
    """They decide what meets."""
    check(r"(a|Ab?)*c", 0)
    with pytest.raises(Ambiguous):
        check(r"(a|Ab?)*c", re.IGNORECASE)
    check(r"(?:.|\nx)*y", 0)
    with pytest.raises(Ambiguous):
        check(r"(?:.|\nx)*y", re.DOTALL)


def test_a_pattern_that_is_none_says_so() -> None:
    """In the interpreter's words."""
    with pytest.raises(re.error, match="unterminated"):
        check("(a", 0)


def test_the_decision_itself_is_bounded() -> None:
    """It runs on the script's time."""
    began = time.process_time()
    for pattern in (
        "(?:" + "|".join(f"w{number}x" for number in range(250)) + ")+",
        "(?:" + "a?" * 600 + "b)+",
        "(?:" + ".*" * 300 + "b)+",
        "(?:(?:(?:a{9}|b){9}|c){9}|d)*",
        "(" * 90 + "a|b" + ")*" * 90,
        "(?:" + "[a-z]" * 300 + "|" + "[a-z0-9]" * 300 + "x)*",
    ):
        try:
            check(pattern, 0)
        except Ambiguous:
            continue
    assert time.process_time() - began < 20


def _pattern(randomly: random.Random, depth: int) -> str:
    kind = randomly.randrange(8)
    if depth == 0 or kind < 2:
        return randomly.choice(["a", "b", "[ab]", ".", "c", "ab", "a?"])
    inner = _pattern(randomly, depth - 1)
    if kind < 4:
        return inner + _pattern(randomly, depth - 1)
    if kind == 4:
        return f"(?:{inner}|{_pattern(randomly, depth - 1)})"
    return f"(?:{inner}){randomly.choice(['*', '+', '?', '*?', '{2}', '{1,3}', '{0,20}', '{15}'])}"


def test_nothing_that_is_accepted_runs_away() -> None:
    """Random patterns on random texts: what would take exponential time would not end within the test's limit."""
    randomly = random.Random(7)
    words = ["".join(letters) for size in (1, 2, 3) for letters in itertools.product("abc", repeat=size)]
    accepted = 0
    for _ in range(1500):
        pattern = _pattern(randomly, 4) + "d"
        try:
            check(pattern, 0)
        except Ambiguous:
            continue
        accepted += 1
        compiled = re.compile(pattern)
        for word in randomly.sample(words, 8):
            assert compiled.match(word * (36 // len(word))) is None
    assert accepted > 500
