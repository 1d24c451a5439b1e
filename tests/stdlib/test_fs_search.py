"""Searching files: every match with its line and what stands around it, bounded, in linear time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from running import run
from trees import Permitted, streamed

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import fs_search
from stdlib.fs_matches import MAX_SHOWN_BYTES

TEXT = b"one\ntwo error\ncaf\xe9 error\nfour\nfive error\nsix\n"


def grep(paths: list[Path], *args: Any, **named: Any) -> tuple[list[Any], Any]:
    return streamed("fs.grep", [str(path) for path in paths], *args, **named)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(TEXT)
    return tmp_path / "file"


def test_matches(file: Path) -> None:
    items, summary = grep([file], "error$")
    path = str(file)
    assert items == [
        {"path": path, "line": 2, "text": "two error"}, {"path": path, "line": 3, "text": b"caf\xe9 error"},
        {"path": path, "line": 5, "text": "five error"},
    ]  # fmt: skip
    assert summary == {
        "matches": 3, "files": 1, "binary": 0, "missing": 0, "cut": 0, "partly": 0, "truncated": False, "seen": 0,
        "denied": 0, "deeper": 0, "failed": 0, "errors": [],
    }  # fmt: skip
    assert [item["line"] for item in grep([file], "^(one|six)$")[0]] == [1, 6]
    assert grep([file], "ONE")[0] == []
    assert len(grep([file], "(?i)ONE")[0]) == 1


def test_what_stands_around(file: Path) -> None:
    items, _ = grep([file], "error", before=1, after=2)
    assert [(item["line"], item["before"], item["after"]) for item in items] == [
        (2, ["one"], [b"caf\xe9 error", "four"]), (3, ["two error"], ["four", "five error"]), (5, ["four"], ["six"]),
    ]  # fmt: skip
    items, _ = grep([file], "one", before=3)
    assert [item["before"] for item in items] == [[]]
    assert "after" not in items[0]


def test_the_limit_counts_over_all_files(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(TEXT)
    items, summary = grep([file, tmp_path / "other"], "error", 4, after=1)
    assert [(item["line"], len(item["after"])) for item in items] == [(2, 1), (3, 1), (5, 1), (2, 1)]
    assert (summary["truncated"], summary["matches"], summary["files"]) == (True, 4, 2)
    _, summary = grep([file], "error", 3)
    assert not summary["truncated"]


def test_what_is_not_searched_is_counted(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "binary").write_bytes(b"error\0")
    os.mkfifo(tmp_path / "fifo")
    paths = [tmp_path / "binary", tmp_path / "missing", tmp_path / "fifo", tmp_path, file]
    items, summary = grep(paths, "two")
    assert [item["path"] for item in items] == [str(file)]
    assert {name: summary[name] for name in ("files", "binary", "missing", "failed")} == {
        "files": 1, "binary": 1, "missing": 1, "failed": 2,
    }  # fmt: skip
    assert [error["code"] for error in summary["errors"]] == ["invalid_argument"] * 2
    monkeypatch.setattr(fs_search, "MAX_FILE_BYTES", 100)
    (tmp_path / "large").write_bytes(b"x\n" * 200_000)
    items, summary = grep([tmp_path / "large"], "x", 1_000_000)
    assert (summary["partly"], len(items)) == (1, 65536)


def test_long_lines_are_cut(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a" * 10_000 + b"b\n" + "ü".encode() * 2_000 + b"b\n" + b"\xff" * 3000 + b"b\n")
    items, _ = grep([tmp_path / "file"], "b$")
    assert [item["text"] for item in items] == [
        "a" * MAX_SHOWN_BYTES, "ü" * (MAX_SHOWN_BYTES // 2), b"\xff" * MAX_SHOWN_BYTES,
    ]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files to search, and what looks like files and is none."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    for name in ("top.conf", "a/one.conf", "a/two.log", "a/b/three.conf"):
        (root / name).write_text(f"in {name}: needle\n")
    (root / "a/binary").write_bytes(b"needle\0\0\0")
    (tmp_path / "outside").write_text("needle\n")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(".")
    os.mkfifo(root / "pipe")
    return root


def found_in(tree: Path, items: list[dict[str, Any]]) -> set[str]:
    paths = [os.path.relpath(item["path"], tree) for item in items]
    assert len(paths) == len(set(paths)), "a file was searched twice"
    return set(paths)


def test_directories_are_searched_when_told(tree: Path) -> None:
    items, summary = grep([tree, tree.parent / "outside"], "needle", recursive=True)
    assert found_in(tree, items) == {"top.conf", "a/one.conf", "a/two.log", "a/b/three.conf", "../outside"}
    assert (summary["files"], summary["binary"], summary["seen"], summary["failed"]) == (5, 1, 10, 0)
    assert [item["text"] for item in items if item["path"].endswith("three.conf")] == ["in a/b/three.conf: needle"]
    items, summary = grep([tree], "needle")
    assert (items, summary["failed"], summary["errors"][0]["code"]) == ([], 1, "invalid_argument")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"match": "*.conf"}, {"top.conf", "a/one.conf", "a/b/three.conf"}),
        ({"match": "a/*"}, {"a/one.conf", "a/two.log"}),
        ({"match": "link"}, set()),
        ({"depth": 1}, {"top.conf"}),
        ({"depth": 2}, {"top.conf", "a/one.conf", "a/two.log"}),
    ],
)
def test_which_files_of_a_directory_are_searched(tree: Path, named: dict[str, Any], expected: set[str]) -> None:
    items, summary = grep([tree], "needle", recursive=True, **named)
    assert found_in(tree, items) == expected
    assert summary["deeper"] == ("depth" in named)
    assert not summary["truncated"]


def test_a_search_of_directories_is_bounded(tree: Path) -> None:
    _, summary = grep([tree, tree], "needle", recursive=True, limit=11)
    assert (summary["seen"], summary["truncated"]) == (11, True), "over all directories"
    items, summary = grep([tree], "needle", 2, recursive=True)
    assert (len(items), summary["truncated"]) == (2, True)
    for wrong in ({"depth": 0}, {"depth": 257}, {"limit": 0}, {"match": "../*"}):
        with pytest.raises(ArgumentError) as caught:
            grep([tree], "needle", recursive=True, **wrong)
        assert caught.value.parameter == next(iter(wrong))


def test_what_the_policy_denies_is_not_searched(tree: Path) -> None:
    denied = {str(tree / "a/b"), str(tree / "top.conf"), str(tree / "a/two.log")}
    items, summary = streamed("fs.grep", [str(tree)], "needle", recursive=True, passage=Permitted(denied))
    assert found_in(tree, items) == {"a/one.conf"}
    assert summary["denied"] == 3
    told: dict[str, bool | None] = {str(tree): None, str(tree / "a"): False}
    items, summary = streamed("fs.grep", [str(tree)], "needle", recursive=True, passage=Permitted(["x"], told))
    assert (found_in(tree, items), summary["denied"]) == ({"top.conf"}, 1)


def test_what_cannot_be_read_below_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = fs_search.open_beneath

    def refusing(root: int, name: str, flags: int) -> int:
        if name == "one.conf":
            raise PermissionError(13, "no")
        if name == "two.log":
            raise FileNotFoundError(2, "gone since it was listed")
        return opened(root, name, flags)

    monkeypatch.setattr(fs_search, "open_beneath", refusing)
    items, summary = grep([tree], "needle", recursive=True)
    assert found_in(tree, items) == {"top.conf", "a/b/three.conf"}
    assert [(error["path"], error["code"]) for error in summary["errors"]] == [(str(tree / "a/one.conf"), "denied")]


async def test_the_policy_of_a_tier_holds_in_a_search(sandbox: Sandbox) -> None:
    """At inspect nothing below /root is read, named or found on the way."""
    source = 'local n = 0 for m in fs.grep({"/root"}, ".", {recursive = true}) do n = n + 1 end return n'
    assert (await run(sandbox, "lua", source, Tier.INSPECT)).status == "denied"
    source = (
        'local s = fs.grep({"/etc"}, "root", {recursive = true, limit = 5000}) for m in s do end return s:summary()'
    )
    outcome = await run(sandbox, "lua", source, Tier.INSPECT)
    assert outcome.status == "ok", outcome.reason
    assert isinstance(outcome.result, dict)
    assert outcome.result["files"] > 0
    assert outcome.result["denied"] > 0, "such as /etc/shadow"


@pytest.mark.parametrize("regex", ["(", "(?<=a)b", r"(a)\1", "x" * 2001, "[z-a]"])
def test_what_is_no_pattern_is_refused(file: Path, regex: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        grep([file], regex)
    assert caught.value.parameter == "regex"


def test_a_pattern_that_would_take_for_ever_elsewhere_does_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes((b"a" * 20_000 + b"!\n") * 20)
    assert grep([tmp_path / "file"], "^(a+)+$")[0] == []


GREP = {
    "lua": 'local n = 0 local s = fs.grep({param("at")}, "x", {max = 100000, before = 20, after = 20})'
    " for m in s do n = n + #m.before + #m.after end return {n, s:summary().matches}",
    "python": 's = fs.grep([param("at")], "x", max=100000, before=20, after=20)\n'
    "result = [sum(len(m['before']) + len(m['after']) for m in s), s.summary()['matches']]",
}


@pytest.mark.parametrize("language", sorted(GREP))
async def test_what_stands_around_many_long_lines_fits_into_frames(
    sandbox: Sandbox, tmp_path: Path, language: str
) -> None:
    """Each match is given with 40 lines as long as they may be, of four bytes a character."""
    (tmp_path / "file").write_text(("x" + "\U0001f600" * 1000 + "\n") * 300)
    outcome = await run(sandbox, language, GREP[language], Tier.ADMIN, {"at": str(tmp_path / "file")})
    assert (outcome.status, outcome.result) == ("ok", [300 * 40 - 2 * 210, 300]), outcome.reason
