"""Path patterns: what they cover, and that matching stays cheap."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.paths import PathPattern, literal
from protocol.errors import ArgumentError

CASES = [
    ("/etc/**", "/etc", True), ("/etc/**", "/etc/ssh/x", True), ("/etc/**", "/etcetera", False),
    ("/etc/*", "/etc/passwd", True), ("/etc/*", "/etc/ssh/x", False), ("/etc/*_key", "/etc/host_key", True),
    ("/home/*/.ssh/**", "/home/mia/.ssh/id", True), ("/home/*/.ssh/**", "/home/a/b/.ssh/id", False),
    ("/**", "/", True), ("/", "/", True), ("/", "/etc", False), ("/a/**/z", "/a/z", True),
    ("/a/**/z", "/a/b/c/z", True), ("/a/**/z", "/a/b/c", False), ("/a[0-9]", "/a5", True), ("/a[!0-9]", "/a5", False),
    ("/a?c", "/abc", True), ("/a?c", "/a/c", False), ("/etc/**", "/etc/../root", False), ("/etc/**", "etc/x", False),
    ("/etc/**", "/etc//x", False), ("/etc/**", "/etc/x\0y", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "path", "fits"), CASES)
def test_what_a_pattern_covers(pattern: str, path: str, fits: bool) -> None:
    assert PathPattern.parse(pattern).matches(path) is fits


@pytest.mark.parametrize("text", ["etc", "/a/../b", "/a//b", "/a/./b", "/a**", "/a[", "/a[]]", "/x\0", "/" + "*" * 40])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ArgumentError):
        PathPattern.parse(text)


@pytest.mark.parametrize("text", ["/etc/{shadow,gshadow}", "/srv/{app}/x", "/srv/a\\*", "/srv/[a]\\b"])
def test_what_means_something_elsewhere_is_no_pattern(text: str) -> None:
    """A denial of /etc/{shadow,gshadow} would be about a file of just that name, and about nothing else."""
    with pytest.raises(ArgumentError, match=r"has no meaning here; name each path"):
        PathPattern.parse(text)
    odd = "/srv/{a}\\b*"
    assert PathPattern.parse(literal(odd)).matches(odd)


def test_a_hostile_path_costs_little() -> None:
    """A pattern that backtracks would hold up the agent for every script on the host."""
    pattern = PathPattern.parse("/" + "/".join(["**", "a*"] * 5))
    assert misses_in(pattern, "/" + "/".join(["aa"] * 1300) + "/b") < 1.0


@pytest.mark.parametrize("name", ["*a" * 4 + "b", "*?" * 8 + "b", "*a?" * 5 + "b", "*[ab]" * 5 + "c"])
def test_a_hostile_name_costs_little(name: str) -> None:
    """Manifests have patterns too: no script may hold up the agent, or the server that looks at what one covers."""
    pattern = PathPattern.parse(f"/{name}")
    assert misses_in(pattern, "/" + "a" * 255) < 0.5


def misses_in(pattern: PathPattern, path: str) -> float:
    """Return the seconds of processor time that it takes to see that a path does not fit.

    The least of three: the collector may walk through all that the tests hold in one of them.
    """
    took_s = []
    for _ in range(3):
        started = time.process_time()
        assert not pattern.matches(path)
        took_s.append(time.process_time() - started)
    return min(took_s)


def naive(pattern: str, path: str) -> bool:
    """What a pattern means, word for word, for short ones."""
    made = re.escape(pattern).replace(r"/\*\*", "(/[^/]+)*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return (
        re.fullmatch(made.replace(r"\[!a\]", "[^a/]").replace(r"\[ab\]", "[ab]"), path.rstrip("/"), re.DOTALL)
        is not None
    )


PARTS = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "."]), min_size=1, max_size=6).map("".join)
PATTERNS = st.lists(st.one_of(st.just("**"), PARTS), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(st.text("ab.\n", min_size=1, max_size=6), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(PATTERNS, PATHS)
def test_a_pattern_covers_what_it_says(pattern: str, path: str) -> None:
    """However it is looked for."""
    try:
        parsed = PathPattern.parse(pattern)
    except ArgumentError:
        return
    if not {"", ".", ".."} & set(path.split("/")[1:]):
        assert parsed.matches(path) == naive(pattern, path)


def test_what_is_below_is_told_alike_with_and_without_a_look_at_how_patterns_begin() -> None:
    """Most patterns are about somewhere else; which those are is told by their beginnings."""
    parts = ["a", "ab", "b", "*", "**", "a*", "?b", "[ab]"]
    patterns = ["/", *("/" + "/".join(x) for x in ([p, q, r][:n] for p in parts for q in parts for r in "ab*"
                for n in (1, 2, 3)))]  # fmt: skip
    directories = ["/", "/a", "/ab", "/b", "/abc", "/a/b", "/a/ab", "/b/a/a", "/a/b/a/b"]
    told = set()
    for text in patterns:
        pattern = PathPattern.parse(text)
        slow = replace(pattern, _start="")
        for directory in directories:
            assert pattern.below(directory) is slow.below(directory), (text, directory)
            told.add(pattern.below(directory))
    assert told == {True, False, None}
