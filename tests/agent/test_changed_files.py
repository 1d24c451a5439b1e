"""Which files change: filesystems that are heard of, paths as told, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from test_witness import needs_fanotify

from agent.changed_files import ChangedFiles, Mount, mounts
from kernel import fanotify

MOUNTINFO = r"""25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
26 25 0:5 / /proc rw - proc proc rw
27 25 8:1 /srv /with\040space rw master:2 - ext4 /dev/sda1 rw
28 25 0:40 / /mnt rw - nfs4 far:/ rw
29 25 7:0 / /snap ro - squashfs /dev/loop0 ro,errors=continue
30 25 0:41 / /a\134b rw - tmpfs tmpfs rw
a line that is none
"""


def test_each_filesystem_once_by_its_shortest_path() -> None:
    assert mounts(MOUNTINFO.splitlines()) == [
        Mount("/", "ext4", False), Mount("/proc", "proc", False), Mount("/mnt", "nfs4", False),
        Mount("/snap", "squashfs", True), Mount("/a\\b", "tmpfs", False),
    ]  # fmt: skip


def own(files: ChangedFiles) -> list[dict[str, Any]]:
    return [about for pid, about in files.look(lambda pid: pid == os.getpid()) if pid]


@needs_fanotify
@pytest.mark.usefixtures("descriptors_kept")
def test_changes_have_paths(tmp_path: Path) -> None:
    files = ChangedFiles()
    try:
        (tmp_path / "caf\udce9").write_text("x")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").chmod(0o700)
        (tmp_path / "caf\udce9").rename(tmp_path / "folder" / "b")
        assert own(files) == [
            {"did": ["created", "written"], "path": f"{tmp_path}/caf\\xe9"},
            {"did": ["created"], "path": f"{tmp_path}/folder", "folder": True},
            {"did": ["attributes"], "path": f"{tmp_path}/folder", "folder": True},
            {"did": ["renamed"], "path": f"{tmp_path}/caf\\xe9", "to": f"{tmp_path}/folder/b"},
        ]
        assert own(files) == []
    finally:
        files.close()


@needs_fanotify
def test_a_folder_that_is_gone_has_no_path(tmp_path: Path) -> None:
    files = ChangedFiles()
    try:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a").touch()
        (tmp_path / "folder" / "a").unlink()
        (tmp_path / "folder").rmdir()
        found = own(files)
        assert {told["path"] for told in found} == {"?/a", f"{tmp_path}/folder"}
    finally:
        files.close()


@needs_fanotify
def test_networks_are_not_asked_and_what_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Mount("/", "nfs4", False), Mount("/no/such/place", "ext4", False), Mount("/tmp", "ext4", False)]
    monkeypatch.setattr("agent.changed_files.mounts", lambda _: lines)
    files = ChangedFiles()
    files.close()
    assert files.seen == ["/tmp"]
    assert files.unseen == ["/: nfs4", "/no/such/place: No such file or directory"]


@needs_fanotify
def test_a_machine_that_runs_from_the_memory_it_was_started_from_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs had no names where they were over at once; seen on the emulated machine of tools/on_aarch64."""
    monkeypatch.setattr("agent.changed_files.mounts", lambda _: [Mount("/tmp", "rootfs", False)])
    files = ChangedFiles()
    files.close()
    assert (files.seen, files.unseen) == (["/tmp"], [])


@needs_fanotify
@pytest.mark.usefixtures("descriptors_kept")
def test_where_nothing_tells_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.changed_files.mounts", lambda _: [Mount("/", "fuse.sshfs", False)])
    with pytest.raises(OSError, match=r"/: fuse\.sshfs"):
        ChangedFiles()


@needs_fanotify
def test_changes_that_were_lost_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ChangedFiles()
    try:
        told = [[fanotify.Event(fanotify.Q_OVERFLOW, 0, None, None)], []]
        monkeypatch.setattr(fanotify, "read", lambda _: told.pop(0))
        assert list(files.look(lambda _: True)) == [(0, {})]
    finally:
        files.close()
