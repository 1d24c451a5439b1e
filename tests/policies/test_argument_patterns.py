"""Patterns of arguments: as Python reads them, in linear time, and refused at load if that cannot be had."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.argument_patterns import MAX_CHARACTERS, ArgumentPattern
from policies.ceiling import load_ceiling
from policies.decide import decide
from policies.load import builtin, load_policy
from policies.model import Facts
from protocol.errors import ArgumentError, DocumentError
from protocol.tiers import Tier

#: Patterns that keep a backtracking matcher busy for as long as the machine lasts, each with such an argument.
RUNAWAYS = [
    ("(a+)+", "a" * 60_000 + "!"),
    ("(a|aa)+", "a" * 60_000 + "!"),
    (r"(\w+\s*)+", "a " * 30_000 + "!"),
    ("([a-z]+-?)+", "x" * 60_000 + "/"),
    ("(.*,){11}P", "1," * 30_000),
    (r"(--?\w+(=\w*)*)*", "--a=" + "b" * 60_000 + "!"),
]


@pytest.mark.parametrize(("pattern", "argument"), RUNAWAYS)
def test_no_argument_of_a_script_holds_up_who_decides(pattern: str, argument: str) -> None:
    """Each of these took ``re`` more time than there is; agent and server decide beside all else that they do."""
    text = f"tier: operate\nallow:\n  - {{call: proc.command, programs: [/bin/x], arguments: ['{pattern}']}}\n"
    policy = load_policy(text, "x.yaml")
    facts = Facts(command="x", program="/bin/x", arguments=(argument,))
    assert not decide(policy, "proc.command", facts).allowed
    assert decide(policy, "proc.command", facts._replace(arguments=())).allowed


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(a)\1", r"cannot be matched in linear time: \1 refers to a group"),
        (r"(?P<n>a)(?P=n)", "cannot be matched in linear time: cannot be read: invalid"),
        ("(?!-)x", "cannot be matched in linear time: cannot be read: invalid perl operator: (?!"),
        ("(?<!x)y", "cannot be matched in linear time"),
        ("(?>a+)b", "cannot be matched in linear time"),
        ("a++", "cannot be matched in linear time: cannot be read: bad repetition operator: ++"),
        ("a{2}+", "bad repetition operator"),
        (r"x\Z", r"invalid escape sequence: \Z"),
        (r"\u00e4", "invalid escape sequence"),
        ("(?x)a b", "invalid perl operator"),
        ("a{1001}", "invalid repetition"),
        ("(?i)stop", "the flag i is not the same everywhere; write [aA]"),
        ("(?s-m:(?si:stop))", "the flag i is not the same everywhere"),
        ("a{,3}", "{,3} is not plain; write {0,3}"),
        ("a{01}", "{01} is not plain"),
        ("a{,}", "{,} is not plain"),
        ("(" * 12 + "a" + ")" * 12 + r"\12", r"\12 refers to a group"),
        ("(" * 12 + "a" + ")" * 12 + r"\129", r"\129 refers to a group"),
        ("(", "is not a regular expression"),
        (r"\C", "is not a regular expression"),
        (r"\pL", "is not a regular expression"),
        (r"\Qa.b\E", "is not a regular expression"),
        ("(?U)a+", "is not a regular expression"),
        ("[[a]", "holds [["),
        ("a" * (MAX_CHARACTERS + 1), "longer than 256 characters"),
        ("\ud800", "not valid Unicode"),
        (".{0,400}", "is too large: it stands for 3"),
        ("(?:.{0,900}){0,900}", "cannot be matched in linear time"),
    ],
)
def test_what_is_not_matched_in_linear_time_or_not_read_alike_is_refused(pattern: str, words: str) -> None:
    """At load, whoever wrote it and when: of a pattern that has changed its meaning nothing is allowed."""
    with pytest.raises(ArgumentError, match=re.escape(words)):
        ArgumentPattern.parse(pattern)


@pytest.mark.parametrize("read", [load_policy, load_ceiling])
def test_the_refusal_names_file_rule_and_pattern(read: Callable[[str, str], object]) -> None:
    """An owner whose policy of before is refused must find the line."""
    head = "tier: operate\n" if read is load_policy else "highest_tier: operate\n"
    text = head + "allow:\n  - call: fs.stat\n  - call: proc.command\n    arguments: [ok, '(?!-)x+']\n"
    with pytest.raises(DocumentError) as caught:
        read(text, "old.yaml")
    assert str(caught.value).startswith("old.yaml:5: allow[1].arguments: '(?!-)x+' cannot be matched in linear time")


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        (r"[\s]|\S\s", ["\v", "x\v", "\t"], ["\v\v", "x"]),
        (r"\S+", ["ab", "ä"], ["a\vb", "a b", ""]),
        (r"[\Sx ]", ["a", " ", "x"], ["\v", "\n"]),
        (r"[^\s/]+", ["ab"], ["a\vb", "a/b"]),
        (r"\d+", ["12"], ["١"]),
        (r"\w+", ["a_1"], ["ä", "a-"]),
        (".", ["ä", "\r"], ["\n", "ab"]),
        ("a|ab|abc", ["abc", "ab", "a"], ["abcd", ""]),
        ("a$", ["a"], ["a\n"]),
        (r"\061\x31[\12]", ["11\n"], ["11"]),
        ("a{}|a{1, 2}", ["a{}", "a{1, 2}"], ["a", "aa"]),
        (r"[]a]\{3\}", ["]{3}", "a{3}"], ["aaa"]),
        ("", [""], ["a"]),
    ],
)
def test_what_a_pattern_means(pattern: str, fitting: list[str], others: list[str]) -> None:
    """What it meant to ``re``, as a whole and with ASCII's classes."""
    made = ArgumentPattern.parse(pattern)
    for argument in fitting + others:
        assert made.fits(argument) is (argument in fitting) is (re.fullmatch(pattern, argument, re.ASCII) is not None)


@pytest.mark.parametrize("per_rule", [500, 5])
def test_a_file_has_so_many(per_rule: int) -> None:
    """Each is a program of its own, and a signed order may be half a megabyte: its signer must not fill the memory."""

    def text(count: int) -> str:
        rules = [count] if count < per_rule else [per_rule] * (count // per_rule)
        lines = [f"  - {{call: proc.command, arguments: [{', '.join(['.*'] * each)}]}}\n" for each in rules]
        return f"tier: operate\nallow:\n{''.join(lines)}"

    assert len(load_policy(text(500), "x.yaml").rules) == 500 // per_rule
    more = text(500) + "  - {call: proc.command, arguments: [a]}\n"
    with pytest.raises(DocumentError, match=r"x\.yaml:\d+: allow\[\d+\]\.arguments: more than 500 patterns"):
        load_policy(more, "x.yaml")


def test_an_argument_that_is_no_utf_8_fits_nothing() -> None:
    """Bytes of a name that cannot be decoded stand in it as halves of surrogates; the matcher is not given those."""
    assert not ArgumentPattern.parse("(?s).*").fits("/tmp/\udcff")


_ATOMS = [
    "a", "b", "A", "é", r"\s", r"\S", r"\d", r"\w", r"\W", ".", "[ab]", "[^a]", r"[\s-]", r"[^\Sa]", r"[\d_]", "[]a]",
    r"\012", r"\{", "^", "$", r"\b", r"\A", "{,2}", "{1}", "{}", "[^]b]", r"\-", "(?s:.)", "(?m:^a$)", "(?i:a)",
]  # fmt: skip
_PATTERNS = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{,2}", "*?"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=8,
)


@given(_PATTERNS, st.lists(st.text("abA \v\n1_-é{}],2K\u212a", max_size=5), min_size=1, max_size=5))
def test_what_is_taken_means_what_it_meant_to_python(pattern: str, arguments: list[str]) -> None:
    """A pattern that allows more after an update would be a hole that nobody wrote; ``re`` is the oracle."""
    try:
        made = ArgumentPattern.parse(pattern)
    except ArgumentError:
        return
    for argument in arguments:
        assert made.fits(argument) is (re.fullmatch(pattern, argument, re.ASCII) is not None), (pattern, argument)


def test_the_tiers_of_ours_have_patterns_that_hold() -> None:
    """They are loaded by the same rules, and allow what they are there for."""
    found = [pattern for rule in builtin(Tier.INSPECT).rules for pattern in rule.arguments or ()]
    assert found
    ps = Facts(command="ps", program="/usr/bin/ps", arguments=("-eo", "pid,comm"))
    assert decide(builtin(Tier.INSPECT), "proc.command", ps).allowed
    assert not decide(builtin(Tier.INSPECT), "proc.command", ps._replace(arguments=("e",))).allowed
