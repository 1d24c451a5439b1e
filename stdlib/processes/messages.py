"""What the agent, its spawner and its minders say to each other.

To the spawner: ``Mind``, with the minder's end of a socketpair beside it, and ``Drop``. To a minder: ``Run`` with the
program's three descriptors beside it, then ``Signal`` and ``Kill``. From a minder: ``Started`` with a pidfd beside it,
or ``NotStarted``; then ``Ended``. When nobody is left of a command, a minder takes the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.packets import Packets


@dataclass(frozen=True, slots=True)
class Mind:
    """Asks the spawner for one minder; its control socket comes with this packet."""

    number: int  # by which the agent knows it, from 1


@dataclass(frozen=True, slots=True)
class Drop:
    """Has the spawner kill a minder that did not answer, and then what it minded; one that is gone is none."""

    number: int


@dataclass(frozen=True, slots=True)
class Run:
    """Asks a minder for one command; descriptors for 0, 1 and 2 come with this packet."""

    executable: bytes  # absolute
    argv: list[bytes]
    environment: list[bytes]  # name=value
    directory: bytes
    umask: int
    ids: list[int] | None  # uid, gid, then all groups; None: who the agent is
    has_terminal: bool  # descriptor 0 is a terminal that becomes the controlling one
    may_gain: bool  # whether a set-user-ID program below it gains the rights of its file
    limits: list[int]  # resource and value in turn
    processes: int  # in the whole tree at once
    grace_ms: int  # between SIGTERM and SIGKILL for what outlives the command


@dataclass(frozen=True, slots=True)
class Signal:
    """Sends a signal to the program, or to its whole process group."""

    number: int
    to_group: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """Ends the whole tree: SIGTERM now, SIGKILL after the grace."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs; its pidfd comes with this packet."""

    pid: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The program does not run, and nothing is left of the attempt."""

    errno: int
    step: str  # what failed


@dataclass(frozen=True, slots=True)
class Ended:
    """The program has ended and its tree with it, but for ``left``."""

    status: int  # as waitpid(2) gives it
    cpu_us: int  # user and system time of all that was reaped
    peak_bytes: int  # of the largest process
    stragglers: int  # processes other than the program that had to be ended
    left: int  # processes that did not end although they were killed: they wait for a device
    why: str  # empty, or why the minder ended it of itself


Message = Mind | Run | Signal | Kill | Started | NotStarted | Ended | Drop

_PACKETS: Final[Packets[Message]] = Packets(
    {0: Mind, 1: Run, 2: Signal, 3: Kill, 4: Started, 5: NotStarted, 6: Ended, 7: Drop}
)
pack, unpack = _PACKETS.pack, _PACKETS.unpack
