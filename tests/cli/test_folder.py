"""A folder as a bundle: only plain files that lie in it, whatever else somebody has put there; and nothing hangs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from scripts_here import write_bundle

from cli.local.folder import read_bundle, read_script
from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "probe", "return 1\n")


def test_hidden_files_and_what_editors_leave_are_no_part_of_it(folder: Path) -> None:
    whole = read_bundle(folder).digest
    for name in (".publication.json", ".git/config", "main.lua~", "__pycache__/x.pyc", ".hidden/manifest.yaml"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert read_bundle(folder).digest == whole
    (folder / "lib").mkdir()
    (folder / "lib" / "more.lua").write_text("x")
    assert sorted(read_bundle(folder).files) == ["lib/more.lua", "main.lua", "manifest.yaml"]


@pytest.mark.parametrize("target", ["/etc/passwd", "main.lua", "nowhere", "..", "/"])
@pytest.mark.parametrize("name", ["link.lua", "main.lua", "manifest.yaml"])
def test_links_are_refused_wherever_they_lead(folder: Path, name: str, target: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    with pytest.raises(ArgumentError) as caught:
        read_bundle(folder)
    assert caught.value.where is not None


def test_a_linked_directory_is_refused(folder: Path) -> None:
    (folder / "lib").symlink_to("/etc")
    with pytest.raises(ArgumentError, match="symbolic link"):
        read_bundle(folder)


def test_pipes_sockets_and_devices_are_refused_and_never_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.lua")
    with pytest.raises(ArgumentError, match="not a regular file"):
        read_bundle(folder)
    (folder / "pipe.lua").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        with pytest.raises(ArgumentError, match="cannot be read"):
            read_bundle(folder)
    (folder / "s").unlink()
    for device in ("/dev/zero", "/dev/tty"):
        with pytest.raises(ArgumentError):
            read_script(Path(device))


def test_names_that_some_file_system_takes_for_one_are_refused(folder: Path) -> None:
    (folder / "MAIN.LUA").write_text("x")
    with pytest.raises(ArgumentError, match="differ only in case"):
        read_bundle(folder)


def test_a_name_that_a_terminal_would_not_show_is_refused(folder: Path) -> None:
    (folder / "a\nb.lua").write_text("x")
    with pytest.raises(ArgumentError, match="control or invisible"):
        read_bundle(folder)


def test_it_is_bounded_before_it_is_read(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)  # a hole: a terabyte that takes no place
    with pytest.raises(TooLargeError, match=str(MAX_BUNDLE_BYTES)):
        read_bundle(folder)
    (folder / "huge.bin").unlink()
    for number in range(MAX_BUNDLE_FILES):
        (folder / f"f{number}").touch()
    with pytest.raises(TooLargeError, match="files"):
        read_bundle(folder)
