"""``proc.*``: processes of the host: what they are, what they use, what they hold.

Arguments and open files may tell secrets, so they are told from tier ``inspect`` on, and arguments redacted;
environments at ``admin``. What starts, signals or slows programs is in the modules beside this one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from kernel.visits import begun_apart
from protocol.errors import ArgumentError, DeadlineError, NotFoundError
from protocol.tiers import Tier
from stdlib import proc_control, proc_run, proc_spawn
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Length
from stdlib.proc_secrets import redacted
from stdlib.proc_table import FIELDS, failure, link_of, pids, read_file, row, stat_of, stats, user_name

__all__ = ["MAX_PID", "MAX_PROCESSES", "Pid", "proc_control", "proc_run", "proc_spawn"]

MAX_PROCESSES: Final = 5_000  # of one listing
MAX_PID: Final = 1 << 22  # PID_MAX_LIMIT, linux/threads.h
MAX_OPEN_FILES: Final = 10_000  # of one listing
MAX_LIBRARIES: Final = 5_000
POLL_S: Final = 0.1  # between two looks of proc.wait_for
Pid = Annotated[int, Bounds(1, MAX_PID)]

_ALL: Final = frozenset(FIELDS)
_ORDER: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "pid": lambda one: one["pid"],
    "name": lambda one: (one["name"], one["pid"]),
    "rss": lambda one: (-one["rss"], one["pid"]),
    "size": lambda one: (-one["size"], one["pid"]),
    "cpu": lambda one: (-one["cpu_user"] - one["cpu_sys"], one["pid"]),
    "started": lambda one: (-one["started"], one["pid"]),
}
_SORTED_BY: Final = {"cpu": frozenset({"cpu_user", "cpu_sys"})}


@call(
    "proc.list",
    tier=Tier.OBSERVE,
    lua='local top = proc.list({sort = "rss", limit = 5, fields = {"pid", "name", "rss"}})',
    python='top = proc.list(sort="rss", limit=5, fields=["pid", "name", "rss"])',
)
def processes(
    host: Host,
    match: Annotated[str, Length(200)] = "",
    limit: Annotated[int, Bounds(1, MAX_PROCESSES)] = MAX_PROCESSES,
    fields: Annotated[list[str], Length(20)] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    sort: Literal["pid", "name", "rss", "size", "cpu", "started"] = "pid",
) -> list[dict[str, Any]]:
    """Return the processes whose name holds ``match``, by pid or name, or the largest or newest first.

    ``pid``, ``ppid``, ``name``, ``user``, ``state``, ``nice``, ``prio``, ``threads``, ``started`` (seconds since 1970
    UTC), ``size``, ``rss`` and ``share`` (bytes), ``cpu_user`` and ``cpu_sys`` (seconds), ``faults`` (major page
    faults); only those in ``fields``, if any are given. The limit comes after the order. No arguments: those may hold
    secrets.
    """
    wanted = _fields(fields)
    needed = wanted | _SORTED_BY.get(sort, {sort}) | {"pid"}
    found = _rows(host, match, needed, int(limit) if sort == "pid" else None)
    found.sort(key=_ORDER[sort])
    del found[int(limit) :]
    return found if needed == wanted else [{name: one[name] for name in FIELDS if name in wanted} for one in found]


def _fields(names: list[str]) -> frozenset[str]:
    unknown = sorted(set(names) - _ALL)
    if unknown:
        raise ArgumentError(f"fields: there is no {unknown[0]!r:.40} (known: {', '.join(FIELDS)})", parameter="fields")
    return frozenset(names) or _ALL


def _rows(host: Host, match: str, fields: frozenset[str], most: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for stat in stats(host, match):
        if most is not None and len(found) >= most:
            break
        try:
            found.append(row(host, stat, fields))
        except NotFoundError:  # it has just ended
            continue
    return found


@call("proc.get", tier=Tier.OBSERVE, lua="local init = proc.get(1)", python="init = proc.get(1)")
def one(host: Host, pid: Pid) -> dict[str, Any] | None:
    """Return one process as ``proc.list`` does; nothing if there is none."""
    try:
        return row(host, stat_of(host, pid), _ALL)
    except NotFoundError:
        return None


@call("proc.tree", tier=Tier.OBSERVE, lua="local all = proc.tree(1)", python="all = proc.tree(1)")
def tree(host: Host, pid: Pid) -> list[dict[str, Any]]:
    """Return a process and all below it, each as ``proc.list`` does and with its ``depth``, parents before children.

    Raises:
        NotFoundError: There is no such process.
    """
    below: dict[int, list[dict[str, Any]]] = {}
    root = None
    for each in _rows(host, "", _ALL):
        below.setdefault(each["ppid"], []).append(each)
        root = each if each["pid"] == pid else root
    if root is None:
        raise NotFoundError(f"there is no process {pid}")
    found: list[dict[str, Any]] = []
    todo = [(root, 0)]
    while todo and len(found) < MAX_PROCESSES:
        each, depth = todo.pop()
        found.append({**each, "depth": depth})
        todo += [(child, depth + 1) for child in reversed(below.pop(each["pid"], []))]
    return found


@call("proc.self", tier=Tier.OBSERVE, lua="local me = proc.self()", python="me = proc.self()")
def own() -> dict[str, Any]:
    """Return what the agent is: ``pid``, ``uid``, ``gid``, ``user``, ``home``, ``cwd``, ``rss`` (bytes), ``cpu``.

    ``cpu`` is in seconds, the agent's own.
    """
    host, times, uid = Host(), os.times(), os.getuid()
    home = os.environ.get("HOME") or "/"
    return {
        "pid": os.getpid(), "uid": uid, "gid": os.getgid(), "user": user_name(uid), "home": home, "cwd": os.getcwd(),
        "rss": row(host, stat_of(host, os.getpid()), frozenset({"rss"}))["rss"], "cpu": times.user + times.system,
    }  # fmt: skip


def _agent(pid: int | None) -> int:
    return os.getpid() if pid is None else pid


@call("proc.io", tier=Tier.OBSERVE, lua="local io = proc.io()", python="io = proc.io()")
def traffic(host: Host, pid: Pid | None = None) -> dict[str, int]:
    """Return what a process, the agent if none is given, has moved since its start.

    ``read_chars`` and ``write_chars`` (bytes by system calls), ``read_calls``, ``write_calls``, ``read_bytes`` and
    ``write_bytes`` (bytes from and to devices), ``cancelled_bytes`` (written and taken back before the device).

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    names = {
        "rchar": "read_chars", "wchar": "write_chars", "syscr": "read_calls", "syscw": "write_calls",
        "read_bytes": "read_bytes", "write_bytes": "write_bytes", "cancelled_write_bytes": "cancelled_bytes",
    }  # fmt: skip
    told = dict(line.split(": ") for line in read_file(host, _agent(pid), "io").decode("ascii").splitlines())
    return {name: int(told[key]) for key, name in names.items() if key in told}


@call(
    "proc.limits",
    tier=Tier.OBSERVE,
    lua="local limits = proc.limits()",
    python="limits = proc.limits()",
)
def limits(host: Host, pid: Pid | None = None) -> list[dict[str, Any]]:
    """Return the limits of a process, or of the agent: ``name``, ``soft`` and ``hard`` (nothing: unlimited), ``unit``.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    found = []
    for line in read_file(host, _agent(pid), "limits").decode("ascii", "replace").splitlines()[1:]:
        name, (soft, hard) = line[:26].strip(), line[26:68].split()[:2]
        found.append({
            "name": name.lower().replace(" ", "_"), "soft": _limit(soft), "hard": _limit(hard),
            "unit": line[68:].strip(),
        })  # fmt: skip
    return found


def _limit(text: str) -> int | None:
    return None if text == "unlimited" else int(text)


@call("proc.cgroup", tier=Tier.OBSERVE, lua="local group = proc.cgroup(1)", python="group = proc.cgroup(1)")
def groups(host: Host, pid: Pid) -> dict[str, Any]:
    """Return the control groups of a process: ``path`` in the unified tree, and ``controllers``, a map of the others.

    ``path`` is nothing where the kernel has no unified tree.

    Raises:
        NotFoundError: There is no such process.
    """
    path: str | None = None
    controllers: dict[str, str] = {}
    # Nothing else ends a line, whatever the name of a group holds: anybody may make one below a group of their own.
    for line in os.fsdecode(read_file(host, pid, "cgroup")).removesuffix("\n").split("\n"):
        number, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        if number == "0" and not names:
            path = place
        else:
            controllers |= dict.fromkeys(names.split(","), place)
    return {"path": path, "controllers": controllers}


@call(
    "proc.deleted_libs",
    tier=Tier.OBSERVE,
    lua="local stale = proc.deleted_libs()",
    python="stale = proc.deleted_libs()",
)
def deleted_libraries(host: Host, permit: Permit) -> list[dict[str, Any]]:
    """Return the libraries in use whose files are gone, as after an update: ``pid``, ``process``, ``library``.

    Processes that the agent's user may not look into are left out.
    """
    found: list[dict[str, Any]] = []
    for stat in stats(host):
        if permit.is_over:  # anybody may have many processes of many mappings each
            raise DeadlineError("proc.deleted_libs was cut short")
        try:
            maps = read_file(host, stat.pid, "maps", 16 << 20)
        except NotFoundError:
            continue
        except Exception as error:
            if getattr(error, "code", "") not in ("denied", "unavailable"):
                raise
            continue
        if b" (deleted)" not in maps:
            continue
        for library in sorted(_deleted(maps)):
            found.append({"pid": stat.pid, "process": stat.name, "library": os.fsdecode(library)})
        if len(found) >= MAX_LIBRARIES:
            break
    return found[:MAX_LIBRARIES]


def _deleted(maps: bytes) -> set[bytes]:
    """Return the files of mappings that hold code and are gone. Memory that only looks like a file has no such name."""
    found = set()
    for line in maps.split(b"\n"):  # in a name the kernel escapes this end of a line and no other
        fields = line.split(None, 5)
        if len(fields) == 6 and b"x" in fields[1] and fields[5].endswith(b" (deleted)"):
            path = fields[5].removesuffix(b" (deleted)")
            if not path.startswith((b"/memfd:", b"/dev/", b"/SYSV", b"/[aio]", b"/anon_hugepage")):
                found.add(path)
    return found


@call(
    "proc.wait_for",
    tier=Tier.OBSERVE,
    lua='local init = proc.wait_for("", {timeout = 1})',
    python='init = proc.wait_for("", timeout=1)',
)
async def wait_for(
    host: Host,
    match: Annotated[str, Length(200)],
    state: Literal["running", "gone"] = "running",
    timeout: Annotated[float, Bounds(0, 600, "seconds")] = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any] | None:
    """Wait until a process whose name holds ``match`` runs, or until none does any more.

    Returns the process as ``proc.list`` does, or nothing. So with ``gone``, nothing is what was waited for.
    """
    ends = time.monotonic() + timeout
    while True:
        found = await begun_apart(_rows, host, match, _ALL, 1)
        left = ends - time.monotonic()
        if bool(found) == (state == "running") or left <= 0:
            return found[0] if found else None
        await asyncio.sleep(min(POLL_S, left))


@call("proc.cmdline", tier=Tier.INSPECT, lua="local argv = proc.cmdline(1)", python="argv = proc.cmdline(1)")
def arguments(host: Host, pid: Pid) -> list[str]:
    """Return the arguments of a process, the program's name first; what looks like a secret is ``[redacted]``.

    At most 256, each cut at 4096 characters. Empty for the kernel's own and for a zombie.

    Raises:
        NotFoundError: There is no such process.
    """
    data = read_file(host, pid, "cmdline", 4 << 20)
    parts = data.removesuffix(b"\0").split(b"\0") if data else []
    return redacted([part.decode("utf-8", "replace") for part in parts])


@call("proc.exe", tier=Tier.INSPECT, lua="local path = proc.exe()", python="path = proc.exe()")
def program(host: Host, pid: Pid | None = None) -> str | None:
    """Return the program file of a process, or of the agent; nothing for the kernel's own.

    It ends in `` (deleted)`` if the file is gone.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    return link_of(host, _agent(pid), "exe")


@call("proc.cwd", tier=Tier.INSPECT, lua="local path = proc.cwd()", python="path = proc.cwd()")
def directory(host: Host, pid: Pid | None = None) -> str | None:
    """Return the working directory of a process, or of the agent.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    return link_of(host, _agent(pid), "cwd")


@call(
    "proc.open_files",
    tier=Tier.INSPECT,
    lua="local files = proc.open_files()",
    python="files = proc.open_files()",
)
def open_files(host: Host, pid: Pid | None = None) -> list[dict[str, Any]]:
    """Return what a process, or the agent, has open, at most 10,000: ``fd``, ``path``, ``type``.

    ``type`` is ``file`` (also a directory), ``device``, ``socket``, ``pipe`` or ``other``; ``path`` is what the kernel
    calls it.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    pid = _agent(pid)
    try:
        names = os.listdir(f"{host.proc}/{pid}/fd")
    except OSError as error:
        raise failure(error, pid, "fd") from None
    found = []
    for number in sorted(map(int, names))[:MAX_OPEN_FILES]:
        try:
            path = os.readlink(f"{host.proc}/{pid}/fd/{number}")
        except OSError:  # closed meanwhile
            continue
        found.append({"fd": number, "path": path, "type": _type(path)})
    return found


def _type(path: str) -> str:
    for start, kind in (("/dev/", "device"), ("/", "file"), ("socket:", "socket"), ("pipe:", "pipe")):
        if path.startswith(start):
            return kind
    return "other"


@call(
    "proc.environ",
    tier=Tier.ADMIN,
    lua='local ok, some = pcall(proc.environ, 1, {"PATH"})',
    python='try:\n    some = proc.environ(1, ["PATH"])\nexcept HostError:\n    some = {}',
)
def environment(host: Host, pid: Pid, names: Annotated[list[str], Length(200)]) -> dict[str, str]:
    """Return these variables of a process's environment, as it was given; a map by name. What it lacks is left out.

    Raises:
        NotFoundError: There is no such process.
        DeniedError: The agent's user may not look into it.
    """
    wanted, found = set(names), {}
    for part in read_file(host, pid, "environ", 4 << 20).split(b"\0"):
        name, equals, value = part.decode("utf-8", "replace").partition("=")
        if equals and name in wanted:
            found[name] = value
    return found


def count(host: Host) -> int:
    """Return how many processes there are."""
    return len(pids(host))
