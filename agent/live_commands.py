"""The acts ``command`` and ``command.*``: a program that a session starts, its outputs apart as they come.

``command`` has in its header ``argv``, and ``env``, ``cwd``, ``user``, ``group``, ``merge``, ``timeout_s`` and
``stdin`` (whether something will come for it to read). At ``admin`` it is a call of ``proc.spawn``, below that of
``proc.start``: so it is decided on the program, links resolved, and on every argument, before it starts. What is sent:

    ["started", {command, pid, program}]
    ["stdout", data] and ["stderr", data]           as they come; a server that does not read makes the program wait
    ["exit", {code, signal, timed_out, cpu, peak_bytes, stdout, stderr}]      or ["error", {...}]

``command.stdin`` (``command``, as it was told) takes raw bytes for its input and closes that at their end;
``command.signal`` (``command``, ``signal``, ``to_group``) sends a signal. A ``command`` whose pipe is given up, whose
link breaks or whose time is over is killed with all that came of it. Its end is on record with its status, the hash of
each output and the first and last of it, without what looks like a secret.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agent.live import LiveSession
from agent.live_calls import send_failure
from protocol.errors import ArgumentError, ConflictError, NotFoundError, OutriderError
from protocol.limits import MAX_STREAM_DATA_BYTES
from protocol.pipes import Pipe
from protocol.tiers import Tier
from sandbox.held import Held
from sandbox.runtimes import HANDLE_KEY

if TYPE_CHECKING:
    from stdlib.proc_spawn import Process
    from stdlib.processes.pipes import Reader

READ_BYTES: Final = MAX_STREAM_DATA_BYTES - 1024  # of an output at once: a frame with its head
PIPE_BYTES: Final = 256 << 10  # of an output that the kernel holds, so that the program goes on while some is sent
KEPT_BYTES: Final = 3072  # of the beginning and of the end of each output, on record
MAX_TIMEOUT_S: Final = 86_400.0
LAST_OUTPUT_S: Final = 1.0  # for what is still in the pipes when all is over
_GIVEN: Final = ("argv", "env", "cwd", "user", "group", "merge")


class Printed:
    """One output of a program: how much, its hash, and its two ends for the record."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._first = bytearray()
        self._last = b""

    def add(self, data: bytes) -> None:
        """So much was printed."""
        self.bytes += len(data)
        self._hash.update(data)
        room = KEPT_BYTES - len(self._first)
        if room > 0:
            self._first += data[:room]
            data = data[room:]
        self._last = (self._last + data)[-KEPT_BYTES:]

    def told(self) -> dict[str, Any]:
        """Return how much it was, and its hash."""
        return {"bytes": self.bytes, "sha256": self._hash.hexdigest()}

    def on_record(self) -> dict[str, Any]:
        """Return what the record has of it."""
        told = self.told()
        if not self.bytes:
            return told
        is_whole = self.bytes == len(self._first) + len(self._last)
        if is_whole:
            return {**told, "text": _clean(bytes(self._first) + self._last)}
        return {**told, "first": _clean(bytes(self._first)), "last": _clean(self._last)}


def _clean(data: bytes) -> str:
    from stdlib.redaction import redacted

    return "\n".join(redacted(line) for line in data.decode("utf-8", "replace").split("\n"))


async def serve_command(session: LiveSession, pipe: Pipe) -> None:
    """Run the program that the pipe's header names, and send what it prints and how it ended."""
    held: Held | None = None
    try:
        timeout_s = _timeout(pipe.header)
        held = await _started(session, pipe.header)
        thing: Any = held.thing
        process: Process = thing
        if not pipe.header.get("stdin") and process.started.stdin is not None:
            process.started.stdin.close()
        await pipe.send(["started", {"command": held.number, **process.fields()}])
        await _attend(session, pipe, process, timeout_s)
    except OutriderError as error:
        await send_failure(pipe, error)
    finally:
        if held is not None:
            await session.gate.release(held.number)


async def _started(session: LiveSession, header: Mapping[str, Any]) -> Held:
    given = {name: header[name] for name in _GIVEN if header.get(name) is not None}
    call = "proc.spawn"
    if session.opening.tier < Tier.ADMIN:
        call, more = "proc.start", sorted(set(given) - {"argv", "merge"})
        if more:
            raise ArgumentError(f"{more[0]}: only a session at tier admin can choose that", parameter=more[0])
    held = await session.call(call, given)
    if not isinstance(held, Held):
        raise ConflictError("nothing was started")
    return held


async def _attend(session: LiveSession, pipe: Pipe, process: Process, timeout_s: float | None) -> None:
    """Send what is printed until it has ended, or is ended for its time or because nobody listens any more."""
    outputs = {"stdout": Printed(), "stderr": Printed()}
    started = process.started
    sending = [
        asyncio.ensure_future(_send(session, pipe, name, reader, outputs[name]))
        for name, reader in (("stdout", started.stdout), ("stderr", started.stderr))
        if reader is not None
    ]
    ending = asyncio.ensure_future(started.wait())
    listening = asyncio.ensure_future(_until_given_up(pipe))
    is_late = False
    try:
        done, _ = await asyncio.wait([ending, listening], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if ending not in done:
            is_late = not done
            started.kill_tree()
        ended = await ending
        # Whoever is slow to read still gets all of it; who is gone gets nothing.
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_OUTPUT_S if is_late or listening.done() else None):
                await asyncio.gather(*sending)
        how = {
            "code": ended.code, "signal": ended.signal, "timed_out": is_late, "cpu": ended.cpu_s,
            "peak_bytes": ended.peak_bytes,
        }  # fmt: skip
        process.about |= how | {name: printed.on_record() for name, printed in outputs.items()}
        await pipe.send(["exit", how | {name: printed.told() for name, printed in outputs.items()}])
    finally:
        if not process.about:
            process.about |= {name: printed.on_record() for name, printed in outputs.items()}
        for task in (*sending, ending, listening):
            task.cancel()
        await asyncio.gather(*sending, ending, listening, return_exceptions=True)


async def _send(session: LiveSession, pipe: Pipe, name: str, reader: Reader, printed: Printed) -> None:
    reader.widen(PIPE_BYTES)
    while data := await reader.read(READ_BYTES):
        session.touch()
        printed.add(data)
        await pipe.send_bytes(name, data)


async def _until_given_up(pipe: Pipe) -> None:
    """Return when nobody listens any more; the server finishes its own direction at once, which is no sign of that."""
    with suppress(OutriderError):
        while await pipe.read():
            pass
        await pipe.wait_gone()


def _timeout(header: Mapping[str, Any]) -> float | None:
    value = header.get("timeout_s")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= MAX_TIMEOUT_S:
        raise ArgumentError(f"timeout_s: must be up to {MAX_TIMEOUT_S:.0f} seconds", parameter="timeout_s")
    return float(value)


async def serve_stdin(session: LiveSession, pipe: Pipe) -> None:
    """Give a program what comes on the pipe to read, as fast as it reads, and then its end."""
    try:
        process = _process(session, pipe.header)
        stdin, size = process.started.stdin, 0
        if stdin is None or stdin.is_closed:
            raise ConflictError("the program's input is closed")
        while data := await pipe.read():
            session.touch()
            await stdin.write(data)
            size += len(data)
        stdin.close()
        await pipe.send(["value", {"bytes": size}])
    except OutriderError as error:
        await send_failure(pipe, error)


async def serve_signal(session: LiveSession, pipe: Pipe) -> None:
    """Send a signal to a program; a call as any other."""
    try:
        _process(session, pipe.header)
        arguments = {
            "process": {HANDLE_KEY: pipe.header["command"]}, "sig": pipe.header.get("signal"),
            "to_group": pipe.header.get("to_group") is True,
        }  # fmt: skip
        await pipe.send(["value", await session.call("process.signal", arguments)])
    except OutriderError as error:
        await send_failure(pipe, error)


def _process(session: LiveSession, header: Mapping[str, Any]) -> Process:
    number = header.get("command")
    held = session.gate.holder.find(number) if type(number) is int else None
    if held is None or held.kind != "process":
        raise NotFoundError("this session runs no such command (any more)")
    thing: Any = held.thing
    process: Process = thing
    return process
