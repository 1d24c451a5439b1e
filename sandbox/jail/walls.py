"""The names of the walls, and how one wall is reported. Pure.

The names are stable: ceilings require walls by name, records name the missing ones, tests switch one off by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PRIVILEGES: Final = "privileges"
USER_NS: Final = "user_ns"
PID_NS: Final = "pid_ns"
NET_NS: Final = "net_ns"
MOUNT_NS: Final = "mount_ns"
IPC_NS: Final = "ipc_ns"
RLIMITS: Final = "rlimits"
CGROUP: Final = "cgroup"
LANDLOCK: Final = "landlock"
SECCOMP: Final = "seccomp"
MDWE: Final = "mdwe"
LANGUAGE: Final = "language"

#: Every wall with what it keeps from a worker, in the order in which people read them.
WALLS: Final[dict[str, str]] = {
    PRIVILEGES: "unprivileged user, no capabilities, none to be gained, memory closed to neighbours",
    USER_NS: "own user namespace: no power over anything outside",
    PID_NS: "own process namespace: no other process can be seen; all end with the zygote",
    NET_NS: "own network namespace: no interface, not even loopback",
    MOUNT_NS: "own mount namespace: an empty read-only root",
    IPC_NS: "own System V IPC and host name",
    RLIMITS: "memory, CPU time, descriptors, file size, processes",
    CGROUP: "memory, processes and share of the CPU of all workers together",
    LANDLOCK: "no file can be opened, no TCP, no signals and abstract sockets outwards",
    SECCOMP: "14 system calls; any other one kills",
    MDWE: "memory that was writable never becomes code",
    LANGUAGE: "the script reaches the declared calls only",
}


class State(StrEnum):
    """Whether a wall stands."""

    UP = "up"
    MISSING = "missing"  # this kernel or this user cannot have it
    OFF = "off"  # switched off; happens in tests only


@dataclass(frozen=True, slots=True)
class Wall:
    """One wall, as reported."""

    name: str  # a key of WALLS
    state: State
    detail: str  # what it does, or why it is missing

    def to_plain(self) -> dict[str, str]:
        """Return it for records, ``status`` and JSON."""
        return {"name": self.name, "state": self.state.value, "detail": self.detail}


def missing(walls: Iterable[Wall]) -> list[str]:
    """Return the names of the walls that do not stand."""
    return [wall.name for wall in walls if wall.state is not State.UP]


def summary(walls: Iterable[Wall]) -> str:
    """Return the one line for people, such as ``12 of 12 walls up``."""
    known = list(walls)
    return f"{len(known) - len(missing(known))} of {len(known)} walls up"
