"""Whole files or none, and none that others could have written."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from agent.files import read_bounded, write_durably
from protocol.errors import NotFoundError, TooLargeError, UnavailableError


def test_what_is_written_is_read_back_and_private(tmp_path: Path, descriptors_kept: None) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert read_bounded(path, 3, is_secret=True) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_the_remains_of_a_crash_are_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half")
    write_durably(tmp_path / "file", b"whole")
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_planted_for_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".file.new").symlink_to(victim)
    write_durably(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"


def test_a_disk_that_refuses_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    (tmp_path / ".file.new").mkdir()
    with pytest.raises(UnavailableError, match="cannot be written"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_disk_that_is_full_keeps_nothing_of_what_was_begun(tmp_path: Path) -> None:
    """Each bundle that a server sends would leave its beginning on it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UnavailableError, match="cannot be written"):
            write_durably(tmp_path / "file", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ceiling.yaml"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(UnavailableError, match="written by others"):
        read_bounded(path, 10)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(b"x")
    path.chmod(0o640)
    assert read_bounded(path, 10) == b"x"
    with pytest.raises(UnavailableError, match="read by others"):
        read_bounded(path, 10, is_secret=True)


def test_more_than_the_bound_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    path.chmod(0o600)
    with pytest.raises(TooLargeError):
        read_bounded(path, 4)


def test_a_file_that_the_kernel_makes_is_read_whole() -> None:
    """Its size is told as nothing."""
    path = Path("/proc/self/status")
    assert path.stat().st_size == 0
    assert read_bounded(path, 1 << 20).startswith(b"Name:")
    assert read_bounded(path, 1 << 20).count(b"\n") > 10
    with pytest.raises(TooLargeError):
        read_bounded(path, 10)


def test_a_pipe_in_place_of_a_file_does_not_hang_the_agent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnavailableError, match="regular file"):
        read_bounded(tmp_path / "pipe", 10)


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path, descriptors_kept: None) -> None:
    with pytest.raises(UnavailableError, match="regular file"):
        read_bounded(tmp_path, 10)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="absent"):
        read_bounded(tmp_path / "absent", 10)
