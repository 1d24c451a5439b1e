"""``proc.signal`` and ``proc.renice``: one process, held so that no other with the same number is meant.

What is decided on is the process as it was found: its name and its program. Between that and the act its start is
compared again, on a descriptor that the kernel keeps for it.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, OutriderError, UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds
from stdlib.proc_table import link_of, started_s, stat_of

SAME_START_S: Final = 0.005  # half a tick: what a number with a fraction may lose on its way through a script
_Pid = Annotated[int, Bounds(1, 1 << 22)]


@dataclass(frozen=True, slots=True)
class Victim:
    """A process as it was decided on."""

    pid: int
    started_ticks: int
    name: str
    parent: int


def _victim(host: Host, arguments: Mapping[str, Any]) -> Decided:
    pid, started = arguments["pid"], arguments.get("started")
    stat = stat_of(host, pid)
    if started is not None and abs(started_s(host, stat) - started) > SAME_START_S:
        raise ConflictError(f"process {pid} is not the one that was started then; its number was given again")
    try:
        program = link_of(host, pid, "exe")
    except DeniedError:
        program = None
    facts = Facts(command=stat.name, program=program)
    return Decided((facts,), {"pid": Victim(pid, stat.started_ticks, stat.name, stat.ppid)})


def _check_same(host: Host, victim: Victim) -> None:
    if stat_of(host, victim.pid).started_ticks != victim.started_ticks:
        raise NotFoundError(f"process {victim.pid} has ended")


def _held(victim: Victim) -> int:
    """Return a descriptor that the kernel keeps for a process.

    Raises:
        NotFoundError: The number is that of a thread. Those are in /proc too, and one of the agent's would not be known
            for it.
        OSError: The kernel's own.
    """
    try:
        return os.pidfd_open(victim.pid)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):  # of a thread; which of them it is depends on the kernel
            raise NotFoundError(f"there is no process {victim.pid}") from None
        raise


def _refused(error: OSError, victim: Victim) -> OutriderError:
    if isinstance(error, ProcessLookupError):
        return NotFoundError(f"process {victim.pid} has ended")
    if isinstance(error, PermissionError):
        told = f"process {victim.pid} ({victim.name}): the agent's user may not"
        return DeniedError(told, rule="the host's permissions")
    return UnavailableError(f"process {victim.pid}: {error.strerror}")


@call(
    "proc.signal",
    tier=Tier.OPERATE,
    changes=True,
    decides=_victim,
    lua='local ok, failure = pcall(proc.signal, 4194304, "HUP")',
    python='try:\n    proc.signal(4194304, "HUP")\nexcept HostError as failure:\n    print(failure.code)',
)
def send(
    host: Host,
    pid: _Pid,
    sig: Literal["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"],
    started: Annotated[float, Bounds(0, 1e11, "seconds since 1970")] | None = None,
) -> dict[str, Any]:
    """Send a signal to a process; with ``started`` as ``proc.list`` gave it, to that process or to none.

    Returns ``pid`` and ``name`` of the one that got it. Never to the host's first process or to the agent.

    Raises:
        NotFoundError: There is no such process, or it has ended.
        ConflictError: Another one has its number now.
        DeniedError: The agent's user may not, or it is the first or the agent.
    """
    del started  # compared where it was decided
    victim = _of(pid)
    try:
        held = _held(victim)
        try:
            _check_same(host, victim)
            signal.pidfd_send_signal(held, signal.Signals[f"SIG{sig}"])
        finally:
            os.close(held)
    except OSError as error:
        raise _refused(error, victim) from None
    return {"pid": victim.pid, "name": victim.name}


@call(
    "proc.renice",
    tier=Tier.OPERATE,
    changes=True,
    decides=_victim,
    lua="local ok, failure = pcall(proc.renice, 4194304, 10)",
    python="try:\n    proc.renice(4194304, 10)\nexcept HostError as failure:\n    print(failure.code)",
)
def renice(
    host: Host,
    pid: _Pid,
    nice: Annotated[int, Bounds(-20, 19)],
    started: Annotated[float, Bounds(0, 1e11, "seconds since 1970")] | None = None,
) -> dict[str, Any]:
    """Set how nice a process is: 19 gets the least of the processor. ``started`` as for ``proc.signal``.

    Returns ``pid``, ``name`` and ``before``. The kernel knows no descriptor here: the process is compared before and
    after, and one that ended in between is told as an error.

    Raises:
        NotFoundError: There is no such process, or it has ended.
        ConflictError: Another one has its number now.
        DeniedError: The agent's user may not, or it is the first or the agent.
    """
    del started
    victim = _of(pid)
    try:
        os.close(_held(victim))
        before = os.getpriority(os.PRIO_PROCESS, victim.pid)
        _check_same(host, victim)
        os.setpriority(os.PRIO_PROCESS, victim.pid, nice)
        _check_same(host, victim)
    except OSError as error:
        raise _refused(error, victim) from None
    return {"pid": victim.pid, "name": victim.name, "before": before}


def _of(decided: Any) -> Victim:
    if not isinstance(decided, Victim):
        raise ArgumentError("pid: was not decided on", parameter="pid")
    if decided.pid == 1 or os.getpid() in (decided.pid, decided.parent):
        raise DeniedError(f"process {decided.pid} is the host's first, the agent, or a part of it", rule="never")
    return decided
