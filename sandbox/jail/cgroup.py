"""Wall ``cgroup``: what all workers of one zygote may have together, in a control group of their own.

The limits of one worker are those of ``rlimits``; this one holds when many run at once, and counts what they share
once. It needs a place in the tree of groups that was given to this user: a service of systemd has one with
``Delegate=yes``. Root could write anywhere, yet a tree has one owner, so nothing is made beside a group that was not
delegated. Version 2 of the kernel's interface and, for hosts that still mix both, version 1, below the own group.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import kernel
from kernel import groups

PREFIX: Final = "outrider-"  # of the groups that are ours, then the process that made it
NEEDED: Final = ("memory", "pids")  # without both the wall does not stand; cpu comes along where it can be had
OPTIONAL: Final = ("cpu",)
DEFAULT_PROCESSES: Final = 1024
LEAST_MEMORY_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Of all workers of one zygote together. Their share of the CPU is half of what a group has by default."""

    memory_bytes: int
    processes: int = DEFAULT_PROCESSES

    @classmethod
    def of_this_host(cls) -> Limits:
        """Return half of the memory that this machine has, but no less than 256 MiB."""
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(max(LEAST_MEMORY_BYTES, total_bytes // 2))


def enter(limits: Limits) -> str:
    """Make groups with these limits and move this process into them; return what was had, in words.

    Raises:
        OSError: There is no place for them; says why. Nothing was changed.
    """
    remove_stale()
    here = groups.here()
    name = f"{PREFIX}{os.getpid()}"
    made: list[Path] = []
    try:
        chosen = _version_2(here, name, made) or _version_1(here, name, made)
        for directory, version, controllers in chosen:
            for controller in controllers:
                _limit(directory, version, controller, limits)
        for directory, _, _ in chosen:
            kernel.tell(directory / "cgroup.procs", "0")
    except OSError:
        for directory in made:
            with suppress(OSError):  # in use after all, or gone; the first error is the one to tell
                directory.rmdir()
        raise
    had = sorted({controller for _, _, controllers in chosen for controller in controllers})
    return f"{', '.join(had)} (version {chosen[0][1]})"


_Chosen = list[tuple[Path, int, tuple[str, ...]]]


def _version_2(here: list[groups.Place], name: str, made: list[Path]) -> _Chosen:
    """Return the group to use, or nothing if there is no tree of version 2 with what is needed."""
    for place in here:
        if place.version != 2:
            continue
        # A group that has processes can give its children no controllers, so beside this one comes first.
        beside = [place.own.parent] if place.own != place.top and groups.is_delegated(place.own.parent) else []
        for parent in (*beside, place.own):
            wanted = _available(parent)
            if not set(NEEDED) <= set(wanted):
                continue
            with suppress(OSError):
                kernel.tell(parent / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in wanted))
                made.append(_make(parent / name))
                return [(parent / name, 2, wanted)]
    return []


def _available(parent: Path) -> tuple[str, ...]:
    try:
        there = groups.read(parent / "cgroup.controllers").split()
    except OSError:
        return ()
    return tuple(controller for controller in (*NEEDED, *OPTIONAL) if controller in there)


def _version_1(here: list[groups.Place], name: str, made: list[Path]) -> _Chosen:
    """Return one group for each controller that is needed.

    Raises:
        OSError: One cannot be had.
    """
    trees = {controller: place for place in here if place.version == 1 for controller in place.controllers}
    lacking = [controller for controller in NEEDED if controller not in trees]
    if lacking:
        raise OSError(errno.ENOENT, f"no controller for {' and '.join(lacking)} can be had here")
    chosen: _Chosen = []
    for controller in NEEDED:
        directory = trees[controller].own / name
        if directory not in made:  # two controllers may share a tree
            made.append(_make(directory))
        chosen.append((directory, 1, (controller,)))
    for controller in (each for each in OPTIONAL if each in trees):
        directory = trees[controller].own / name
        with suppress(OSError):
            if directory not in made:
                made.append(_make(directory))
            chosen.append((directory, 1, (controller,)))
    return chosen


def _make(directory: Path) -> Path:
    directory.mkdir(mode=0o755)
    return directory


def _limit(directory: Path, version: int, controller: str, limits: Limits) -> None:
    file, value = {
        (2, "memory"): ("memory.max", limits.memory_bytes),
        (1, "memory"): ("memory.limit_in_bytes", limits.memory_bytes),
        (2, "pids"): ("pids.max", limits.processes),
        (1, "pids"): ("pids.max", limits.processes),
        (2, "cpu"): ("cpu.weight", 50),
        (1, "cpu"): ("cpu.shares", 512),
    }[version, controller]
    kernel.tell(directory / file, str(value))


def remove_stale() -> None:
    """Remove the groups that were made beside or below this process's own and have nobody left. Never fails.

    A group is left alone while it has processes, or while the process that made it lives and may be about to enter it.
    """
    try:
        here = groups.here()
    except OSError:
        return
    for parent in {directory for place in here for directory in (place.own, place.own.parent)}:
        with suppress(OSError):
            for entry in os.listdir(parent):
                maker = entry.removeprefix(PREFIX)
                if maker != entry and maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
                    with suppress(OSError):  # it has processes
                        os.rmdir(parent / entry)
