"""Control groups as the kernel shows them: where this process is in each tree, and which part was given to this user.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; systemd's docs/CGROUP_DELEGATION.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_MARKS: Final = ("trusted.delegate", "user.delegate")  # systemd's, on a part of the tree that it gave away
_OWN: Final = Path("/proc/self/cgroup")
_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process is in one tree of groups."""

    version: int  # 1 or 2
    controllers: frozenset[str]  # of this tree; for version 2 they are found in the directory
    top: Path  # where the tree is mounted
    own: Path  # the group of this process


def places(groups: str, mounts: str) -> list[Place]:
    """Return the trees that can be seen from here. Pure.

    Args:
        groups: The text of /proc/self/cgroup.
        mounts: The text of /proc/self/mountinfo.
    """
    trees = {key: (top, root) for top, root, keys in _trees(mounts) for key in keys}
    found = []
    for line in groups.split("\n"):  # names may hold what else Python takes for the end of a line
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        version = 2 if number == "0" and not names else 1
        controllers = frozenset(names.split(",")) - {""}
        key = "" if version == 2 else names
        if key not in trees:
            continue
        top, root = trees[key]
        own = _below(top, root, path)
        if own is not None:
            found.append(Place(version, controllers, top, own))
    return found


def _trees(mounts: str) -> Iterable[tuple[Path, str, list[str]]]:
    """Yield mount point, root and the keys by which /proc/self/cgroup names the tree."""
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield Path(fields[4]), fields[3], [""]
        elif kind[0] == "cgroup":
            options = [option for option in kind[2].split(",") if option not in ("rw", "ro")]
            yield Path(fields[4]), fields[3], [",".join(options), *options]


def _below(top: Path, root: str, path: str) -> Path | None:
    """Return the directory of group ``path``, ``root`` of its tree being mounted at ``top``; None if it is outside."""
    try:
        inside = PurePosixPath(path).relative_to(root)
    except ValueError:
        return None
    return None if ".." in inside.parts else top / inside


def here() -> list[Place]:
    """Return the trees that this process can see.

    Raises:
        OSError: /proc is not there.
    """
    return places(read(_OWN), read(_MOUNTS))


def is_delegated(directory: Path) -> bool:
    """Return whether this part of the tree was given away: to this user, who may write there, or by systemd's mark."""
    if os.geteuid() != 0:
        return os.access(directory / "cgroup.subtree_control", os.W_OK)
    for mark in _MARKS:
        with suppress(OSError):  # it has no such mark, or this kernel keeps none there
            if os.getxattr(directory, mark) == b"1":
                return True
    return False


def read(file: Path) -> str:
    """Return the text of a file of the kernel's, at most 1 MiB."""
    with open(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
        return lines.read(1 << 20)
