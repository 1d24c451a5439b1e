"""``Processes``: the agent's side of its spawner. Starts it when it is first needed, and again when it is lost.

Used from one event loop. A minder that is free waits for the next command, so that a command costs one fork.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from protocol.errors import ArgumentError, DeniedError, NotFoundError, OutriderError, UnavailableError
from stdlib.processes.limits import Limits
from stdlib.processes.line import STUCK, Line, NotStartedError
from stdlib.processes.messages import Run
from stdlib.processes.minder import PATIENCE_S
from stdlib.processes.process import Process
from stdlib.processes.spawning import Spawning

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/"}
MAX_ARGUMENT_BYTES: Final = 128 * 1024  # arguments and environment together; what the kernel takes of one argument
GRACE_S: Final = 1.0  # for what outlives the command, between SIGTERM and SIGKILL
START_TIMEOUT_S: Final = 30.0  # a cold start from a slow disk; 0.1 s when warm
SILENCE_S: Final = PATIENCE_S + 5.0  # for a minder to end what it runs, over the grace; one that is well tells by then
DROP_S: Final = 2.0  # for a minder to be gone that the spawner was told to kill
FREE: Final = 2  # minders that wait for a command; two megabytes each
COMMANDS_PER_MINDER: Final = 200  # then a fresh one; chosen without measurement

_log = logging.getLogger("outrider.processes")


class Stream(Enum):
    """What a standard descriptor of a program is, other than a descriptor that is given."""

    NULL = "null"
    PIPE = "pipe"
    STDOUT = "stdout"  # of stderr: the same as stdout


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """What is started."""

    executable: str  # absolute
    arguments: tuple[str, ...]  # the first is the name it sees
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    directory: str = "/"
    umask: int = 0o022
    identity: Identity | None = None  # None: who the agent is
    may_gain: bool = False  # whether set-user-ID programs below it gain rights
    limits: Limits = field(default_factory=Limits)
    grace_s: float = GRACE_S

    def to_run(self, *, has_terminal: bool) -> Run:
        """Return what a minder is asked.

        Raises:
            ArgumentError: It is too long, or holds what no program can be given.
        """
        argv = [os.fsencode(item) for item in self.arguments]
        environment = [os.fsencode(f"{name}={value}") for name, value in self.environment.items()]
        if sum(map(len, argv)) + sum(map(len, environment)) > MAX_ARGUMENT_BYTES:
            raise ArgumentError(f"arguments and environment are longer than {MAX_ARGUMENT_BYTES >> 10} KiB together")
        if any(b"\0" in item for item in (*argv, *environment)) or not argv:
            raise ArgumentError("an argument holds a NUL, or there is none")
        if any("=" in name or not name for name in self.environment):
            raise ArgumentError("a name in the environment is empty or holds an equals sign")
        who = self.identity
        return Run(
            os.fsencode(self.executable), argv, environment, os.fsencode(self.directory), self.umask,
            None if who is None else [who.uid, who.gid, *who.groups], has_terminal, self.may_gain,
            self.limits.to_kernel(), self.limits.processes, round(self.grace_s * 1000),
        )  # fmt: skip


class Processes:
    """Starts programs for one event loop.

    Args:
        python: The interpreter of the spawner.
        start_timeout_s: For a program to begin, above 0; the first one waits for the spawner as well.
        patience_s: For what looks after a program to end it, over the grace, once it was told to.
    """

    def __init__(
        self,
        python: str = sys.executable,
        start_timeout_s: float = START_TIMEOUT_S,
        patience_s: float = SILENCE_S,
    ) -> None:
        self._python = python
        self._start_timeout_s = start_timeout_s
        self._patience_s = patience_s
        self._spawner: Spawning | None = None
        self._free: list[Line] = []
        self._busy: dict[Line, Process] = {}
        self._lines: dict[Line, Spawning] = {}  # all whose minder is not gone, with whom it was asked of
        self._ending: set[asyncio.Task[None]] = set()  # minders that did not answer
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def spawner_pid(self) -> int | None:
        """The spawner's process; None while there is none."""
        return self._spawner.pid if self._spawner is not None and self._spawner.is_alive else None

    @property
    def running(self) -> int:
        """Programs that have not ended."""
        return len(self._busy)

    async def start(
        self,
        program: Program,
        stdin: Stream | int = Stream.NULL,
        stdout: Stream | int = Stream.NULL,
        stderr: Stream | int = Stream.NULL,
        terminal: int | None = None,
    ) -> Process:
        """Start a program.

        Args:
            program: What.
            stdin: Where it reads from; a descriptor stays the caller's.
            stdout: Where it writes to.
            stderr: The same.
            terminal: A descriptor of a terminal that becomes all three and the controlling one.

        Raises:
            NotFoundError: There is no such program, or no such directory.
            DeniedError: The kernel does not let this user run it.
            ArgumentError: It is no program, or its arguments are too long.
            UnavailableError: No program can be started here now; says why.

        Cancellation:
            Safe: what may have been started is killed.
        """
        if self._is_closed:
            raise UnavailableError("programs are no longer started: the agent is stopping")
        try:
            return await self._start(program, (stdin, stdout, stderr), terminal)
        except OSError as error:  # no descriptor or no process is left here
            raise UnavailableError(f"no program can be started now: {error.strerror}") from None

    async def _start(
        self, program: Program, wanted: tuple[Stream | int, Stream | int, Stream | int], terminal: int | None
    ) -> Process:
        run = program.to_run(has_terminal=terminal is not None)
        with _standard(*wanted, terminal) as (theirs, ours):
            line = self._line()
            try:
                async with asyncio.timeout(self._start_timeout_s):
                    pid, pidfd, ended = await line.run(run, theirs)
            except NotStartedError as error:
                self._give_back(line)
                raise _failure(error, program) from None
            except TimeoutError:
                raise UnavailableError(f"the program did not start within {self._start_timeout_s:g} s") from None
            process = Process(line, pid, pidfd, ended, ours)
        self._busy[line] = process
        ended.add_done_callback(lambda _: self._on_end(line))
        return process

    async def close(self) -> None:
        """End every program and the spawner. Idempotent."""
        self._is_closed = True
        for line in (*self._busy, *self._free):
            line.close()
        self._free.clear()
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            await spawner.stop()
        for line in list(self._lines):
            line.abandon()

    def _line(self) -> Line:
        while self._free:
            line = self._free.pop()
            if line.is_open:
                return line
        if self._spawner is None or not self._spawner.is_alive:
            self._spawner = Spawning(asyncio.get_running_loop(), self._python)
        line = self._spawner.line(self._patience_s, self._on_overdue)
        self._lines[line] = self._spawner
        line.gone.add_done_callback(lambda _: self._lines.pop(line))
        return line

    def _on_overdue(self, line: Line) -> None:
        """A minder did not do in time what it was to do."""
        task = asyncio.get_running_loop().create_task(self._make_end(line, self._lines[line]), context=Context())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _make_end(self, line: Line, spawner: Spawning) -> None:
        """Have it killed: by the spawner, which ends what it minded; else by the end of the spawner."""
        _log.error("what looks after a program did not answer; it is killed, and what it had started with it")
        spawner.drop(line.number)
        await asyncio.wait([line.gone], timeout=DROP_S)
        if not line.gone.done():
            _log.error("the spawner, process %d, did not answer either; it is killed", spawner.pid)
            spawner.kill()
            await asyncio.wait([line.gone], timeout=DROP_S)
        if not line.gone.done():
            _log.error("what looks after a program cannot be ended; what it had started may still run")
            line.why = STUCK
            line.abandon()

    def _on_end(self, line: Line) -> None:
        self._busy.pop(line, None)
        self._give_back(line)

    def _give_back(self, line: Line) -> None:
        is_worn = line.commands >= COMMANDS_PER_MINDER or len(self._free) >= FREE
        if self._is_closed or is_worn:
            line.close()
        elif line.is_open:
            self._free.append(line)


@contextmanager
def _standard(
    stdin: Stream | int, stdout: Stream | int, stderr: Stream | int, terminal: int | None
) -> Iterator[tuple[list[int], tuple[int | None, int | None, int | None]]]:
    """Yield the program's three descriptors and our ends; ours are closed if the body fails."""
    if terminal is not None:
        yield [terminal] * 3, (None, None, None)
        return
    with ExitStack() as always, ExitStack() as on_failure:
        theirs: list[int] = []
        ours: list[int | None] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            own: int | None = None
            if isinstance(wanted, int):
                theirs.append(wanted)
            elif wanted is Stream.STDOUT:
                theirs.append(theirs[1])
            elif wanted is Stream.PIPE:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                own, other = (writing, reading) if number == 0 else (reading, writing)
                always.callback(os.close, other)
                on_failure.callback(os.close, own)
                theirs.append(other)
            else:
                theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
                always.callback(os.close, theirs[-1])
            ours.append(own)
        yield theirs, (ours[0], ours[1], ours[2])
        on_failure.pop_all()


def _failure(error: NotStartedError, program: Program) -> OutriderError:
    """Return the error of ours for what the kernel said."""
    what = {"program": program.executable, "directory": program.directory}.get(error.step)
    told = f"{what or f'the {error.step} of the program'}: {os.strerror(error.errno)}"
    if what is None:
        return UnavailableError(f"no program can be started now: {told}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError(f"{told} (or what it needs to run)" if error.step == "program" else told)
    if error.errno in (errno.EACCES, errno.EPERM):
        return DeniedError(told, rule="the host's permissions")
    if error.errno in (errno.ENOEXEC, errno.E2BIG, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR):
        return ArgumentError(told)
    return UnavailableError(told)
