"""Whole trees: everything once, nothing outside, nothing that the policy leaves out, however the tree changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import perform, run
from trees import Permitted, streamed

from protocol.errors import ArgumentError, NotFoundError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import fs_tree, fs_usage

SUMMARY = {"seen", "truncated", "denied", "deeper", "failed", "errors"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with a link out of it and one in a circle."""
    root = tmp_path / "root"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/one.txt").write_text("1")
    (root / "a/b/two.log").write_text("22")
    (root / "a/b/c/three.txt").write_text("333" * 1000)
    (root / "top.txt").write_text("")
    (root / "circle").symlink_to(".")
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    (tmp_path / "outside").mkdir()
    return root


ALL = {"a", "a/one.txt", "a/b", "a/b/two.log", "a/b/c", "a/b/c/three.txt", "top.txt", "circle", "out", "pipe"}


def relative(root: Path, items: list[dict[str, Any]]) -> set[str]:
    found = [os.path.relpath(item["path"], root) for item in items]
    assert len(found) == len(set(found)), "an entry was given twice"
    return set(found)


def test_walk_gives_everything_once_and_follows_nothing(tree: Path) -> None:
    items, summary = streamed("fs.walk", str(tree))
    assert relative(tree, items) == ALL
    assert summary == {"seen": 10, "truncated": False, "denied": 0, "deeper": 0, "failed": 0, "errors": []}
    of = {item["name"]: item for item in items}
    assert of["three.txt"] == {
        "path": str(tree / "a/b/c/three.txt"), "name": "three.txt", "type": "file", "size": 3000, "depth": 4,
        "mtime": (tree / "a/b/c/three.txt").stat().st_mtime,
    }  # fmt: skip
    assert {name: of[name]["type"] for name in ("a", "circle", "pipe")} == {
        "a": "directory", "circle": "symlink", "pipe": "other",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"depth": 1}, {"a", "top.txt", "circle", "out", "pipe"}),
        ({"match": "*.txt"}, {"a/one.txt", "a/b/c/three.txt", "top.txt"}),
        ({"match": "a/**/*.txt"}, {"a/one.txt", "a/b/c/three.txt"}),
        ({"match": "**/b/*"}, {"a/b/two.log", "a/b/c"}),
        ({"match": "**"}, ALL),
        ({"match": "[!t]*"}, {"a", "a/one.txt", "a/b", "a/b/c", "circle", "out", "pipe"}),
        ({"type": "directory"}, {"a", "a/b", "a/b/c"}),
        ({"type": "other"}, {"pipe"}),
        ({"min_size": 2}, {"a/b/two.log", "a/b/c/three.txt"}),
        ({"newer": 4_000_000_000.0}, set()),
        ({"newer": 0.0, "type": "file", "stat": False}, {"a/one.txt", "a/b/two.log", "a/b/c/three.txt", "top.txt"}),
    ],
)
def test_walk_can_be_narrowed(tree: Path, options: dict[str, Any], expected: set[str]) -> None:
    items, summary = streamed("fs.walk", str(tree), **options)
    assert relative(tree, items) == expected
    assert summary["truncated"] is False
    assert summary["deeper"] == (1 if "depth" in options else 0)


def test_walk_ends_at_its_limit_and_says_so(tree: Path) -> None:
    items, summary = streamed("fs.walk", str(tree), limit=3)
    assert len(items) == 3
    assert summary["truncated"]
    items, summary = streamed("fs.walk", str(tree), limit=10)
    assert (len(items), summary["truncated"]) == (10, False)


def test_walk_without_looking_at_entries(tree: Path) -> None:
    items, _ = streamed("fs.walk", str(tree), stat=False)
    assert {frozenset(item) for item in items} == {frozenset(("path", "name", "type", "depth"))}
    assert relative(tree, items) == ALL


@pytest.mark.parametrize("name", ["fs.walk", "fs.largest"])
async def test_the_root_must_be_a_directory(tree: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="not a directory"):
        await perform(name, str(tree / "top.txt"))
    with pytest.raises(NotFoundError):
        await perform(name, str(tree / "missing"))


@pytest.mark.parametrize("match", ["", "/", "a//b", "../*", "a/./b", "x" * 1025, "/".join("a" * 65)])
def test_a_bad_pattern_names_its_parameter(tree: Path, match: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        streamed("fs.walk", str(tree), match=match)
    assert caught.value.parameter == "match"
    with pytest.raises(ArgumentError) as caught:
        streamed("fs.glob", [match], str(tree))
    assert caught.value.parameter == "patterns"


def test_a_pattern_that_would_take_for_ever_elsewhere_does_not(tmp_path: Path) -> None:
    """A script that could stop the agent's thread with a name and a pattern would stop every run."""
    (tmp_path / ("a" * 255)).touch()
    items, _ = streamed("fs.walk", str(tmp_path), match="*a" * 60 + "b")
    assert items == []


def test_what_is_denied_is_left_out_and_counted(tree: Path) -> None:
    """An entry that is denied is not given; a directory below which nothing is permitted is not entered."""
    denied = {str(tree / "a/b"), str(tree / "top.txt")}
    items, summary = streamed("fs.walk", str(tree), passage=Permitted(denied))
    assert relative(tree, items) == {"a", "a/one.txt", "circle", "out", "pipe"}
    assert summary["denied"] == 2
    told = {str(tree): None, str(tree / "a"): False}
    items, summary = streamed("fs.walk", str(tree), passage=Permitted(["x"], told))
    assert relative(tree, items) == {"a", "top.txt", "circle", "out", "pipe"}
    assert summary["denied"] == 1


def test_where_all_is_permitted_nothing_is_asked(tree: Path) -> None:
    """Asking about each of a million files would make a walk slow."""
    passage = Permitted(["x"], {str(tree): None, str(tree / "a"): True})
    streamed("fs.walk", str(tree), passage=passage)
    assert {facts.path for facts in passage.asked} == {
        str(tree), *(str(tree / name) for name in ("a", "top.txt", "circle", "out", "pipe")),
    }  # fmt: skip
    assert passage.asked_below == [str(tree), str(tree / "a")]


def test_a_root_is_shown_as_it_was_given_and_decided_on_as_it_is(tree: Path) -> None:
    (tree.parent / "alias").symlink_to(tree)
    passage = Permitted([str(tree / "a/one.txt")])
    items, _ = streamed("fs.walk", f"{tree.parent}/alias/", passage=passage)
    assert {item["path"] for item in items if item["name"] == "top.txt"} == {f"{tree.parent}/alias/top.txt"}
    assert "one.txt" not in {item["name"] for item in items}


def test_errors_are_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them with path and code, all of them by number."""
    opened = fs_tree.open_beneath

    def refusing(root: int, name: str, flags: int, *, one_fs: bool = False) -> int:
        if name.endswith("b"):
            raise PermissionError(13, "no")
        return opened(root, name, flags, one_fs=one_fs)

    monkeypatch.setattr(fs_tree, "open_beneath", refusing)
    items, summary = streamed("fs.walk", str(tree))
    assert "a/b" in relative(tree, items)
    assert "a/b/c" not in relative(tree, items)
    (error,) = summary["errors"]
    assert (error["path"], error["code"], summary["failed"]) == (f"{tree}/a/b/", "denied", 1)


def test_too_many_waiting_directories_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs_tree, "MAX_WAITING", 3)
    monkeypatch.setattr(fs_usage, "MAX_WAITING", 3)
    for number in range(5):
        (tmp_path / f"d{number}/inner").mkdir(parents=True)
    items, summary = streamed("fs.walk", str(tmp_path))
    assert (len(items), summary["failed"], summary["errors"][0]["code"]) == (8, 2, "unavailable")
    _, summary = streamed("fs.disk_usage", str(tmp_path))
    assert (summary["directories"], summary["failed"]) == (7, 2)


def test_a_deep_tree_takes_few_descriptors(tmp_path: Path) -> None:
    at = tmp_path
    for _ in range(200):
        at = at / "d"
    at.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    spec_items, _ = streamed("fs.walk", str(tmp_path))
    assert len(spec_items) == 200
    assert len(os.listdir("/proc/self/fd")) <= before
    _, summary = streamed("fs.walk", str(tmp_path), depth=100)
    assert summary["deeper"] == 1


def test_a_directory_whose_path_cannot_be_told_ends_no_walk(tmp_path: Path) -> None:
    """Anybody may make one: a path that can be opened below a root, and is longer than the kernel tells."""
    names = ["d" * 200] * 20 + ["e" * 60]
    at = os.open(tmp_path, os.O_DIRECTORY)
    for name in names:
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT, dir_fd=at))
    os.close(at)
    (tmp_path / "beside").write_text("x")
    for call in ("fs.walk", "fs.disk_usage"):
        _, summary = streamed(call, str(tmp_path))
        (error,) = summary["errors"]
        assert (error["code"], summary["failed"]) == ("invalid_argument", 1)


def test_one_fs_stays_on_its_file_system() -> None:
    """What is mounted below is named, and not entered."""
    below, _ = streamed("fs.walk", "/", depth=2, one_fs=True, stat=False)
    assert "/proc" in {item["path"] for item in below}
    assert not [item for item in below if item["path"].startswith("/proc/")]
    below, _ = streamed("fs.walk", "/", depth=2, match="proc/self", stat=False)
    assert [item["type"] for item in below] == ["symlink"]


def test_glob(tree: Path) -> None:
    items, summary = streamed("fs.glob", ["a/*.txt", "**/*.txt", "/pipe", "no/such"], str(tree))
    assert relative(tree, items) == {"a/one.txt", "a/b/c/three.txt", "top.txt", "pipe"}
    assert set(summary) == SUMMARY
    items, summary = streamed("fs.glob", ["a/*"], str(tree))
    assert relative(tree, items) == {"a/one.txt", "a/b"}
    assert summary["seen"] == 7, "what cannot fit is not entered"
    items, _ = streamed("fs.glob", ["etc/passw?"])
    assert [item["path"] for item in items] == ["/etc/passwd"]
    items, summary = streamed("fs.glob", ["**"], str(tree), limit=2)
    assert (len(items), summary["truncated"]) == (2, True)
    items, summary = streamed("fs.glob", ["**"], str(tree), passage=Permitted([str(tree / "a/b")]))
    assert relative(tree, items) == ALL - {name for name in ALL if name.startswith("a/b")}
    for patterns in ([], ["x"] * 65):
        with pytest.raises(ArgumentError) as caught:
            streamed("fs.glob", patterns, str(tree))
        assert caught.value.parameter == "patterns"


def test_disk_usage_is_that_of_du(tree: Path) -> None:
    (tree / "a/sparse").touch()
    os.truncate(tree / "a/sparse", 1 << 40)
    os.link(tree / "a/b/c/three.txt", tree / "again.txt")
    items, summary = streamed("fs.disk_usage", str(tree), depth=256)
    told = subprocess.run(["du", "-x", "--block-size=1", str(tree)], capture_output=True, text=True, check=True).stdout
    expected = {path: int(size) for size, path in (line.split("\t") for line in told.splitlines())}
    assert {item["path"]: item["bytes"] for item in items} == expected
    assert items[-1] == {"path": str(tree), "bytes": summary["bytes"], "depth": 0}
    assert (summary["exists"], summary["directories"], summary["files"]) == (True, 4, 9)
    items, _ = streamed("fs.disk_usage", str(tree), depth=1)
    assert relative(tree, items) == {".", "a"}
    items, _ = streamed("fs.disk_usage", str(tree), depth=1, min_size=1 << 50)
    assert items == []


def test_disk_usage_of_a_file_and_of_nothing(tree: Path) -> None:
    file = tree / "a/b/c/three.txt"
    assert streamed("fs.disk_usage", str(file))[1]["bytes"] == file.stat().st_blocks * 512
    items, summary = streamed("fs.disk_usage", str(tree / "missing"))
    assert (items, summary["exists"], summary["bytes"]) == ([], False, 0)


def test_disk_usage_leaves_out_what_is_denied(tree: Path) -> None:
    items, summary = streamed("fs.disk_usage", str(tree), depth=9, passage=Permitted([str(tree / "a/b")]))
    assert (relative(tree, items), summary["denied"]) == ({".", "a"}, 1)


async def test_largest(tree: Path) -> None:
    found = await perform("fs.largest", str(tree), 2)
    assert found["files"] == [
        {"path": str(tree / "a/b/c/three.txt"), "size": 3000}, {"path": str(tree / "a/b/two.log"), "size": 2},
    ]  # fmt: skip
    assert set(found) == {"files", *SUMMARY}
    assert (await perform("fs.largest", str(tree), min_size=5000))["files"] == []


NAMES = {
    "lua": """\
local names = {}
for entry in fs.walk(param("at")) do
  names[#names + 1] = entry.name
  if fs.stat(entry.path).size ~= entry.size then error("another file") end
end
table.sort(names)
return {#names, names[1] == "caf\\xe9"}""",
    "python": """\
names = []
for entry in fs.walk(param("at")):
    names.append(entry["name"])
    if fs.stat(entry["path"])["size"] != entry["size"]:
        raise ValueError("another file")
result = [len(names), b"caf\\xe9" in names]""",
}


@pytest.mark.parametrize("language", sorted(NAMES))
async def test_names_that_are_not_utf8_come_and_go(sandbox: Sandbox, tmp_path: Path, language: str) -> None:
    for size, name in enumerate(["caf\udce9", "new\nline", "\u202e"]):
        (tmp_path / name).write_bytes(b"x" * size)
    outcome = await run(sandbox, language, NAMES[language], Tier.ADMIN, {"at": str(tmp_path)})
    assert (outcome.status, outcome.result) == ("ok", [3, True]), outcome.reason


async def test_the_policy_of_a_tier_holds_in_the_middle_of_a_walk(sandbox: Sandbox) -> None:
    """At observe, /etc may be walked, and in it what holds keys may not."""
    source = 'local n = 0 for e in fs.walk("/etc") do if e.path:find("^/etc/ssh") then n = n + 1 end end return n'
    outcome = await run(sandbox, "lua", source, Tier.OBSERVE)
    assert (outcome.status, outcome.result) == ("ok", 0), outcome.reason
    source = (
        'local s = fs.walk("/", {depth = 2}) for e in s do if e.path:find("^/home/") or e.path:find("^/root") then'
        " error(e.path) end end return s:summary().denied > 0"
    )
    outcome = await run(sandbox, "lua", source, Tier.OBSERVE)
    assert (outcome.status, outcome.result) == ("ok", True), outcome.reason
