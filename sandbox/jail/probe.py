"""What this host offers: each wall is really raised, alone, in a process of its own, and then run against.

A wall counts as up only if what it forbids was forbidden. Used by ``outrider doctor``; the sandbox itself finds out
anew what stands, each time a zygote starts. Run as a program, so that nothing of the caller is in the processes that
try.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import kernel
from protocol.errors import UnavailableError
from sandbox.jail import cgroup, landlock, mdwe, namespaces, privileges, rlimits, root, seccomp, walls
from sandbox.jail.builder import DEFAULT_ID
from sandbox.jail.trial import Say, Trial, in_child
from sandbox.jail.walls import WALLS, State, Wall

TIMEOUT_S: Final = 30.0
_A_FILE: Final = "/etc/passwd"  # readable for everybody, everywhere
_MEMORY_BYTES: Final = 64 * 1024 * 1024


class _Breached(Exception):
    """The wall was raised, and what it forbids went through."""


def probe(python: str = sys.executable) -> tuple[Wall, ...]:
    """Return how each wall does on this host, for this user.

    Raises:
        UnavailableError: It cannot be tried here; says why.
    """
    command = [python, "-I", "-m", "sandbox.jail.probe"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True, env={"LANG": "C.UTF-8"})  # noqa: S603 - our own interpreter
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"the walls cannot be tried: {error}") from None
    rows = json.loads(done.stdout)
    return tuple(Wall(row["name"], State(row["state"]), row["detail"]) for row in rows)


def try_all() -> tuple[Wall, ...]:
    """Try each wall in a child of this process, which must have one thread."""
    found = tuple(_judge(name, in_child(_ATTEMPTS[name])) for name in WALLS)
    cgroup.remove_stale()  # who enters a group cannot remove it
    return found


def _judge(name: str, trial: Trial) -> Wall:
    expected = -signal.SIGSYS if name == walls.SECCOMP else 0
    if trial.error is not None:
        return Wall(name, State.MISSING, trial.error)
    if trial.status != expected:
        return Wall(name, State.MISSING, f"the attempt ended with status {trial.status}")
    return Wall(name, State.UP, trial.told[-1] if trial.told else WALLS[name])


def _refused(what: Callable[[], object], *numbers: int) -> None:
    """Do what is forbidden; it must fail with one of ``numbers``."""
    try:
        what()
    except OSError as error:
        if error.errno in numbers:
            return
        raise
    raise _Breached("it was raised, and does not hold")


def _namespace(wall: str) -> None:
    if os.geteuid() != 0:
        namespaces.enter_user()  # which gives an ordinary user the right to the others
    namespaces.enter(wall)


def _privileges(_say: Say) -> None:
    if os.geteuid() == 0:
        privileges.leave_root(DEFAULT_ID, DEFAULT_ID)
    privileges.drop_capabilities()
    kernel.make(privileges.gain_nothing())
    privileges.open_own_proc()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    if "NoNewPrivs:\t1" not in status or "CapEff:\t0000000000000000" not in status:
        raise _Breached("it was raised, and does not hold")
    _refused(lambda: os.setresuid(0, 0, 0), errno.EPERM)


def _user_ns(_say: Say) -> None:
    if os.geteuid() == 0:
        privileges.leave_root(DEFAULT_ID, DEFAULT_ID)
    namespaces.enter_user()
    namespaces.enter(walls.NET_NS)  # some systems allow the user namespace and then refuse all that it is for


def _pid_ns(say: Say) -> None:
    _namespace(walls.PID_NS)
    inside = in_child(lambda tell: tell(str(os.getpid())))
    if inside.told != ["1"]:
        raise _Breached("a process in it is not the first one")
    say(WALLS[walls.PID_NS])


def _net_ns(_say: Say) -> None:
    _namespace(walls.NET_NS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _refused(lambda: sock.connect(("127.0.0.1", 9)), errno.ENETUNREACH)


def _mount_ns(_say: Say) -> None:
    _namespace(walls.MOUNT_NS)
    root.empty()
    _refused(lambda: os.open(_A_FILE, os.O_RDONLY), errno.ENOENT)


def _ipc_ns(_say: Say) -> None:
    before = os.stat("/proc/self/ns/ipc").st_ino
    _namespace(walls.IPC_NS)
    if os.stat("/proc/self/ns/ipc").st_ino == before:
        raise _Breached("it was entered, and is the same")


def _rlimits(_say: Say) -> None:
    limits = rlimits.WorkerLimits(_MEMORY_BYTES, 60, rlimits.address_space_bytes())
    kernel.make(rlimits.calls(limits) + rlimits.no_more_descriptors())
    _refused(lambda: mmap.mmap(-1, 4 * _MEMORY_BYTES), errno.ENOMEM)
    _refused(lambda: [os.open(_A_FILE, os.O_RDONLY) for _ in range(rlimits.DESCRIPTORS + 1)], errno.EMFILE)


def _cgroup(say: Say) -> None:
    had = cgroup.enter(cgroup.Limits(_MEMORY_BYTES, processes=1))
    _refused(os.fork, errno.EAGAIN)
    say(f"{WALLS[walls.CGROUP]}: {had}")


def _landlock(say: Say) -> None:
    kernel.make(privileges.gain_nothing())
    found = landlock.version()
    kernel.make(landlock.calls(landlock.forbid_all()))
    _refused(lambda: os.open(_A_FILE, os.O_RDONLY), errno.EACCES)
    say(landlock.describe(found))


def _seccomp(say: Say) -> None:
    kernel.make(privileges.gain_nothing())
    program = seccomp.assemble(kernel.architecture())
    kernel.make(seccomp.calls(program))
    say(WALLS[walls.SECCOMP])
    os.getppid()  # harmless, and not on the list
    raise _Breached("it was raised, and does not hold")


def _mdwe(_say: Say) -> None:
    kernel.make(mdwe.calls())
    code = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    _refused(lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=code), errno.EACCES)


def _language(say: Say) -> None:
    from sandbox import worker  # here, as it loads both interpreters

    worker.preload()
    say(WALLS[walls.LANGUAGE])


_ATTEMPTS: Final[dict[str, Callable[[Say], None]]] = {
    walls.PRIVILEGES: _privileges,
    walls.USER_NS: _user_ns,
    walls.PID_NS: _pid_ns,
    walls.NET_NS: _net_ns,
    walls.MOUNT_NS: _mount_ns,
    walls.IPC_NS: _ipc_ns,
    walls.RLIMITS: _rlimits,
    walls.CGROUP: _cgroup,
    walls.LANDLOCK: _landlock,
    walls.SECCOMP: _seccomp,
    walls.MDWE: _mdwe,
    walls.LANGUAGE: _language,
}

if __name__ == "__main__":
    json.dump([wall.to_plain() for wall in try_all()], sys.stdout)
