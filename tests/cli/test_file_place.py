"""Which words mean a file of a host, and the lowest tier that may do something there."""

from __future__ import annotations

import pytest

from cli.files.place import Remote, lowest, parse, remote
from protocol.errors import ArgumentError
from protocol.tiers import Tier


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("web-3:/etc/hosts", Remote("web-3", "/etc/hosts")), ("a:/x:y", Remote("a", "/x:y")), ("./a:b", None),
        ("/a:b", None), ("a", None), (":/x", None), ("a/b:/c", None),
    ],
)  # fmt: skip
def test_a_word_is_remote_as_with_scp(word: str, found: Remote | None) -> None:
    assert parse(word) == found


@pytest.mark.parametrize("word", ["a:b", "a:", "a:/" + "x" * 5000])
def test_a_remote_path_is_absolute_and_bounded(word: str) -> None:
    with pytest.raises(ArgumentError):
        parse(word)


def test_what_must_be_remote_is() -> None:
    with pytest.raises(ArgumentError, match="TARGET:PATH"):
        remote("here")


def test_names_below() -> None:
    assert str(Remote("a", "/x/").below("y/z")) == "a:/x/y/z"
    assert (Remote("a", "/x/y/").name, Remote("a", "/").name) == ("y", "")


@pytest.mark.parametrize(
    ("call", "path", "is_tree", "tier"),
    [
        ("fs.stat", "/root/x", False, Tier.OBSERVE), ("fs.read_stream", "/etc/hosts", False, Tier.INSPECT),
        ("fs.read_stream", "/srv/x", False, Tier.ADMIN), ("fs.read_stream", "/etc/shadow", False, Tier.ADMIN),
        ("fs.write_stream", "/srv/www/x", False, Tier.OPERATE), ("fs.write", "/etc/passwd", False, Tier.ADMIN),
        ("fs.write", "/srv/www/../../etc/passwd", False, Tier.ADMIN), ("fs.remove", "/srv/www/x", False, Tier.ADMIN),
        ("fs.chown", "/srv/www/x", False, Tier.ADMIN), ("fs.read_stream", "/etc", True, Tier.INSPECT),
    ],
)  # fmt: skip
def test_the_lowest_tier_that_does(call: str, path: str, is_tree: bool, tier: Tier) -> None:
    assert lowest([(call, path)], is_tree=is_tree) is tier
    assert lowest([(call, path), ("fs.stat", "/")], is_tree=is_tree) is tier
