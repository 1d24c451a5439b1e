"""Semantic versions: the order of section 11, and what a number announces."""

from __future__ import annotations

import itertools

import pytest

from protocol.errors import ArgumentError
from protocol.versions import Version, may_break, next_breaking

# semver.org section 11, with numbers that would sort wrongly as text
ORDER = [
    "0.9.0", "0.10.0", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
    "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1-x-y", "1.0.1", "2.0.0", "10.0.0",
]  # fmt: skip


def test_order() -> None:
    for one, other in itertools.combinations(map(Version.parse, ORDER), 2):
        assert one.is_before(other), (one.text, other.text)
        assert not other.is_before(one)


def test_no_pre_release_unasked() -> None:
    assert max(ORDER, key=lambda text: Version.parse(text).rank) == "10.0.0"
    assert max(["1.0.0", "2.0.0-rc.1"], key=lambda text: Version.parse(text).rank) == "1.0.0"


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.0", "01.0.0", "1.0.0-", "1.0.0-a..b", "1.0.0-01", "1.0.0-a.", "1.0.0+b", "v1.0.0", "1.0.0 ", "1.0.-1",
     "9999999999.0.0", "1.0.0-" + "a" * 80, "1.0.0-ä"],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ArgumentError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("before", "now", "may"),
    [
        ("1.0.0", "1.0.1", False), ("1.0.0", "1.9.0", False), ("1.0.0", "2.0.0", True), ("0.1.0", "0.1.1", False),
        ("0.1.0", "0.2.0", True), ("0.9.0", "1.0.0", True), ("1.0.0-rc.1", "1.0.0-rc.2", True),
        ("1.0.0-rc.1", "1.0.0", True), ("1.0.0", "1.0.1-rc.1", True),
    ],
)  # fmt: skip
def test_what_a_number_announces(before: str, now: str, may: bool) -> None:
    assert may_break(Version.parse(before), Version.parse(now)) is may


def test_the_number_that_would_do() -> None:
    assert [next_breaking(Version.parse(text)) for text in ("0.3.7", "1.2.3")] == ["0.4.0", "2.0.0"]
