"""The confined process that runs one script once.

The order is the security of it: create the runtime, lock, and only then receive the program. Not one byte of the script
is in this process before the lock is shut. At the end one bounded result is sent, and the process leaves by ``_exit``:
no finaliser, no exit handler and no close of a runtime runs. If the channel is gone there is nobody to work for, and
the worker leaves at once.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import urandom
from typing import Any, NoReturn, Protocol

from protocol.errors import ArgumentError, OutriderError, TooLargeError
from protocol.frames import encode
from sandbox import lua_runtime, python_runtime
from sandbox.channel import COMPILE, VALUE, Channel, Loopback, framed, start_frame
from sandbox.modules import NONE, Libraries
from sandbox.runtimes import (
    NO_CODES,
    Binding,
    CallError,
    ChannelLike,
    Codes,
    Result,
    Runtime,
    RuntimeLimits,
    Taken,
    failed,
)

EXIT_DONE = 0
EXIT_NOT_LOCKED = 71  # a wall did not stand; nothing was received, nothing ran
EXIT_CHANNEL_LOST = 70  # sysexits.h has no better word than "internal software error"; the gate is gone anyway
MAX_OUTPUT_FRAME_BYTES = 64 * 1024  # of one output frame, so that a huge print cannot hold up the channel
DEFAULT_OUTPUT_BYTES = 256 * 1024  # as the policies; of rehearsals, and until the program is there
#: Of each language that this version runs, a program that makes a call and leaves no name behind.
REHEARSED = {
    "lua": b"return pcall(function() return log.info('') end)",
    "python": b"try:\n    log.info('')\nexcept Exception:\n    pass\n",
}
REHEARSALS = 24  # CPython 3.11 to 3.13 have adapted their code by then
REHEARSALS_AHEAD = 2  # Lua copies 170 pages in the first, 87 in the second and 2 in the third
REHEARSAL_BYTES = 64 * 1024 * 1024

NO_ANSWER = framed(encode([VALUE, None]))

_prepared: dict[str, Runtime] = {}  # language -> made by ``prepare``
_rehearsed = {
    language: start_frame(main="main", files={"main": source}, parameters={}, output_bytes=DEFAULT_OUTPUT_BYTES)
    for language, source in REHEARSED.items()
}
_is_quiet = False


class WorkerChannel(ChannelLike, Protocol):
    """The worker's end of the socketpair, framed."""

    gives_bytes: bool  # in place of texts, from now on

    @property
    def ahead(self) -> bool:
        """Whether nobody waits for this worker yet."""

    def receive_start(self) -> tuple[int, list[Any]]:
        """Return what to do and with what, as :class:`Channel`. Blocks until it is there."""

    def finish(self, value: Any, error: list[str | None] | None = None, output_bytes: int = 0) -> None:
        """Send the one result, and wait until the gate closes the channel. ``TooLargeError`` if it fits no frame."""


def preload() -> None:
    """Import and read, in the zygote and before any fork, all that a locked worker would need a file for.

    Raises:
        UnavailableError: A language cannot be offered safely here; says why.
    """
    os.environ.setdefault("TZ", ":/etc/localtime")  # unset, the C library looks at that file again on each use
    time.tzset()
    lua_runtime.preload()
    python_runtime.preload()


def prepare(bindings: Sequence[Mapping[str, Any]]) -> None:
    """Make, in the zygote, one runtime of each language. Each worker then has its own copy of it, and uses one once.

    Before, another of them runs a short program over and over: what the interpreter writes into its own code the first
    times that it runs, each worker would otherwise write into a copy of its own.
    """
    rows = Binding.from_plain(bindings)
    for language in REHEARSED:
        used = make(language, rows)  # one for all: a Lua state that Python functions are known to is never freed
        for _ in range(REHEARSALS):
            _rehearse_over_socket(language, used)
        _prepared[language] = make(language, rows)


def _rehearse_over_socket(language: str, runtime: Runtime) -> None:
    """Rehearse over a socket: the interpreter adapts its code to the very class and calls that a worker will use."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # each read takes one frame, as in a run
    with ours, theirs:
        ours.send(_rehearsed[language])
        ours.send(NO_ANSWER)
        channel = Channel(theirs.fileno())
        meter = OutputMeter(channel)
        runtime.attach(meter, RuntimeLimits(REHEARSAL_BYTES), os.urandom(16))
        serve(channel, meter, runtime)


def rehearse(language: str, runtime: Runtime) -> None:
    """Take a short program of ours through the runtime, from its first frame to its last. Nothing of it is left.

    A worker that nobody waits for yet does it as well: it has then touched most of the memory that it will touch.
    """
    channel = Loopback(_rehearsed[language])
    meter = OutputMeter(channel)
    runtime.attach(meter, RuntimeLimits(REHEARSAL_BYTES), bytes(16))
    serve(channel, meter, runtime)


def make(language: str, bindings: Sequence[Binding]) -> Runtime:
    """Return a runtime for ``language`` that is not attached.

    Raises:
        UnavailableError: This build cannot run that language safely; says why.
        ArgumentError: No such language.
    """
    if language in lua_runtime.FLAVOURS:
        return lua_runtime.prepare(bindings, language)
    if language == "python":
        return python_runtime.prepare(bindings)
    raise ArgumentError(f"{language!r} is not a language (known: lua, luajit, python)", parameter="language")


def main(
    channel: WorkerChannel,
    *,
    language: str,
    bindings: Sequence[Mapping[str, Any]],
    memory_bytes: int,
    lock: Callable[[], None],
) -> NoReturn:
    """Be a worker: run one program and leave the process. Called in the zygote's child, right after the fork.

    Args:
        channel: The worker's end of the socketpair.
        language: ``lua``, ``luajit`` or ``python``; known before the program: the runtime is made before the lock.
        bindings: The calls as plain data, from the catalogue.
        memory_bytes: What the script may hold.
        lock: Shuts the process in; returns only if every required wall stands.
    """
    ready(channel, language=language, bindings=bindings, memory_bytes=memory_bytes, lock=lock)()


def ready(
    channel: WorkerChannel,
    *,
    language: str,
    bindings: Sequence[Mapping[str, Any]],
    memory_bytes: int,
    lock: Callable[[], None],
) -> Callable[[], NoReturn]:
    """Return :func:`main` with these arguments and all that can be made of them in the zygote, before the fork."""
    meter, limits, runtime = OutputMeter(channel), RuntimeLimits(memory_bytes), _prepared.get(language)
    attach = None if runtime is None else runtime.attach
    rehearsals = REHEARSALS_AHEAD if channel.ahead and language in REHEARSED else 0
    return partial(_live, channel, meter, limits, language, bindings, lock, rehearsals, runtime, attach)


def _live(
    channel: WorkerChannel,
    meter: OutputMeter,
    limits: RuntimeLimits,
    language: str,
    bindings: Sequence[Mapping[str, Any]],
    lock: Callable[[], None],
    rehearsals: int,
    runtime: Runtime | None,
    attach: Callable[[ChannelLike, RuntimeLimits, bytes], None] | None,  # its own
) -> NoReturn:
    try:
        if not _is_quiet:
            quieten()
        if runtime is None or attach is None:
            runtime = _make_or_refuse(language, bindings)
            attach = runtime.attach
        randomness = urandom(16)
        lock()
        while rehearsals:
            rehearsals -= 1
            rehearse(language, runtime)
        attach(meter, limits, randomness)
    except BaseException:  # noqa: BLE001 - whatever went wrong: a worker that is not locked must not go on
        os._exit(EXIT_NOT_LOCKED)
    try:
        serve(channel, meter, runtime)
    except BaseException:  # noqa: BLE001 - anything here means that the channel is gone or broken; nobody is left to tell
        os._exit(EXIT_CHANNEL_LOST)
    os._exit(EXIT_DONE)


def serve(channel: WorkerChannel, meter: OutputMeter, runtime: Runtime) -> None:
    """Receive the program, run it and send what came of it. Raises what the channel raises."""
    kind, start = channel.receive_start()
    if kind == COMPILE:
        main, source = start
        send(channel, meter, runtime.compiled(main, {main: source}))
        return
    channel.gives_bytes = runtime.takes_bytes
    main, files, parameters, meter.max_bytes, held, codes = start
    files = dict(files)  # what was a map on the way would have its keys looked up among all texts of the interpreter
    libraries = NONE if held is None else Libraries.from_plain(held)
    send(channel, meter, runtime.execute(main, files, parameters, libraries, NO_CODES if codes is None else codes))


def _make_or_refuse(language: str, bindings: Sequence[Mapping[str, Any]]) -> Runtime:
    try:
        return make(language, Binding.from_plain(bindings))
    except OutriderError as error:
        return Refusing(str(error), error.code)


def send(channel: WorkerChannel, meter: OutputMeter, result: Result) -> None:
    """Send the result, or why it cannot be sent."""
    error = None if result.ok else [result.error_message, result.error_where, result.error_code]
    try:
        channel.finish(result.value, error, meter.offered_bytes)
    except TooLargeError:
        send(channel, meter, failed("the result does not fit into one frame"))


class OutputMeter:
    """The channel as the runtime sees it: counts output, sends no more than allowed, ends with the channel."""

    def __init__(self, channel: ChannelLike, max_bytes: int = DEFAULT_OUTPUT_BYTES) -> None:
        self._channel = channel
        self.max_bytes = max_bytes  # of the whole run
        self.offered_bytes = 0  # what the script printed, sent or not; the reader sees from it that output was cut

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Make one call. Only ``CallError`` reaches the script; a broken channel ends the worker."""
        try:
            return self._channel.call(name, args, named)
        except CallError:
            raise
        except TooLargeError:
            raise CallError("too_large", f"the arguments of {name} do not fit into one frame") from None
        except (OSError, EOFError, OutriderError):
            os._exit(EXIT_CHANNEL_LOST)

    def pull(self, stream: int) -> Taken:
        """Pull; errors as in :meth:`call`."""
        try:
            return self._channel.pull(stream)
        except CallError:
            raise
        except (OSError, EOFError, OutriderError):
            os._exit(EXIT_CHANNEL_LOST)

    def release(self, handle: int) -> None:
        """Give a handle back; a broken channel ends the worker."""
        try:
            self._channel.release(handle)
        except (OSError, EOFError, OutriderError):
            os._exit(EXIT_CHANNEL_LOST)

    def output(self, data: bytes) -> None:
        """Send what fits under the cap, in frames of bounded size."""
        room = max(0, self.max_bytes - self.offered_bytes)
        self.offered_bytes += len(data)
        try:
            for start in range(0, min(room, len(data)), MAX_OUTPUT_FRAME_BYTES):
                self._channel.output(data[start : min(start + MAX_OUTPUT_FRAME_BYTES, room)])
        except (OSError, EOFError, OutriderError):
            os._exit(EXIT_CHANNEL_LOST)


class Refusing:
    """Stands in for a runtime that could not be made, so that the reason travels the usual way."""

    takes_bytes = False

    def __init__(self, message: str, code: str) -> None:
        self._result = failed(message, None, code)

    def attach(self, channel: ChannelLike, limits: RuntimeLimits, randomness: bytes) -> None:
        """Need nothing."""
        del channel, limits, randomness

    def execute(
        self,
        main: str,
        files: Mapping[str, bytes],
        parameters: Mapping[str, Any],
        libraries: Libraries = NONE,
        codes: Codes = NO_CODES,
    ) -> Result:
        """Return the refusal."""
        del main, files, parameters, libraries, codes
        return self._result

    def compiled(self, main: str, files: Mapping[str, bytes]) -> Result:
        """Return the refusal."""
        del main, files
        return self._result


class _NoImports:  # no MetaPathFinder: importlib.abc brings 20 modules, and so much more for each fork to copy
    """Makes a lazy import fail as an import; without it, the locked worker would be killed for opening a file."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        del path, target
        raise ModuleNotFoundError(f"{fullname} is not available in a worker")


def _refuse_files(event: str, _args: tuple[Any, ...]) -> None:
    """Audit hook: an interpreter that wants to open a file gets an error instead of a system call.

    CPython opens the script by name to quote a line in a syntax error; it takes any failure as "no such file".
    """
    if event == "open":
        raise PermissionError("files are not available in a worker")


def quieten() -> None:
    """Take away from the interpreter all reasons to open a file later: imports, warnings, tracebacks, quoted lines.

    For the zygote, when it has all that it needs, and so for its workers. Idempotent, as an audit hook stays for ever.
    """
    global _is_quiet  # noqa: PLW0603 - of this process and those that come from it
    if _is_quiet:
        return
    _is_quiet = True
    sys.addaudithook(_refuse_files)
    sys.meta_path[:] = [_NoImports()]
    warnings.simplefilter("ignore")
    sys.excepthook = lambda *_: None
    sys.unraisablehook = lambda _: None
