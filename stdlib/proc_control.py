"""``proc.signal`` and ``proc.renice``: one process, held so that no other with the same number is meant.

What is decided on is the process as it was found: its name and its program. Before the act a descriptor is opened that
the kernel keeps for a process, whatever becomes of its number; only then its start, name and program are compared with
those that were decided on, and a signal goes through the descriptor. So it reaches that process or none.

Neither is done to what the agent consists of, at any tier: the agent, zygotes and their workers, the spawner and its
minders. A script that could end, stop or slow those would do so to other runs and to sessions of people. What they
are is asked of the kernel, not of /proc, which may hide processes. Programs that minders have started are no such part.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from policies.model import UNKNOWN, Facts
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, OutriderError, UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds
from stdlib.paths import DELETED
from stdlib.proc_table import link_of, started_s, stat_of

_EVERY_CHILD: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT | 0x40000000  # __WALL, linux/wait.h: also those of clone(2)
SAME_START_S: Final = 0.005  # half a tick: what a number with a fraction may lose on its way through a script
_Pid = Annotated[int, Bounds(1, 1 << 22)]


@dataclass(frozen=True, slots=True)
class Victim:
    """A process as it was decided on."""

    pid: int
    started_ticks: int
    name: str
    program: str | None


def _victim(host: Host, arguments: Mapping[str, Any]) -> Decided:
    pid, started = arguments["pid"], arguments.get("started")
    stat = stat_of(host, pid)
    if started is not None and abs(started_s(host, stat) - started) > SAME_START_S:
        raise ConflictError(f"process {pid} is not the one that was started then; its number was given again")
    victim = Victim(pid, stat.started_ticks, stat.name, _program(host, pid))
    return Decided((Facts(command=victim.name, program=victim.program),), {"pid": victim})


def _program(host: Host, pid: int) -> str | None:
    """Return the program of a process by the name that rules have for it; None for a thread of the kernel's.

    One whose file was replaced since, as by every update, has lost that name, and the kernel tells another one.
    """
    try:
        told = link_of(host, pid, "exe")
    except DeniedError:
        return UNKNOWN
    if told is None or not told.endswith(DELETED):
        return told
    try:
        if os.path.samestat(os.stat(told), os.stat(f"{host.proc}/{pid}/exe")):
            return told  # it is called so
    except OSError:  # there is nothing of that name, as mostly
        return told.removesuffix(DELETED)
    return told.removesuffix(DELETED)


def _check_same(host: Host, victim: Victim) -> None:
    stat = stat_of(host, victim.pid)
    program = _program(host, victim.pid)
    if stat.started_ticks != victim.started_ticks or (program is None and victim.program is not None):  # a zombie
        raise NotFoundError(f"process {victim.pid} has ended")
    if (stat.name, program) != (victim.name, victim.program):
        raise ConflictError(f"process {victim.pid} has become another program meanwhile: {stat.name}")


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


def _spare_own(host: Host, victim: Victim) -> None:
    """Return if the process, of which a descriptor is held, is no part of the agent.

    Our children lead sessions, in which what they fork stays; but a worker leads its own, and so does a program. A
    worker is what a child of ours, or one in such a child's session, has forked. Only minders fork programs, and they
    are in the spawner's session.

    Raises:
        DeniedError: It is one.
        ProcessLookupError: It has ended.
    """
    spawner = host.processes.spawner_pid if host.processes is not None else None
    parent = stat_of(host, victim.pid).ppid
    if not _is_within(victim.pid):
        if parent in (0, spawner) or not _is_within(parent):
            return
        if spawner is not None and os.getsid(parent) == spawner:
            return
    raise _never(victim)


def _is_within(pid: int) -> bool:
    """Tell whether a process is a child of this one, or in the session of one."""
    return _is_child(pid) or _is_child(os.getsid(pid))


def _is_child(pid: int) -> bool:
    if pid <= 0:  # the session of what the kernel has started, or of what lies outside of this container
        return False
    try:
        os.waitid(os.P_PID, pid, _EVERY_CHILD)
    except ChildProcessError:
        return False
    return True


def _never(victim: Victim) -> DeniedError:
    return DeniedError(f"process {victim.pid} is the host's first, the agent, or a part of it", rule="never")


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

    Returns ``pid`` and ``name`` of the one that got it. Never to the host's first process, to the agent, or to what the
    agent consists of, such as the workers of other runs; programs that it has started for somebody can be signalled.

    Raises:
        NotFoundError: There is no such process, or it has ended.
        ConflictError: Another one has its number now, or it has become another program meanwhile.
        DeniedError: The agent's user may not, or it is the first, the agent or a part of it.
    """
    del started  # compared where it was decided
    victim = _of(pid)
    try:
        held = _held(victim)
        try:
            _check_same(host, victim)
            _spare_own(host, victim)
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
        ConflictError: Another one has its number now, or it has become another program meanwhile.
        DeniedError: The agent's user may not, or it is the first, the agent or a part of it.
    """
    del started
    victim = _of(pid)
    try:
        held = _held(victim)
        try:
            before = os.getpriority(os.PRIO_PROCESS, victim.pid)
            _check_same(host, victim)
            _spare_own(host, victim)
            os.setpriority(os.PRIO_PROCESS, victim.pid, nice)
            _check_same(host, victim)
        finally:
            os.close(held)
    except OSError as error:
        raise _refused(error, victim) from None
    return {"pid": victim.pid, "name": victim.name, "before": before}


def _of(decided: Any) -> Victim:
    if not isinstance(decided, Victim):
        raise ArgumentError("pid: was not decided on", parameter="pid")
    if decided.pid in (1, os.getpid()):
        raise _never(decided)
    return decided
