"""``proc.*``: processes of the host, and the declared commands.

A command is started only by the name that the manifest declares and the policy allows; its program is an absolute path,
its arguments are a list, there is no shell, its environment is ours, and it has a session of its own which is killed as
a whole at the end. What it prints beyond the cap is read and dropped, and the cut is said.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import Annotated, Any

import psutil

from protocol.errors import ArgumentError, DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib.catalogue import call
from stdlib.host import Command
from stdlib.parameters import Bounds, Length

MAX_PROCESSES = 5_000  # of one listing
MAX_OUTPUT_BYTES = 256 << 10  # of each of a command's two outputs
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/"}
_ATTRIBUTES = [
    "pid", "ppid", "name", "username", "status", "nice", "num_threads", "create_time", "memory_info", "cpu_times",
]  # fmt: skip


@call("proc.list", tier=Tier.OBSERVE, lua="local all = proc.list()", python="all = proc.list()")
def processes(
    match: Annotated[str, Length(200)] = "", limit: Annotated[int, Bounds(1, MAX_PROCESSES)] = MAX_PROCESSES
) -> list[dict[str, Any]]:
    """Return the processes by pid whose name holds ``match``.

    ``pid``, ``ppid``, ``name``, ``user``, ``state``, ``nice``, ``threads``, ``started`` (seconds since 1970 UTC),
    ``rss`` and ``size`` (bytes), ``cpu_user`` and ``cpu_sys`` (seconds). No arguments: those may hold secrets.
    """
    found: list[dict[str, Any]] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess), process.oneshot():
            facts = process.as_dict(_ATTRIBUTES)
            if match in (facts["name"] or ""):
                found.append(_row(facts))
        if len(found) >= int(limit):
            break
    return found


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    memory, times = facts["memory_info"], facts["cpu_times"]
    return {
        "pid": facts["pid"], "ppid": facts["ppid"], "name": facts["name"], "user": facts["username"],
        "state": facts["status"], "nice": facts["nice"], "threads": facts["num_threads"],
        "started": facts["create_time"], "rss": memory and memory.rss, "size": memory and memory.vms,
        "cpu_user": times and times.user, "cpu_sys": times and times.system,
    }  # fmt: skip


@call("proc.self", tier=Tier.OBSERVE, lua="local me = proc.self()", python="me = proc.self()")
def own() -> dict[str, Any]:
    """Return what the agent is: ``pid``, ``uid``, ``gid``, ``rss`` (bytes), ``cpu`` (seconds)."""
    process = psutil.Process()
    times = process.cpu_times()
    return {
        "pid": process.pid, "uid": os.getuid(), "gid": os.getgid(), "rss": process.memory_info().rss,
        "cpu": times.user + times.system,
    }  # fmt: skip


@call(
    "proc.command",
    tier=Tier.INSPECT,
    changes=True,
    command="name",
    lua='local done = proc.command("df", {"-P"})',
    python='done = proc.command("df", ["-P"])',
)
async def command(
    name: Annotated[Command, Length(64)],
    args: Annotated[list[str], Length(4096)] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Run the declared command ``name`` with ``args`` after what the manifest puts first.

    Returns ``code`` and ``signal`` (one of them is nothing), ``stdout``, ``stderr``, ``truncated``, ``ms``. What
    outlasts ``timeout`` is killed and ends with signal 9.
    """
    del args  # they are in the command, which is what was decided on
    if not name.shown:
        raise DeniedError(f"the manifest declares no command {name.name!r:.80}", rule="manifest: commands")
    if not os.access(name.program, os.X_OK):
        raise UnavailableError(f"{name.shown} is not a program on this host")
    if sum(len(item) for item in name.arguments) > 64 << 10:
        raise ArgumentError("args: are longer than 64 KiB together", parameter="args")
    return await _run(name.program, [name.shown, *name.arguments], timeout)


async def _run(program: str, argv: list[str], timeout_s: float) -> dict[str, Any]:
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv, executable=program, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=_ENVIRONMENT, cwd="/", start_new_session=True, close_fds=True,
    )  # fmt: skip
    readers = [asyncio.ensure_future(_read(stream)) for stream in (process.stdout, process.stderr)]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.wait(readers)
                await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        done, stuck = await asyncio.wait(readers, timeout=1.0)
        for reader in stuck:  # somebody left the session and holds the pipe; what was read so far is lost with it
            reader.cancel()
    (stdout, cut_out), (stderr, cut_err) = (r.result() if r in done else (b"", True) for r in readers)
    code = process.returncode
    return {
        "code": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "stdout": stdout.decode("utf-8", "replace"), "stderr": stderr.decode("utf-8", "replace"),
        "truncated": cut_out or cut_err, "ms": round((time.monotonic() - started) * 1000, 3),
    }  # fmt: skip


async def _read(stream: asyncio.StreamReader | None) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while stream is not None and (data := await stream.read(64 << 10)):
        room = MAX_OUTPUT_BYTES - len(kept)
        kept += data[:room]
        cut = cut or len(data) > room
    return bytes(kept), cut
