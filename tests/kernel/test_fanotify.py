"""The binding of fanotify: changes of a filesystem, by whom, and paths from handles."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel import fanotify
from kernel.fanotify import ATTRIB, CLOSE_WRITE, CREATE, DELETE, ONDIR, RENAME, Event

MASK = ATTRIB | CLOSE_WRITE | CREATE | DELETE | RENAME | ONDIR


def why_not() -> str | None:
    try:
        descriptor = fanotify.start()
        try:
            fanotify.mark(descriptor, "/", MASK)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"the kernel tells of no changes of files here: {error}"
    return None


WHY_NOT = why_not()
needs_fanotify = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[int]:
    descriptor = fanotify.start()
    fanotify.mark(descriptor, str(tmp_path), MASK)
    yield descriptor
    os.close(descriptor)


def own(descriptor: int) -> list[Event]:
    found: list[Event] = []
    while events := fanotify.read(descriptor):
        found += [event for event in events if event.pid == os.getpid()]
    return found


@needs_fanotify
def test_who_did_what_to_which_entry(heard: int, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "caf\udce9").rename(tmp_path / "folder" / "b")
    (tmp_path / "folder" / "b").unlink()
    found = own(heard)
    assert [(event.mask, event.entry.name) for event in found if event.entry is not None] == [
        (CREATE | CLOSE_WRITE, b"caf\xe9"), (CREATE | ONDIR, b"folder"), (RENAME, b"caf\xe9"), (DELETE, b"b"),
    ]  # fmt: skip
    target = found[2].target
    assert target is not None
    assert target.name == b"b"
    assert target.filesystem == fanotify.fsid(str(tmp_path))
    mount = os.open(tmp_path, os.O_RDONLY)
    folder = fanotify.open_directory(mount, target.handle)
    try:
        assert os.readlink(f"/proc/self/fd/{folder}") == f"{tmp_path}/folder"
    finally:
        os.close(folder)
        os.close(mount)


@needs_fanotify
def test_what_only_reads_is_not_told(heard: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    assert len(own(heard)) == 1
    path.read_text()
    assert own(heard) == []


@needs_fanotify
def test_what_the_kernel_refuses_is_an_error(heard: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="fanotify_mark") as caught:
        fanotify.mark(heard, str(tmp_path / "nothing"), MASK)
    assert caught.value.errno == errno.ENOENT
    mount = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="open_by_handle_at"):
            fanotify.open_directory(mount, struct.pack("=Ii8s", 8, 1, bytes(8)))
    finally:
        os.close(mount)


@pytest.mark.parametrize(
    "data", [struct.pack("=IBBHQii", 24, 2, 0, 24, 0, -1, 1), struct.pack("=IBBHQii", 0, 3, 0, 24, 0, -1, 1)]
)
def test_events_of_another_version_are_an_error(data: bytes) -> None:
    with pytest.raises(OSError, match="version"):
        list(fanotify._events(data))
