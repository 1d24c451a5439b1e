"""What the kernel lets one started program have. Pure."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

DESCRIPTORS: Final = 1024  # the usual soft limit; select(2) cannot use more
PROCESSES: Final = 256  # of one tree at once; a large build is below it. Chosen without measurement
OOM_SCORE: Final = 500  # the kernel ends a started program before the agent, and an ordinary service after neither


@dataclass(frozen=True, slots=True)
class Limits:
    """Each is a maximum, for each process of the tree but for ``processes``. None: what the agent itself has."""

    cpu_s: int | None = None  # then SIGXCPU
    memory_bytes: int | None = None  # address space
    file_bytes: int | None = None  # of one written file
    descriptors: int = DESCRIPTORS
    processes: int = PROCESSES  # of the whole tree

    def to_kernel(self) -> list[int]:
        """Return resource and value in turn; that of processes is the minder's to add."""
        wanted = {
            resource.RLIMIT_CORE: 0,  # a core file of a command would hold what it was given
            resource.RLIMIT_NOFILE: self.descriptors,
            resource.RLIMIT_CPU: self.cpu_s,
            resource.RLIMIT_AS: self.memory_bytes,
            resource.RLIMIT_FSIZE: self.file_bytes,
        }
        return [number for kind, value in wanted.items() if value is not None for number in (kind, value)]


def with_processes(limits: list[int], processes: int, tasks: int) -> dict[int, int]:
    """Return the limits by resource.

    The kernel counts the tasks of a *user*, all of them, so the limit is what the whole system has now and then as many
    as the tree may have: never too small for what runs already, and a bound for one that forks without end. Root is not
    held by it; the minder counts the tree as well.
    """
    pairs = dict(zip(limits[::2], limits[1::2], strict=True))
    pairs[resource.RLIMIT_NPROC] = tasks + processes
    return pairs


def within(value: int, hard: int) -> int:
    """Return ``value``, or the limit that holds already if that is less: it cannot be raised."""
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
