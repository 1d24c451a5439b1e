# ruff: noqa: E501 - one expression on one line reads best
"""``re`` as scripts have it."""

from __future__ import annotations

import re

import pytest
from languages import alone, plainly, python

from sandbox.python_regex import MAX_KEPT, MAX_PATTERN_CHARACTERS, MAX_SUBJECT_CHARACTERS, compile_pattern

SAME = [
    "re.findall(r'(\\w+)=(\\d+)', 'a=1 b=22')",
    "re.findall('a.c', 'abc a\\nc', re.DOTALL)",
    "re.findall('^x', 'x\\nX', re.M | re.I)",
    "[m.group() for m in re.finditer(r'\\d', 'a1b2')]",
    "re.split(r'[,;]\\s*', 'a, b;c')",
    "re.split(',', 'a,b,c', maxsplit=1)",
    "re.sub(r'(\\w)(\\d)', r'\\2\\g<1>', 'a1 b2')",
    "re.sub('a', lambda m: m.group().upper() + str(m.start()), 'banana', count=2)",
    "re.subn('a', 'b', 'aaa')",
    "re.escape('a.b[c]')",
    "re.fullmatch('a+', 'aab') is None",
    "bool(re.match('(?x) a  # comment', 'ab'))",
    "[re.compile('a(?P<n>b)').groups, re.compile('a(?P<n>b)').groupindex, re.compile('a', re.I).pattern]",
    "int(re.compile('a', re.I).flags)",
    "[re.compile('b').search('abb', 2).start(), re.compile('b').search('abb', 0, 1)]",
    "re.search('(?P<year>[0-9]{4})-(?P<month>[0-9]{2})', 'on 2024-05-06').groupdict()",
    "[list(re.search('(a)(b)?', 'xa').groups('-')), list(re.search('(a)(b)?', 'xa').span())]",
    "[re.search('(a)', 'xa')[1], re.search('(?P<n>a)', 'xa')['n'], re.search('a', 'xa').expand(r'<\\g<0>>')]",
    "[m.pos, m.endpos, m.lastindex, m.lastgroup, m.string, m.start(1), m.end()]",
    "str(m) + repr(m)",
    "re.findall(re.compile('a'), 'aa')",
    "isinstance(m, re.Match) and isinstance(re.compile('a'), re.Pattern)",
    "re.findall(r'(?>a+)b|\\N{DIGIT ONE}|é', 'aab1é')",
    "[re.I | re.S | re.X | re.A | re.M | re.NOFLAG] == [re.IGNORECASE | re.DOTALL | re.VERBOSE | re.ASCII | re.MULTILINE]",
]


def _lists(value: object) -> object:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("expression", SAME)
def test_it_gives_what_the_library_gives(expression: str) -> None:
    """It is the same matcher."""
    source = f"import re\nm = re.search('(?P<n>b)', 'abc')\nresult = {expression}"
    assert python(source).value == _lists(plainly(source))


def test_a_bad_pattern_is_an_error_that_tells_where() -> None:
    """Under both of its names."""
    source = "import re\ntry:\n    re.compile('a(b')\nexcept re.{}  as e:\n    result = [e.msg, e.pos, e.pattern]"
    wanted = ["missing ), unterminated subpattern", 1, "a(b"]
    assert python(source.format("error")).value == wanted
    assert python(source.format("PatternError")).value == wanted


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("re.match('(a*)*b', 'a' * 40)", "this pattern can take exponential time"),
        ("re.compile('(a|aa)+$')", "this pattern can take exponential time"),
        ("re.Pattern('(a+)+')", "this pattern can take exponential time"),
        ("re.sub(r'(\\s*\\w+)*x', '', 'a')", "this pattern can take exponential time"),
        ("re.compile('a' * 2001)", "at most 2000 characters"),
        ("re.search('a', 'a' * (1024 * 1024 + 1))", "at most 1048576 characters"),
        ("re.compile('(' * 900 + ')' * 900)", "nested too deeply"),
        ("re.compile('a{99999999999999999999}')", "the repetition number is too large"),
        ("re.compile('a', 128)", "these flags are not available"),  # DEBUG prints past the cap
        ("re.compile('a', 4)", "these flags are not available"),  # LOCALE
        ("re.compile('(?L)a')", "cannot use 'L' flag"),
        ("re.compile('a', -1)", "flags must be from"),
        ("re.compile('a', True)", "flags must be int"),
        ("re.compile(b'a')", "must be str, not bytes"),
        ("re.search('a', b'a')", "must be str, not bytes"),
        ("re.search('a', None)", "must be str, not NoneType"),
        ("re.compile(re.compile('a'), re.I)", "takes no flags"),
        ("re.sub('a', 5, 'a')", "TypeError"),
        ("re.sub('a', '\\\\9', 'a')", "invalid group reference"),
        ("re.search('a', 'a').expand(5)", "must be str"),
        ("re.purge()", "<module 're'> has no attribute 'purge'"),
        ("re.sys", "has no attribute 'sys'"),
        ("re.enum", "has no attribute 'enum'"),
        ("re.template", "has no attribute"),
        ("re.RegexFlag", "has no attribute"),
        ("re.I.name", "has no attribute 'name'"),
        ("re.search('a', 'a').re", "has no attribute 're'"),
        ("re.compile('a').scanner", "has no attribute 'scanner'"),
        ("getattr(re.compile('a'), '_compiled')", "has no attribute"),
        ("getattr(re.compile('a').search, '__func__')", "has no attribute"),
        ("getattr(re.compile('a').search, '__self__')", "has no attribute"),
        ("getattr(re.search('a', 'a').expand, '__func__')", "has no attribute"),
        ("getattr(re.compile, '__globals__')", "has no attribute"),
        ("getattr(re, '__loader__')", "has no attribute"),
        ("getattr(re, '_compiler')", "has no attribute"),
        ("re.Pattern.search", "has no attribute"),
        ("re.Match.group", "has no attribute"),
        ("re.Pattern(re)", "must be str, not re"),
        ("re.Match()", "cannot create 're.Match' instances"),
    ],
)
def test_what_is_refused(expression: str, words: str) -> None:
    """Whatever would run away, reach the locale, print by itself, or lead elsewhere."""
    assert words in python(f"import re\nresult = {expression}").error


@pytest.mark.parametrize(
    "statement",
    ["re.x = 1", "re.compile('a').pattern = 'b'", "re.search('a', 'a').string = ''", "re.I += 1", "re.error.x = 1"],
)
def test_nothing_of_it_can_be_changed(statement: str) -> None:
    """It is the same for every run that its zygote ever has."""
    assert "cannot be changed" in python(f"import re\n{statement}").error


def test_classes_cannot_be_made_from_it() -> None:
    """Neither of what it gives nor of its errors."""
    for base in ("Pattern", "Match", "error"):
        assert "cannot be a base class" in python(f"import re\nclass A(re.{base}):\n    pass").error


@pytest.mark.parametrize(
    "source",
    [
        "re.compile('(?:' * 100 + 'x{2}' + '){2}' * 100)",
        "re.compile('((((a{90}){90}){90}){90}){90}')",
        "re.sub('', 'y' * 1000000, 'x' * 1000000)",
        "re.compile('[' + '\\\\U0001F600-\\\\U0001F64F' * 90 + ']')",
        "re.findall('(?=(' + 'a?' * 50 + '))', 'a' * 10000)[:0]",
        "re.split('(' + ')('.join('x' * 99) + ')', 'x' * 100000)",
        "re.sub('a', lambda m: re.sub('a', lambda n: 'b', 'aaa'), 'aaa')",
        "re.sub('a', lambda m: m, 'a')",
        "re.sub('a', lambda m: 1 / 0, 'a')",
        "re.fullmatch('(a?){9}' * 20, 'a' * 180) is None",
    ],
)
def test_huge_patterns_and_results_end(source: str) -> None:
    """As a value or an ordinary error, within the limits of a worker."""
    outcome = alone("python", f"import re\nresult = {source}")
    assert outcome.startswith(("ok: ", "error: ")), outcome


def test_what_still_takes_too_long_is_ended_from_outside() -> None:
    """A power of the text's length is not refused; the CPU limit of the process ends it."""
    outcome = alone("python", "import re\nre.search('.*.*.*.*x', 'a' * 10000)")
    assert outcome.startswith("ended: -"), outcome


def test_kept_patterns_are_few() -> None:
    """A script that makes ever new ones would keep all of them in memory."""
    from sandbox import python_regex

    for number in range(3 * MAX_KEPT):
        compile_pattern(f"a{number}")
    assert len(python_regex._kept) <= MAX_KEPT
    assert compile_pattern("a1") is compile_pattern("a1")
    assert MAX_PATTERN_CHARACTERS < MAX_SUBJECT_CHARACTERS
    assert isinstance(compile_pattern("a").search("a"), re.Match)
