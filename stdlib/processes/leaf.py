"""A control group for each minder, where this host lets us make one: the kernel then ends a tree with one write.

An addition to the walk over the tree, never its replacement: root below could leave the group. Version 2 only. Nothing
is made in a part of the tree of groups that was not given to us, as in the sandbox's own wall.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import kernel
from kernel import groups

PREFIX: Final = "outrider-commands-"  # then the spawner's pid
_PIDS: Final = "pids"


def make_base() -> Path | None:
    """Make the group that holds those of all minders of this process; None if there can be none."""
    try:
        places = [place for place in groups.here() if place.version == 2]
    except OSError:
        return None
    for place in places:
        beside = [place.own.parent] if place.own != place.top and groups.is_delegated(place.own.parent) else []
        for parent in (*beside, place.own):
            _remove_stale(parent)
            base = parent / f"{PREFIX}{os.getpid()}"
            try:
                base.mkdir(mode=0o755)
            except OSError:
                continue
            if (base / "cgroup.kill").exists():  # Linux 5.14
                with suppress(OSError):  # no such controller here; the minder counts by itself
                    kernel.tell(base / "cgroup.subtree_control", f"+{_PIDS}")
                return base
            remove(base)
    return None


def make(base: Path, number: int) -> Path | None:
    """Make the group of one minder."""
    leaf = base / str(number)
    try:
        leaf.mkdir(mode=0o755)
    except OSError:
        return None
    return leaf


def remove(group: Path) -> None:
    """Remove a group that has nobody left. Never fails: one that cannot be removed now is stale later."""
    with suppress(OSError):
        group.rmdir()


def _remove_stale(parent: Path) -> None:
    with suppress(OSError):
        for entry in os.listdir(parent):
            maker = entry.removeprefix(PREFIX)
            if maker != entry and maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
                remove_all(parent / entry)


def remove_all(base: Path) -> None:
    """Remove the groups of minders that have nobody left, and the base if that were all."""
    with suppress(OSError):
        for leaf in os.scandir(base):
            if leaf.is_dir(follow_symlinks=False):
                remove(Path(leaf.path))
    remove(base)


def kill(group: Path) -> None:
    """Kill all that is in a group, at once."""
    with suppress(OSError):  # removed by somebody; the walk over the tree does it then
        kernel.tell(group / "cgroup.kill", "1")


class Leaf:
    """The group of one minder, as that minder uses it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._was_killed = False
        self.descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def renew(self) -> None:
        """Make it anew if it was killed: Linux 6.14 and later kill whatever is born into such a group from outside.

        Raises:
            OSError: It cannot be; it is closed then.
        """
        if self._was_killed:
            os.close(self.descriptor)
            self._directory.rmdir()
            self._directory.mkdir(mode=0o755)
            self.descriptor, self._was_killed = self._open(), False

    def limit(self, processes: int) -> None:
        """Bound how many processes it may have, if the controller is there."""
        with suppress(OSError):
            kernel.tell(self._directory / "pids.max", str(processes))

    def kill(self) -> None:
        """Kill all that is in it, at once."""
        self._was_killed = True
        kill(self._directory)
