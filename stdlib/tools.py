"""Programs of the distribution that a call needs because there is no other source: one way to run them.

Which program, with which arguments, is written in the implementation of a call; a script gives at most single values,
which that call has checked. The program is found in the fixed directories of the host, must belong to root (or to the
agent's own user) and be writable by nobody else. There is no shell, its environment is ours, its input is empty, it has
a session of its own that is killed as a whole, and its output is bounded.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from protocol.errors import DeadlineError, UnavailableError
from stdlib.host import Host

MAX_OUTPUT_BYTES = 4 << 20  # of a tool's standard output, unless a call says less
MAX_ERROR_BYTES = 16 << 10
_MAX_REASON_CHARACTERS = 300
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/", "TZ": "UTC",
    "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0",
}  # fmt: skip


class Ended(NamedTuple):
    """How a tool ended."""

    code: int  # its exit status; negative: the signal that ended it
    output: bytes
    truncated: bool  # it printed more
    errors: str

    @property
    def text(self) -> str:
        """Its output as text; undecodable bytes as surrogates (PEP 383)."""
        return self.output.decode("utf-8", "surrogateescape")

    @property
    def reason(self) -> str:
        """The last line of what it complained about, for an error's text."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[-1][:_MAX_REASON_CHARACTERS] if lines else f"it ended with status {self.code}"


def find_tool(host: Host, name: str) -> str | None:
    """Return the absolute path of a tool, or None if this host has none that may be trusted."""
    for directory in host.tools:
        path = f"{directory}/{name}"
        try:
            status = os.stat(path)
        except OSError:
            continue
        is_ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IXUSR and is_ours:
            return path
    return None


async def run_tool(
    host: Host,
    name: str,
    *args: str,
    timeout_s: float = 20.0,
    most_bytes: int = MAX_OUTPUT_BYTES,
    codes: tuple[int, ...] = (0,),
    grace_s: float = 0.0,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a tool of the distribution to its end.

    Args:
        host: Where it is looked for.
        name: Its file name, fixed by the call.
        args: All its arguments.
        timeout_s: How long it may take, in seconds.
        most_bytes: How much of its output is kept; the rest is read and dropped, so that it goes on.
        codes: The exit statuses that are an answer.
        grace_s: How long it may take to end by itself after SIGTERM when its time is over or the run ends, for tools
            that leave something half done otherwise.
        environment: Added to ours.

    Raises:
        UnavailableError: This host has no such tool, or it failed; says why.
        DeadlineError: It took too long.

    Cancellation:
        Ends the tool like a deadline does.
    """
    program = find_tool(host, name)
    if program is None:
        raise UnavailableError(f"this host has no {name} (looked in {', '.join(host.tools)})")
    ended = await _run([program, *args], {**_ENVIRONMENT, **(environment or {})}, timeout_s, most_bytes, grace_s)
    if ended.code not in codes:
        raise UnavailableError(f"{name} failed: {ended.reason}")
    return ended


async def _run(
    argv: list[str], environment: Mapping[str, str], timeout_s: float, most_bytes: int, grace_s: float
) -> Ended:
    process = await _start(argv, environment)
    bounds = ((process.stdout, most_bytes), (process.stderr, MAX_ERROR_BYTES))
    readers = [asyncio.ensure_future(_read(stream, most)) for stream, most in bounds]
    is_over = False
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait(readers)
                await process.wait()
        except TimeoutError:
            is_over = True
        finally:
            if process.returncode is None and grace_s:
                await _ask_to_end(process, grace_s)
    finally:
        await _kill(process)
        done, stuck = await asyncio.wait(readers, timeout=1.0)
        for reader in stuck:  # somebody left the session and holds the pipe; what was read so far is lost with it
            reader.cancel()
    if is_over:
        raise DeadlineError(f"{argv[0]} did not end within {timeout_s:g} s")
    (output, cut), (errors, _) = (reader.result() if reader in done else (b"", True) for reader in readers)
    return Ended(process.returncode or 0, output, cut, errors.decode("utf-8", "replace"))


async def _start(argv: list[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment, cwd="/", start_new_session=True, close_fds=True,
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(starting)
    except OSError as error:
        raise UnavailableError(f"{argv[0]} cannot be started: {error.strerror}") from None
    except asyncio.CancelledError:
        # It may be running already and have children, of which asyncio knows nothing: wait for it, then end them all.
        with suppress(OSError):
            await _kill(await starting)
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _ask_to_end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await process.wait()


async def _read(stream: asyncio.StreamReader | None, most_bytes: int) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while stream is not None and (data := await stream.read(64 << 10)):
        room = most_bytes - len(kept)
        kept += data[:room]
        cut = cut or len(data) > room
    return bytes(kept), cut
