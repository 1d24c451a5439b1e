"""``proc.command`` and ``proc.exec``: programs that run to their end while the script waits.

A command is started only by the name that the manifest declares and the policy allows; its program is an absolute path,
its arguments are a list, there is no shell, and its environment is ours. ``proc.exec`` takes any program, at ``admin``,
and it is decided on in the same way. What a program prints beyond the cap is read and dropped, and the cut is said.
Whatever came of it has ended when the call returns.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib.catalogue import Decided, call
from stdlib.host import Command, Host
from stdlib.parameters import Bounds, Data, Length

if TYPE_CHECKING:
    from stdlib.processes.pipes import Reader
    from stdlib.processes.process import Process
    from stdlib.processes.start import Identity, Processes, Program

MAX_OUTPUT_BYTES: Final = 256 << 10  # of each of a program's two outputs, unless proc.exec is told more
MAX_WANTED_BYTES: Final = 350 << 10  # both together fit into one frame
MAX_COMMAND_BYTES: Final = 64 << 10  # of a declared command's arguments
LAST_OUTPUT_S: Final = 1.0  # for what is still in the pipes when all is over
Timeout = Annotated[float, Bounds(0.01, 600, "seconds")]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A program that was not declared, as it was decided on."""

    program: str  # absolute, links resolved
    arguments: tuple[str, ...]  # the first is the name as it was given


def choose(argv: list[str]) -> Chosen:
    """Return the program that ``argv`` means. A bare name is looked for where our programs' own PATH leads.

    Raises:
        ArgumentError: There is none, or it is a relative path.
        UnavailableError: There is no such program on this host.
    """
    from stdlib.processes.start import ENVIRONMENT

    if not argv or not argv[0]:
        raise ArgumentError("argv: must begin with a program", parameter="argv")
    name = argv[0]
    if "/" in name and not name.startswith("/"):
        raise ArgumentError("argv: the program must be an absolute path or a name", parameter="argv")
    path = name if name.startswith("/") else shutil.which(name, path=ENVIRONMENT["PATH"])
    if path is None:
        raise UnavailableError(f"{name} is not a program on this host")
    return Chosen(os.path.realpath(path), tuple(argv))


def program_facts(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """Return what a program that was not declared is decided on: itself, resolved, and every argument."""
    del host
    chosen = choose(arguments["argv"])
    name = os.path.basename(chosen.arguments[0])
    return Decided((Facts(command=name, program=chosen.program, arguments=chosen.arguments[1:]),), {"argv": chosen})


def starter(host: Host) -> Processes:
    """Return what starts programs on this host.

    Raises:
        UnavailableError: Nothing does here.
    """
    if host.processes is None:
        raise UnavailableError("no programs are started here")
    return host.processes


@call(
    "proc.command",
    tier=Tier.INSPECT,
    changes=True,
    command="name",
    lua='local done = proc.command("df", {"-P"})',
    python='done = proc.command("df", ["-P"])',
)
async def command(
    host: Host,
    name: Annotated[Command, Length(64)],
    args: Annotated[list[str], Length(4096)] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    stdin: Annotated[Data, Length(256 << 10)] = b"",
) -> dict[str, Any]:
    """Run the declared command ``name`` with ``args`` after what the manifest puts first, and ``stdin`` to read.

    Returns ``code`` and ``signal`` (one of them is nothing), ``stdout``, ``stderr``, ``truncated``, ``ms``. What
    outlasts ``timeout`` is killed and ends with signal 9; whatever it left running is ended with it.
    """
    from stdlib.processes.start import Program

    del args  # they are in the command, which is what was decided on
    if not name.shown:
        raise DeniedError(f"the manifest declares no command {name.name!r:.80}", rule="manifest: commands")
    if not os.access(name.program, os.X_OK):
        raise UnavailableError(f"{name.shown} is not a program on this host")
    if sum(len(item) for item in name.arguments) > MAX_COMMAND_BYTES:
        raise ArgumentError("args: are longer than 64 KiB together", parameter="args")
    program = Program(name.program, (name.shown, *name.arguments))
    return await run(starter(host), program, timeout, octets(stdin, "stdin"), MAX_OUTPUT_BYTES)


@call(
    "proc.exec",
    tier=Tier.ADMIN,
    changes=True,
    decides=program_facts,
    lua='local done = proc.exec({"/bin/cat"}, {stdin = "hello", timeout = 5})',
    python='done = proc.exec(["/bin/cat"], stdin="hello", timeout=5)',
)
async def execute(
    host: Host,
    argv: Annotated[list[str], Length(32 << 10)],
    stdin: Annotated[Data, Length(512 << 10)] = b"",
    env: Annotated[dict[str, str], Length(32 << 10)] = {},  # noqa: B006 - never changed
    cwd: Annotated[str, Length(4095)] = "/",
    user: Annotated[str, Length(64)] = "",
    group: Annotated[str, Length(64)] = "",
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    max_output: Annotated[int, Bounds(1, MAX_WANTED_BYTES, "bytes")] = MAX_OUTPUT_BYTES,
) -> dict[str, Any]:
    """Run any program: ``argv`` begins with its path, or its name to be found on the usual path; there is no shell.

    ``env`` is added to a small environment of ours. ``user`` and ``group`` are names or numbers; only an agent that is
    root can take them. ``max_output`` is for each of the two outputs. Returns what ``proc.command`` returns.

    Raises:
        NotFoundError: There is no such program, directory, user or group.
        DeniedError: The user may not run it, or the agent cannot become that user.
        UnavailableError: No program can be started now.
        BudgetError: It had more than 256 processes at once, and was killed.
    """
    program = await undeclared(argv, env, cwd, user, group)
    return await run(starter(host), program, timeout, octets(stdin, "stdin"), int(max_output))


async def undeclared(argv: Any, env: Mapping[str, str], cwd: str, user: str, group: str) -> Program:
    """Return a program that was not declared, ready to be started.

    Raises:
        ArgumentError: Names the parameter.
        NotFoundError: There is no such user or group.
        DeniedError: Only root becomes somebody else.
    """
    from stdlib.processes.start import ENVIRONMENT, Program

    if not isinstance(argv, Chosen):
        raise ArgumentError("argv: was not decided on", parameter="argv")
    if not cwd.startswith("/"):
        raise ArgumentError("cwd: must be an absolute path", parameter="cwd")
    for name in env or ():
        if not name or "=" in name:
            raise ArgumentError(f"env: {name!r:.60} is no name of a variable", parameter="env")
    identity, about = await asyncio.to_thread(identify, user, group) if user or group else (None, {})
    return Program(
        argv.program, argv.arguments, {**ENVIRONMENT, **about, **(env or {})}, cwd, identity=identity,
        may_gain=identity is not None,
    )  # fmt: skip


def identify(user: str, group: str) -> tuple[Identity, dict[str, str]]:
    """Return who is meant, and what their environment says of them. Asks the host's databases, so it may block.

    Raises:
        NotFoundError: There is no such user or group.
        DeniedError: The agent is not root, and this is somebody else.
    """
    from stdlib.processes.start import Identity

    try:
        entry = pwd.getpwuid(int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else os.getuid())
    except (KeyError, OverflowError):
        raise NotFoundError(f"there is no user {user!r:.64}") from None
    try:
        gid = entry.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        grp.getgrgid(gid)
    except (KeyError, OverflowError):
        raise NotFoundError(f"there is no group {group!r:.64}") from None
    if os.getuid() != 0 and (entry.pw_uid, gid) != (os.getuid(), os.getgid()):
        raise DeniedError(f"only an agent that is root can run programs as {entry.pw_name}", rule="the host")
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    about = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
    return Identity(entry.pw_uid, gid, groups), about


def octets(data: Any, parameter: str) -> bytes:
    """Return what the catalogue made of ``Data``."""
    if not isinstance(data, bytes):
        raise ArgumentError(f"{parameter}: must be text or bytes", parameter=parameter)
    return data


async def run(processes: Processes, program: Program, timeout_s: float, stdin: bytes, most: int) -> dict[str, Any]:
    """Run a program to its end and return what came of it; raises as ``Processes.start`` and ``Process.wait``."""
    from stdlib.processes.start import Stream

    began = time.monotonic()
    feed = Stream.PIPE if stdin else Stream.NULL
    process = await processes.start(program, feed, Stream.PIPE, Stream.PIPE)
    outputs = (Output(most), Output(most))
    tasks = [
        asyncio.ensure_future(output.take(reader))
        for output, reader in zip(outputs, (process.stdout, process.stderr), strict=True)
    ]
    try:
        feeding = asyncio.ensure_future(_feed(process, stdin)) if stdin else None
        tasks += [feeding] if feeding is not None else []
        try:
            async with asyncio.timeout(timeout_s):
                ended = await process.wait()
        except TimeoutError:
            process.kill_tree()
            ended = await process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_OUTPUT_S):
                await asyncio.gather(*tasks[:2])
    finally:
        for task in tasks:
            task.cancel()
        await process.close()
    return {
        "code": ended.code, "signal": ended.signal, "stdout": outputs[0].text(), "stderr": outputs[1].text(),
        "truncated": any(output.is_cut for output in outputs), "ms": round((time.monotonic() - began) * 1000, 3),
    }  # fmt: skip


async def _feed(process: Process, data: bytes) -> None:
    if process.stdin is not None:
        with suppress(ConflictError):  # it does not want to read it all
            await process.stdin.write(data)
        process.stdin.close()


class Output:
    """What a program prints, up to a cap; the rest is read and dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        self.is_cut = True  # until all of it was read

    async def take(self, reader: Reader | None) -> None:
        """Read until the end."""
        dropped = False
        while reader is not None and (data := await reader.read()):
            room = self._most - len(self._kept)
            self._kept += data[:room]
            dropped = dropped or len(data) > room
        self.is_cut = dropped

    def text(self) -> str:
        """Return what was kept."""
        return self._kept.decode("utf-8", "replace")
