"""Where a process is in the trees of control groups, and which part of one was given away."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kernel.groups import here, is_delegated, places

HYBRID_MOUNTS = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
12 31 0:22 / /proc rw - proc proc rw
"""


def test_the_places_of_a_process_in_both_versions() -> None:
    """Paths are relative to what is mounted, which in a container is a part of the tree."""
    groups = "9:cpu,cpuacct:/a\n4:memory:/b/c\n3:pids:/docker/abc/d\n1:name=systemd:/e\n0::/f.slice/g.service\n"
    found = {str(place.own): (place.version, set(place.controllers)) for place in places(groups, HYBRID_MOUNTS)}
    assert found == {
        "/sys/fs/cgroup/cpu,cpuacct/a": (1, {"cpu", "cpuacct"}),
        "/sys/fs/cgroup/memory/b/c": (1, {"memory"}),
        "/sys/fs/cgroup/pids/d": (1, {"pids"}),
        "/sys/fs/cgroup/systemd/e": (1, {"name=systemd"}),
        "/sys/fs/cgroup/unified/f.slice/g.service": (2, set()),
    }


def test_a_name_begins_no_line_of_its_own() -> None:
    """Anybody names the groups below one that is theirs, and a directory that they mount something at."""
    ends = ("\r", "\x0b", "\x0c", "\x85", "\u2028")
    for end in ends:
        (found,) = places(f"0::/user.slice/a{end}0::/system.slice\n", HYBRID_MOUNTS)
        assert str(found.own) == f"/sys/fs/cgroup/unified/user.slice/a{end}0::/system.slice"
        mounts = f"50 31 0:40 / /home/m/x{end}1\u00a01\u00a00:1\u00a0/\u00a0/tmp/cg rw - fuse f rw\n"
        assert places("0::/\n", mounts) == []


@pytest.mark.parametrize(
    "groups",
    ["", "x", "4:memory", "3:pids:/elsewhere\n", "3:pids:/docker/abc/../../x\n", "7:hugetlb:/\n", "0::\n:::\n"],
)
def test_a_group_that_cannot_be_seen_is_no_place(groups: str) -> None:
    """Nothing outside what is mounted is touched."""
    assert [place for place in places(groups, HYBRID_MOUNTS) if ".." in str(place.own)] == []
    assert [place for place in places(groups, HYBRID_MOUNTS) if "elsewhere" in str(place.own)] == []


def test_a_mark_says_that_a_group_was_delegated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root; anybody else may write there or not."""
    service = tmp_path
    (service / "cgroup.subtree_control").write_text("")
    marks: dict[str, bytes] = {}

    def mark(directory: object, name: str) -> bytes:
        assert directory == service
        if name not in marks:
            raise OSError(errno.ENODATA, "no such mark")
        return marks[name]

    monkeypatch.setattr(os, "getxattr", mark)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not is_delegated(service)
    marks["user.delegate"] = b"0"
    assert not is_delegated(service)
    marks["user.delegate"] = b"1"
    assert is_delegated(service)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert is_delegated(service) == os.access(service / "cgroup.subtree_control", os.W_OK)


def test_the_own_places_are_there() -> None:
    """What is returned can be used at once."""
    assert all(place.own.is_dir() for place in here())
