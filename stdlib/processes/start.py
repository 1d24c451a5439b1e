"""``Processes``: the agent's side of its spawner. Starts it when it is first needed, and again when it is lost.

Used from one event loop. A minder that is free waits for the next command, so that a command costs one fork.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from kernel import offspring
from protocol.errors import ArgumentError, DeniedError, NotFoundError, OutriderError, UnavailableError
from stdlib.processes.limits import Limits
from stdlib.processes.line import Line, NotStartedError
from stdlib.processes.messages import Mind, Run, pack
from stdlib.processes.process import Process

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/"}
MAX_ARGUMENT_BYTES: Final = 128 * 1024  # arguments and environment together; what the kernel takes of one argument
GRACE_S: Final = 1.0  # for what outlives the command, between SIGTERM and SIGKILL
START_TIMEOUT_S: Final = 30.0  # a cold start from a slow disk; 0.1 s when warm
STOP_TIMEOUT_S: Final = 5.0  # for an orderly end, before the spawner is killed
FREE: Final = 2  # minders that wait for a command; two megabytes each
COMMANDS_PER_MINDER: Final = 200  # then a fresh one; chosen without measurement


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


class _Spawner:
    """One spawner process, from its start to its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, python: str) -> None:
        self._loop = loop
        self._process: subprocess.Popen[bytes]
        try:
            self._process, self._control = offspring.start(python, "stdlib.processes.spawner")
        except OSError as error:
            raise UnavailableError(f"no program can be started: {error}") from None
        self.is_alive = True
        self.reaped: asyncio.Future[None] = loop.create_future()
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def line(self) -> Line:
        """Ask for a minder.

        Raises:
            UnavailableError: The spawner is gone or far behind.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [pack(Mind())], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise UnavailableError(f"no program can be started now: {error.strerror}") from None
        return Line(self._loop, ours)

    async def stop(self) -> None:
        """End it, and wait until it is gone."""
        self.release()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await asyncio.shield(self.reaped)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self.reaped)

    def release(self) -> None:
        """Close the control socket, which ends it in order. Idempotent."""
        self.is_alive = False
        self._control.close()

    def kill(self) -> None:
        """Kill it. Its minders end what they mind."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._process.wait()  # it has ended: this only reaps
        self.release()
        self.reaped.set_result(None)


class Processes:
    """Starts programs for one event loop.

    Args:
        python: The interpreter of the spawner.
        start_timeout_s: For a program to begin, above 0; the first one waits for the spawner as well.
    """

    def __init__(self, python: str = sys.executable, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._python = python
        self._start_timeout_s = start_timeout_s
        self._spawner: _Spawner | None = None
        self._free: list[Line] = []
        self._busy: dict[Line, Process] = {}
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
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            await spawner.stop()

    def _line(self) -> Line:
        while self._free:
            line = self._free.pop()
            if line.is_open:
                return line
        if self._spawner is None or not self._spawner.is_alive:
            self._spawner = _Spawner(asyncio.get_running_loop(), self._python)
        return self._spawner.line()

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
