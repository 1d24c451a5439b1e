"""``proc.spawn`` and the handle that it gives: a program that runs beside the script.

Nothing of its output is read before the script wants it, so a program that prints without end waits. It ends with the
run at the latest, and its whole tree with it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from policies.model import Facts
from protocol.errors import ConflictError, UnavailableError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.dry import ENDED
from stdlib.handles import Handle
from stdlib.host import Host
from stdlib.parameters import Bounds
from stdlib.proc_parameters import Account, Argv, Directory, Environment, Input, revealed_environment
from stdlib.proc_run import Chosen, program_facts, starter, undeclared

if TYPE_CHECKING:
    from stdlib.processes.pipes import Reader
    from stdlib.processes.process import Process as Started

MAX_READ_BYTES: Final = 256 << 10  # of one read
MAX_LINE_BYTES: Final = 64 << 10  # a longer one is told in parts
Signal = Literal["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"]


class Process(Handle):
    """A program that runs."""

    kind: ClassVar[str] = "process"

    def __init__(self, started: Started, chosen: Chosen, facts: Facts) -> None:
        self.facts = facts
        self.started = started
        self._chosen = chosen
        self._readers: set[str] = set()  # outputs that a stream of lines reads
        self.about: dict[str, Any] = {}  # what is known of its end, for the record of it

    def fields(self) -> dict[str, Any]:
        """Return its pid and program."""
        return {"pid": self.started.pid, "program": self._chosen.program}

    def summary(self) -> dict[str, Any]:
        """Return what the record of its end tells beside."""
        return self.about

    async def close(self) -> None:
        """Kill the tree if it is still there.

        Raises:
            UnavailableError: What looked after it did not answer; says whether the program may still run.
        """
        await self.started.close()
        if self.started.unheard:
            raise UnavailableError(self.started.unheard)

    def reader(self, output: str) -> Reader:
        """Return one of its outputs.

        Raises:
            ConflictError: A stream of lines reads it, or it is the same as the other one.
        """
        if output in self._readers:
            raise ConflictError(f"{output} is read by a stream of lines")
        reader = self.started.stdout if output == "stdout" else self.started.stderr
        if reader is None:
            raise ConflictError(f"{output} goes where stdout goes")
        return reader

    async def lines(self, output: str) -> AsyncIterator[str]:
        """Yield an output line by line."""
        reader = self.reader(output)
        self._readers.add(output)
        try:
            kept = b""
            while data := await reader.read():
                *whole, kept = (kept + data).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
                if len(kept) > MAX_LINE_BYTES:
                    yield kept.decode("utf-8", "replace")
                    kept = b""
            if kept:
                yield kept.decode("utf-8", "replace")
        finally:
            self._readers.discard(output)


@call(
    "proc.spawn",
    tier=Tier.ADMIN,
    changes=True,
    decides=program_facts,
    looks_up=True,
    lua='local child = proc.spawn({"/bin/cat"})\nprint(child.pid, child.program)',
    python='child = proc.spawn(["/bin/cat"])\nprint(child.pid, child.program)',
)
async def spawn(
    host: Host,
    argv: Argv,
    env: Environment = {},  # noqa: B006 - never changed
    cwd: Directory = "/",
    user: Account = "",
    group: Account = "",
    merge: bool = False,
) -> Process:
    """Start any program, as ``proc.exec`` does, and go on; ``merge`` sends its errors where its output goes.

    The handle has ``pid`` and ``program``. Its program and all that comes of it are killed when the handle is closed,
    at the run's end at the latest.

    Raises:
        NotFoundError: There is no such program, directory, user or group.
        DeniedError: The user may not run it, or the agent cannot become that user.
        UnavailableError: No program can be started now.
    """
    from stdlib.processes.start import Stream

    del user, group  # they are in what was decided on
    program = undeclared(argv, revealed_environment(env), cwd)
    chosen: Any = argv
    errors = Stream.STDOUT if merge else Stream.PIPE
    return Process(await starter(host).start(program, Stream.PIPE, Stream.PIPE, errors), chosen, chosen.quiet_facts)


@call(
    "proc.start",
    tier=Tier.INSPECT,
    changes=True,
    decides=program_facts,
    looks_up=True,
    lua='local child = proc.start({"/bin/df", "-P"})\nprint(child.pid, child.program)',
    python='child = proc.start(["/bin/df", "-P"])\nprint(child.pid, child.program)',
)
async def start(host: Host, argv: Argv, merge: bool = False) -> Process:
    """Start a command that the policy names, by its program and each of its arguments, and go on as ``proc.spawn``.

    It runs as the agent's own user, in ``/``, with a small environment of ours.

    Raises:
        NotFoundError: There is no such program.
        UnavailableError: No program can be started now.
    """
    given: Process = await spawn(host, argv, merge=merge)
    return given


_SPAWN = 'local child = proc.spawn({"/bin/cat"})\n'
_SPAWN_PY = 'child = proc.spawn(["/bin/cat"])\n'


@call(
    "process.write",
    tier=Tier.INSPECT,
    changes=True,
    under="proc.spawn",
    lua=f'{_SPAWN}child:write("hello\\n")',
    python=f'{_SPAWN_PY}child.write("hello\\n")',
)
async def write(
    process: Process,
    data: Input,
    timeout: Annotated[float, Bounds(0.01, 600, "seconds")] = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> int:
    """Write to what the program reads; returns how many bytes went, fewer than all if ``timeout`` came first.

    ``data`` can be a secret.

    Raises:
        ConflictError: Its input is closed.
    """
    given = data.reveal()
    stdin = process.started.stdin
    if stdin is None:
        raise ConflictError("the program has no input")
    before = stdin.written
    try:
        async with asyncio.timeout(timeout):
            await stdin.write(given)
    except TimeoutError:
        return stdin.written - before
    return len(given)


@call(
    "process.close_stdin",
    tier=Tier.INSPECT,
    changes=True,
    under="proc.spawn",
    lua=f"{_SPAWN}child:close_stdin()",
    python=f"{_SPAWN_PY}child.close_stdin()",
)
async def close_stdin(process: Process) -> None:
    """Close what the program reads, so that it sees the end."""
    if process.started.stdin is not None:
        process.started.stdin.close()


@call(
    "process.read",
    tier=Tier.INSPECT,
    under="proc.spawn",
    lua='local child = proc.spawn({"/bin/echo", "hello"})\nlocal some = child:read()',
    python='child = proc.spawn(["/bin/echo", "hello"])\nsome = child.read()',
)
async def read(
    process: Process,
    output: Literal["stdout", "stderr"] = "stdout",
    most: Annotated[int, Bounds(1, MAX_READ_BYTES, "bytes")] = 64 << 10,
    timeout: Annotated[float, Bounds(0, 600, "seconds")] = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> bytes | None:
    """Return what the program has printed next, at most ``most`` bytes; empty at the end, nothing after ``timeout``.

    Raises:
        ConflictError: Somebody else reads that output, or it goes where the other one goes.
    """
    reader = process.reader(output)
    try:
        async with asyncio.timeout(timeout):
            return await reader.read(int(most))
    except TimeoutError:
        return None


@call(
    "process.lines",
    tier=Tier.INSPECT,
    under="proc.spawn",
    lua='local child = proc.spawn({"/bin/echo", "hello"})\nfor line in child:lines() do print(line) end',
    python='child = proc.spawn(["/bin/echo", "hello"])\nfor line in child.lines():\n    print(line)',
)
async def lines(process: Process, output: Literal["stdout", "stderr"] = "stdout") -> AsyncIterator[str]:
    """Give what the program prints line by line, without the line ends, until it and all that share its output end.

    Lines over 64 KiB come in parts; what is not UTF-8 is replaced.

    Raises:
        ConflictError: Somebody else reads that output.
    """
    async for line in process.lines(output):
        yield line


@call(
    "process.signal",
    tier=Tier.INSPECT,
    changes=True,
    under="proc.spawn",
    lua=f'{_SPAWN}child:signal("TERM")',
    python=f'{_SPAWN_PY}child.signal("TERM")',
)
async def send(process: Process, sig: Signal, to_group: bool = False) -> bool:
    """Send a signal to the program, or to its process group; returns whether it still ran."""
    return process.started.signal(signal.Signals[f"SIG{sig}"].value, to_group=to_group)


@call(
    "process.kill",
    tier=Tier.INSPECT,
    changes=True,
    under="proc.spawn",
    lua=f"{_SPAWN}child:kill()",
    python=f"{_SPAWN_PY}child.kill()",
)
async def kill(process: Process, grace: Annotated[float, Bounds(0, 60, "seconds")] = 0.0) -> None:
    """End the program and all that came of it: at once, or with a word before (TERM) and ``grace`` to obey it."""
    process.started.kill_tree(grace)


@call(
    "process.wait",
    tier=Tier.INSPECT,
    dry=ENDED,
    under="proc.spawn",
    lua='local child = proc.spawn({"/bin/true"})\nlocal ended = child:wait({timeout = 5})',
    python='child = proc.spawn(["/bin/true"])\nended = child.wait(timeout=5)',
)
async def wait(
    process: Process,
    timeout: Annotated[float, Bounds(0, 3600, "seconds")] = 60.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any] | None:
    """Wait until the program and its tree have ended; nothing if ``timeout`` comes first.

    Returns ``code`` and ``signal`` (one of them is nothing), ``cpu`` (seconds of the whole tree), ``peak_bytes`` (of
    the largest process), ``stragglers`` (processes that outlived the program and were ended).

    Raises:
        BudgetError: It had more than 256 processes at once, and was killed.
        UnavailableError: What looks after programs has ended, and the program with it.
    """
    return await exit_of(process.started, timeout)


async def exit_of(started: Started, timeout_s: float) -> dict[str, Any] | None:
    """Return how a program ended; None if it did not in time. Raises as ``process.wait``."""
    try:
        async with asyncio.timeout(timeout_s):
            ended = await started.wait()
    except TimeoutError:
        return None
    return {
        "code": ended.code, "signal": ended.signal, "cpu": ended.cpu_s, "peak_bytes": ended.peak_bytes,
        "stragglers": ended.stragglers,
    }  # fmt: skip
