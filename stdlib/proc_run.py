"""``proc.command`` and ``proc.exec``: programs that run to their end while the script waits.

A command is started only by the name that the manifest declares and the policy allows; its program is an absolute path,
its arguments are a list, there is no shell, and its environment is ours. ``proc.exec`` takes any program, at ``admin``,
and it is decided on in the same way. What a program prints beyond the cap is read and dropped, and the cut is said.
Whatever came of it has ended when the call returns.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.dry import RAN
from stdlib.handles import Private
from stdlib.host import Command, Host
from stdlib.identities import Account as Somebody
from stdlib.identities import check_can_become, identify
from stdlib.parameters import Bounds, Length
from stdlib.proc_parameters import (
    Account,
    Argv,
    Directory,
    Environment,
    Input,
    Timeout,
    revealed_environment,
    revealed_input,
    steering,
)

if TYPE_CHECKING:
    from stdlib.processes.pipes import Reader
    from stdlib.processes.process import Process
    from stdlib.processes.start import Processes, Program

MAX_OUTPUT_BYTES: Final = 256 << 10  # of each of a program's two outputs, unless proc.exec is told more
MAX_WANTED_BYTES: Final = 350 << 10  # both together fit into one frame
MAX_COMMAND_BYTES: Final = 64 << 10  # of a declared command's arguments
LAST_OUTPUT_S: Final = 1.0  # for what is still in the pipes when all is over


@dataclass(frozen=True, slots=True)
class Chosen:
    """A program that was not declared, as it was decided on."""

    program: str  # absolute, links resolved
    arguments: tuple[str, ...]  # the first is the name as it was given
    account: Somebody | None = None  # as whom it starts; None: as the agent's own user, with the agent's groups

    @property
    def facts(self) -> Facts:
        """What it is decided on."""
        name = os.path.basename(self.arguments[0]).removeprefix("-")
        user = None if self.account is None else self.account.user
        return Facts(command=name, program=self.program, arguments=self.arguments[1:], user=user)

    @property
    def quiet_facts(self) -> Facts:
        """What methods of it are decided on; without the command, as they start nothing that would count again."""
        return self.facts._replace(command=None)


def choose(argv: list[str], account: Somebody | None = None) -> Chosen:
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
    return Chosen(os.path.realpath(path), tuple(argv), account)


def program_facts(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """Return what a program that was not declared is decided on: itself, resolved, every argument, and as whom.

    May block: the path is anybody's, and may lead to where nobody answers; and the host is asked who somebody is.
    """
    del host
    user, group = arguments.get("user") or "", arguments.get("group") or ""
    chosen = choose(arguments["argv"], identify(user, group) if user or group else None)
    facts = chosen.facts._replace(variables=steering(arguments.get("env") or {}))
    return Decided((facts,), {"argv": chosen})


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
    dry=RAN,
    changes=True,
    command="name",
    looks_up=True,
    lua='local done = proc.command("df", {"-P"})',
    python='done = proc.command("df", ["-P"])',
)
async def command(
    host: Host,
    name: Annotated[Command, Length(64)],
    args: Annotated[list[str], Length(4096)] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    stdin: Annotated[Private, Length(256 << 10)] | None = None,
) -> dict[str, Any]:
    """Run the declared command ``name`` with ``args`` after what the manifest puts first, and ``stdin`` to read.

    ``stdin`` can be a secret; what the program repeats of it reads ``[secret NAME]``.

    Returns ``code`` and ``signal`` (one of them is nothing), ``stdout``, ``stderr``, ``truncated``, ``ms``. What
    outlasts ``timeout`` is killed and ends with signal 9; whatever it left running is ended with it.
    """
    from stdlib.processes.start import Program

    del args  # they are in the command, which is what was decided on
    if not name.shown:
        raise DeniedError(f"the manifest declares no command {name.name!r:.80}", rule="manifest: commands")
    if not await begun_apart(os.access, name.program, os.X_OK):
        raise UnavailableError(f"{name.shown} is not a program on this host")
    if sum(len(item) for item in name.arguments) > MAX_COMMAND_BYTES:
        raise ArgumentError("args: are longer than 64 KiB together", parameter="args")
    program = Program(name.program, (name.shown, *name.arguments))
    return await run(starter(host), program, timeout, revealed_input(stdin), MAX_OUTPUT_BYTES)


@call(
    "proc.exec",
    tier=Tier.ADMIN,
    dry=RAN,
    changes=True,
    decides=program_facts,
    looks_up=True,
    lua='local done = proc.exec({"/bin/cat"}, {stdin = "hello", timeout = 5})',
    python='done = proc.exec(["/bin/cat"], stdin="hello", timeout=5)',
)
async def execute(
    host: Host,
    argv: Argv,
    stdin: Input | None = None,
    env: Environment = {},  # noqa: B006 - never changed
    cwd: Directory = "/",
    user: Account = "",
    group: Account = "",
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    max_output: Annotated[int, Bounds(1, MAX_WANTED_BYTES, "bytes")] = MAX_OUTPUT_BYTES,
) -> dict[str, Any]:
    """Run any program: ``argv`` begins with its path, or its name to be found on the usual path; there is no shell.

    ``env`` is added to a small environment of ours; its values and ``stdin`` can be secrets. ``user`` and ``group`` are
    names or numbers; only an agent that is root can take them. ``max_output`` is for each of the two outputs. Returns
    what ``proc.command`` returns.

    Raises:
        NotFoundError: There is no such program, directory, user or group.
        DeniedError: The user may not run it, or the agent cannot become that user.
        UnavailableError: No program can be started now.
        BudgetError: It had more than 256 processes at once, and was killed.
    """
    del user, group  # they are in what was decided on
    program = undeclared(argv, revealed_environment(env), cwd)
    return await run(starter(host), program, timeout, revealed_input(stdin), int(max_output))


def undeclared(argv: Any, env: Mapping[str, str], cwd: str) -> Program:
    """Return a program that was not declared, ready to be started as whoever was decided on.

    Raises:
        ArgumentError: Names the parameter.
        DeniedError: Only root becomes somebody else.
    """
    from stdlib.processes.start import ENVIRONMENT, Program

    if not isinstance(argv, Chosen):
        raise ArgumentError("argv: was not decided on", parameter="argv")
    account = argv.account
    if account is None:
        return Program(argv.program, argv.arguments, {**ENVIRONMENT, **env}, cwd)
    check_can_become(account)
    about = account.environment
    return Program(
        argv.program, argv.arguments, {**ENVIRONMENT, **about, **env}, cwd, identity=account.identity, may_gain=True
    )


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
