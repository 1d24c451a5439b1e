"""The kernel's table of processes, read from /proc: one file a process for what it says, one more for what it does not.

A process may end between two reads; then it is not there. What may not be read by the agent's user is not guessed.
Source: proc(5), /proc/pid/stat, statm, cmdline; clock ticks since boot become seconds since 1970 UTC.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from protocol.errors import DeniedError, NotFoundError, OutriderError, UnavailableError
from stdlib.host import READ_BYTES, Host, read_kernel

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
STATES: Final = {
    "R": "running", "S": "sleeping", "D": "disk-sleep", "Z": "zombie", "T": "stopped", "t": "tracing-stop",
    "X": "dead", "x": "dead", "K": "wake-kill", "W": "waking", "I": "idle", "P": "parked",
}  # fmt: skip
FIELDS: Final = (
    "pid", "ppid", "name", "user", "state", "nice", "prio", "threads", "started", "size", "rss", "share", "cpu_user",
    "cpu_sys", "faults",
)  # fmt: skip
_KERNEL_THREAD: Final = 0x00200000  # PF_KTHREAD, linux/sched.h: always root's, and most processes of an idle host
_SLOWER: Final = frozenset({"user", "share"})  # these cost a file or a lookup of their own


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/pid/stat says."""

    pid: int
    name: str
    state: str
    ppid: int
    started_ticks: int  # since boot: with the pid, this names one process for good
    numbers: tuple[int, ...]  # all from the parent on


def parse_stat(data: bytes) -> Stat:
    """Return what a stat file says. The name may hold anything, also brackets and spaces. Pure.

    Raises:
        ValueError: It is no such file.
    """
    head, _, name = data[: data.rindex(b")")].partition(b" (")
    rest = data[data.rindex(b")") + 2 :].split()
    numbers = tuple([int(field) for field in rest[1:24]])
    if len(numbers) < 21:
        raise ValueError("a stat file is too short")
    state = STATES.get(rest[0].decode("ascii", "replace"), "unknown")
    return Stat(int(head), os.fsdecode(name), state, numbers[0], numbers[18], numbers)


def pids(host: Host) -> list[int]:
    """Return all pids, sorted.

    Raises:
        UnavailableError: /proc cannot be read.
    """
    try:
        return sorted([int(name) for name in os.listdir(host.proc) if name.isdigit()])
    except OSError as error:
        raise UnavailableError(f"{host.proc} cannot be read: {error.strerror}") from None


def read_file(host: Host, pid: int, name: str, most: int = 1 << 20) -> bytes:
    """Return a file of a process's.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not read it.
        UnavailableError: It cannot be read; says why.
    """
    try:
        descriptor = os.open(f"{host.proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, READ_BYTES)
            if len(data) < 4096:  # the kernel gives a page at the least, unless that is all
                return data
            parts, size = [data], len(data)
            while data and size < most:
                data = os.read(descriptor, READ_BYTES)
                parts.append(data)
                size += len(data)
            return b"".join(parts)[:most]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure(error, pid, name) from None


def failure(error: OSError, pid: int, name: str) -> OutriderError:
    """Return the error of ours for what the kernel said about a file of a process's."""
    if isinstance(error, (FileNotFoundError, ProcessLookupError, NotADirectoryError)):
        return NotFoundError(f"there is no process {pid}")
    if isinstance(error, PermissionError):
        return DeniedError(f"{name} of process {pid}: the agent's user may not", rule="the host's permissions")
    return UnavailableError(f"{name} of process {pid}: {error.strerror}")


def stat_of(host: Host, pid: int) -> Stat:
    """Return what stat says about one process; raises as :func:`read_file`."""
    try:
        return parse_stat(read_file(host, pid, "stat", READ_BYTES))
    except ValueError:
        raise NotFoundError(f"there is no process {pid}") from None


@cache
def boot_time_s(proc: str) -> int:
    """Return when this host was booted, in seconds since 1970 UTC, as it was first told; so starts can be compared."""
    text = read_kernel(Host(proc=proc), "stat")
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("btime ")), 0)


def started_s(host: Host, stat: Stat) -> float:
    """Return when a process was started, in seconds since 1970 UTC. Does not change while it lives."""
    return boot_time_s(host.proc) + stat.started_ticks / TICKS_PER_S


@cache
def user_name(uid: int) -> str:
    """Return the name of a user, or its number where there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def row(host: Host, stat: Stat, fields: frozenset[str]) -> dict[str, Any]:
    """Return these fields of a process; raises as :func:`read_file`."""
    numbers = stat.numbers
    full: dict[str, Any] = {
        "pid": stat.pid, "ppid": stat.ppid, "name": stat.name, "state": stat.state, "nice": numbers[15],
        "prio": numbers[14], "threads": numbers[16], "started": started_s(host, stat), "size": numbers[19],
        "rss": numbers[20] * PAGE_BYTES, "cpu_user": numbers[10] / TICKS_PER_S, "cpu_sys": numbers[11] / TICKS_PER_S,
        "faults": numbers[8],
    }  # fmt: skip
    if fields & _SLOWER:
        if "user" in fields:
            full["user"] = user_name(0 if numbers[5] & _KERNEL_THREAD else _owner(host, stat.pid))
        if "share" in fields:  # what has no memory, as a thread of the kernel's, shares none
            pages = int(read_file(host, stat.pid, "statm", 4096).split()[2]) if numbers[19] else 0
            full["share"] = pages * PAGE_BYTES
    return full if len(fields) == len(FIELDS) else {name: full[name] for name in FIELDS if name in fields}


def _owner(host: Host, pid: int) -> int:
    """Return the user of a process. One that may not be looked into seems to be root's: then its status says whose."""
    try:
        uid = os.stat(f"{host.proc}/{pid}").st_uid
    except OSError as error:
        raise failure(error, pid, "owner") from None
    if uid == 0:
        for line in read_file(host, pid, "status").split(b"\n"):  # a process may have any other end of line in its name
            if line.startswith(b"Uid:"):
                return int(line.split()[2])  # the effective one
    return uid


def stats(host: Host, match: str = "") -> Iterator[Stat]:
    """Yield all processes by pid whose name holds ``match``."""
    for pid in pids(host):
        try:
            stat = stat_of(host, pid)
        except (NotFoundError, DeniedError):
            continue
        if match in stat.name:
            yield stat


def link_of(host: Host, pid: int, name: str) -> str | None:
    """Return where a link of a process's leads; None if it has none, as the kernel's own have. Raises as above."""
    try:
        return os.readlink(f"{host.proc}/{pid}/{name}")
    except FileNotFoundError:
        stat_of(host, pid)
        return None
    except OSError as error:
        raise failure(error, pid, name) from None
