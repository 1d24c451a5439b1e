"""The tree of processes below this one, which is the nearest reaper of all of them.

Whatever a descendant does, it stays below: the kernel gives orphans to the nearest reaper. Own children cannot go away
before they are reaped here, so their pids are safe to use. Anything deeper is held by a pidfd and looked at again
before a signal is sent, as its parent may have reaped it and its number may belong to a stranger.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

_OWN: Final = "/proc/thread-self/children"
MAX_DEPTH: Final = 64  # of a walk; what is deeper rises when those above it end


def own_children() -> list[int]:
    """Return the children of this process, which has one thread, zombies included."""
    found = _numbers(_OWN)
    return _by_parent().get(os.getpid(), []) if found is None else found


def descendants(root: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield pid and parent of all that is below ``root``, or this process, as far as it holds still."""
    own = os.getpid() if root is None else root
    has_files = os.path.exists(_OWN)  # CONFIG_PROC_CHILDREN; else one look at all processes of the host
    parents = {} if has_files else _by_parent()
    nearest = parents.get(own, []) if not has_files else own_children() if root is None else _children(own)
    level = [(pid, own) for pid in nearest]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH):
        below: list[tuple[int, int]] = []
        for pid, parent in level:
            if pid in seen:
                continue
            seen.add(pid)
            yield pid, parent
            below += [(child, pid) for child in (_children(pid) if has_files else parents.get(pid, []))]
        if not below:
            return
        level = below


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += _numbers(f"/proc/{pid}/task/{task}/children") or []
    except OSError:  # it has ended
        pass
    return found


def _numbers(path: str) -> list[int] | None:
    try:
        with open(path, "rb") as file:
            return [int(number) for number in file.read().split()]
    except OSError:
        return None


def _by_parent() -> dict[int, list[int]]:
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = parent_of(int(name))
            if parent is not None:
                parents.setdefault(parent, []).append(int(name))
    return parents


def parent_of(pid: int) -> int | None:
    """Return the parent of a process; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def send(number: int, pid: int, parent: int) -> bool:
    """Send a signal to a descendant; return whether it was sent."""
    own = os.getpid()
    if parent == own:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            return True
        return False
    try:
        held = os.pidfd_open(pid)
    except OSError:  # it has ended
        return False
    try:
        if parent_of(pid) not in (parent, own):
            return False  # not the one that was found; if it is ours all the same, the next walk finds it
        signal.pidfd_send_signal(held, number)  # held before the look, so it is the one that was looked at
    except (ProcessLookupError, PermissionError):
        return False
    else:
        return True
    finally:
        os.close(held)


def send_to_all(number: int, but: frozenset[int] = frozenset()) -> set[int]:
    """Send a signal to all that is below, except to the trees of ``but``; return who got it."""
    spared = set(but)
    told: set[int] = set()
    for pid, parent in descendants():
        if pid in spared or parent in spared:
            spared.add(pid)
        elif send(number, pid, parent):
            told.add(pid)
    return told
