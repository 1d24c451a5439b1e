"""Path patterns: what they cover, and that matching stays cheap."""

from __future__ import annotations

import time

import pytest

from policies.paths import PathPattern
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


def test_a_hostile_path_costs_little() -> None:
    """A pattern that backtracks would hold up the agent for every script on the host."""
    pattern = PathPattern.parse("/" + "/".join(["**", "a*"] * 5))
    started = time.perf_counter()
    assert not pattern.matches("/" + "/".join(["aa"] * 1300) + "/b")
    assert time.perf_counter() - started < 1.0
