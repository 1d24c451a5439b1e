"""Which processes came of which: fed with forks and ends as the kernel tells them, asked whose a process is. Pure.

A process belongs to a tree from its fork on, whatever happens to those between it and the root. Those that have ended
are remembered for a while, because what they did may be told after their end.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_ENDED: Final = 4_096  # that are remembered; the oldest are forgotten first
MAX_ALIVE: Final = 65_536  # of all trees; what is above belongs to nobody


class Lineage:
    """The trees that are followed."""

    def __init__(self) -> None:
        self._alive: dict[int, int] = {}  # process -> root
        self._ended: OrderedDict[int, int] = OrderedDict()

    def follow(self, root: int) -> None:
        """Follow what comes of a process from now on."""
        self._alive[root] = root

    def unfollow(self, root: int) -> None:
        """Forget a tree."""
        self._alive = {pid: whose for pid, whose in self._alive.items() if whose != root}
        for pid in [pid for pid, whose in self._ended.items() if whose == root]:
            del self._ended[pid]

    def found(self, root: int, pids: set[int]) -> None:
        """These, and no others, are alive below ``root``: somebody looked, because forks may have been missed."""
        for pid in [pid for pid, whose in self._alive.items() if whose == root and pid != root and pid not in pids]:
            self.ended(pid)
        for pid in pids:
            self._born(pid, root)

    def forked(self, parent: int, child: int) -> None:
        """A process has a child. One that comes of a stranger is a stranger, whoever had its number before."""
        if self._alive.get(child) == child:
            return  # a root, whose own birth is told after it was followed
        whose = self._alive.get(parent)
        if whose is None:
            self._alive.pop(child, None)
            self._ended.pop(child, None)
        else:
            self._born(child, whose)

    def ended(self, pid: int) -> int | None:
        """A process has ended; return the root of its tree, None for a stranger."""
        whose = self._alive.pop(pid, None)
        if whose is not None:
            self._ended[pid] = whose
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        return whose

    def root_of(self, pid: int) -> int | None:
        """Return the root of a process's tree, also of one that has just ended; None for a stranger."""
        whose = self._alive.get(pid)
        return self._ended.get(pid) if whose is None else whose

    def _born(self, pid: int, root: int) -> None:
        self._ended.pop(pid, None)
        if len(self._alive) < MAX_ALIVE:
            self._alive[pid] = root
