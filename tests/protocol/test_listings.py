"""What ``git ls-tree`` lists, as a bundle takes it (with git itself: tests/cli/test_commits.py)."""

from __future__ import annotations

import pytest

from protocol.commits import bundle_entries, entries
from protocol.errors import ArgumentError, TooLargeError

BLOB = "a" * 40


def line(path: bytes, *, mode: str = "100644", kind: str = "blob", size: str = "12") -> bytes:
    return f"{mode} {kind} {BLOB} {size:>7}\t".encode() + path + b"\0"


def test_plain_files_of_a_folder() -> None:
    found = bundle_entries(line(b"x/manifest.yaml") + line(b"x/lib/a.lua", mode="100755"), b"x/")
    assert {path: entry.size for path, entry in found.items()} == {"manifest.yaml": 12, "lib/a.lua": 12}


def test_what_is_no_part_of_a_bundle() -> None:
    listed = line(b".publication.json") + line(b"a/.x/y") + line(b"main.lua~") + line(b"__pycache__/x.pyc")
    assert bundle_entries(listed + line(b".git/x", mode="120000")) == {}


@pytest.mark.parametrize(
    "listed",
    [
        line(b"x", mode="120000"), line(b"x", mode="160000", kind="commit", size="-"), line(b"\xff"), b"nonsense\0",
        line(b"x")[:-1].replace(b"\t", b" "), line(b"x", mode="100664"),
        line(b"x", mode="040000", kind="tree", size="-"),
    ],
)  # fmt: skip
def test_whatever_else_is_refused(listed: bytes) -> None:
    with pytest.raises(ArgumentError):
        bundle_entries(listed)


def test_bounds() -> None:
    with pytest.raises(TooLargeError):
        bundle_entries(b"".join(line(b"%d" % number) for number in range(257)))
    with pytest.raises(TooLargeError):
        bundle_entries(line(b"x", size=str(5 << 20)))


def test_a_path_may_hold_whatever_git_lets_it_hold() -> None:
    (entry,) = entries(line(b"a\tb\nc"))
    assert entry.path == b"a\tb\nc"
    assert entry.is_file
