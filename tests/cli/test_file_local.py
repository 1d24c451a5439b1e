"""Files here that come from a host: nothing it says about names leads anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.files.local import Incoming, Tree, check_below, mode_for
from protocol.errors import ArgumentError, ConflictError, OutriderError


@pytest.mark.parametrize("name", ["", "/", "..", "a/../b", "../x", "/etc/passwd", "a//b", "./a", "a/", "a\0b", "a/.."])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    """As of scp's clients, which took what a server called a file (CVE-2019-6111)."""
    with pytest.raises(ArgumentError, match="does not lie below"):
        check_below(name)
    tree = Tree(str(tmp_path / "out"))
    with pytest.raises(ArgumentError):
        tree.directory(name)
    tree.close()


def test_no_link_is_followed_to_a_place(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    tree = Tree(str(tmp_path / "out"))
    (tmp_path / "out" / "link").symlink_to(tmp_path / "victim")
    for attempt in (lambda: tree.directory("link"), lambda: tree.directory("link/x"), lambda: tree.link("link/x", "y")):
        with pytest.raises(OutriderError):
            attempt()
    with tree.parent("link") as (fd, name):
        incoming = Incoming(fd, name, "x")
        incoming.write(b"new")
        incoming.finish(0o600, None)
        incoming.close()
    assert not (tmp_path / "out" / "link").is_symlink(), "the name itself was replaced"
    assert os.listdir(tmp_path / "victim") == []
    tree.close()


def test_links_are_made_once(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    tree.link("x", "/etc")
    tree.link("x", "/etc")
    with pytest.raises(ConflictError):
        tree.link("x", "/usr")
    (tmp_path / "y").touch()
    with pytest.raises(ConflictError):
        tree.link("y", "/usr")
    tree.close()


@pytest.fixture
def place(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


def test_what_came_before_a_break_is_there_the_next_time(tmp_path: Path, place: int) -> None:
    first = Incoming(place, "x", "x")
    first.write(b"half")
    with pytest.raises(ConflictError, match="another copy"):
        Incoming(place, "x", "x")
    first.close()
    second = Incoming(place, "x", "x")
    assert second.size == 4
    second.write(b" and half")
    second.finish(0o640, 1_000_000_000.0)
    second.close()
    assert (tmp_path / "x").read_bytes() == b"half and half"
    assert (tmp_path / "x").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "x").stat().st_mtime == 1_000_000_000
    nothing = Incoming(place, "y", "y")
    nothing.close()
    assert os.listdir(tmp_path) == ["x"]
    os.close(place)


def test_a_name_of_the_longest_kind_has_room_for_its_part(tmp_path: Path, place: int) -> None:
    name = "x" * 255
    incoming = Incoming(place, name, name)
    incoming.write(b"x")
    incoming.finish(0o600, None)
    incoming.close()
    assert os.listdir(tmp_path) == [name]
    os.close(place)


def test_a_part_that_is_a_link_is_not_followed(tmp_path: Path, place: int) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".x.outrider-part").symlink_to("victim")
    with pytest.raises(OutriderError):
        Incoming(place, "x", "x")
    assert (tmp_path / "victim").read_text() == "mine"
    os.close(place)


def test_modes(tmp_path: Path, place: int) -> None:
    (tmp_path / "there").touch(mode=0o600)
    kept = os.umask(0o022)
    try:
        assert mode_for(place, "there", 0o4777, keeps=False) == 0o600
        assert mode_for(place, "new", 0o4777, keeps=False) == 0o755
        assert mode_for(place, "there", 0o4755, keeps=True) == 0o755
    finally:
        os.umask(kept)
        os.close(place)
