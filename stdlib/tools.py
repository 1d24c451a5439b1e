"""Programs of the distribution that a call needs because there is no other source: one way to run them.

Which program, with which arguments, is written in the implementation of a call; a script gives at most single values,
which that call has checked. The program is found in the fixed directories of the host, must belong to root (or to the
agent's own user) and be writable by nobody else. It is started like every other program (``stdlib.processes``): no
shell, an environment of ours, an empty input, limits of its own, and whatever comes of it, also what it sends into the
background, has ended when the call returns. Its output is bounded.
"""

from __future__ import annotations

import asyncio
import math
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from protocol.errors import BudgetError, DeadlineError, UnavailableError
from stdlib.host import Host

if TYPE_CHECKING:
    from stdlib.processes.pipes import Reader
    from stdlib.processes.start import Program

MAX_OUTPUT_BYTES = 4 << 20  # of a tool's standard output, unless a call says less
MAX_ERROR_BYTES = 16 << 10
MAX_MEMORY_BYTES = 4 << 30  # address space of each of its processes, unless a call says else; journalctl maps files
MAX_PROCESSES = 64  # of its tree at once, unless a call says else
LAST_OUTPUT_S = 1.0  # for what is still in the pipes when all is over
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
    most_memory_bytes: int | None = MAX_MEMORY_BYTES,
    most_processes: int = MAX_PROCESSES,
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
        most_memory_bytes: Address space that each of its processes may have; None: no limit.
        most_processes: How many it may have at once; with more it is killed.

    Raises:
        UnavailableError: This host has no such tool, no program can be started now, or it failed; says why.
        DeadlineError: It took too long.
        BudgetError: It had too many processes.

    Cancellation:
        Ends the tool like a deadline does.
    """
    from stdlib.processes.limits import Limits
    from stdlib.processes.start import Program

    program = find_tool(host, name)
    if program is None:
        raise UnavailableError(f"this host has no {name} (looked in {', '.join(host.tools)})")
    limits = Limits(math.ceil(timeout_s) + 1, most_memory_bytes, processes=most_processes)
    what = Program(program, (program, *args), {**_ENVIRONMENT, **(environment or {})}, limits=limits)
    ended = await _run(host, what, timeout_s, most_bytes, grace_s)
    if ended.code not in codes:
        raise UnavailableError(f"{name} failed: {ended.reason}")
    return ended


async def _run(host: Host, program: Program, timeout_s: float, most_bytes: int, grace_s: float) -> Ended:
    from stdlib.processes.start import Stream

    if host.processes is None:
        raise UnavailableError("no programs are started here")
    process = await host.processes.start(program, Stream.NULL, Stream.PIPE, Stream.PIPE)
    bounds = ((process.stdout, most_bytes), (process.stderr, MAX_ERROR_BYTES))
    readers = [asyncio.ensure_future(_read(reader, most)) for reader, most in bounds]
    is_over = False
    try:
        try:
            async with asyncio.timeout(timeout_s):
                ended = await process.wait()
        except TimeoutError:
            is_over = True
            process.kill_tree(grace_s)
            ended = await process.wait()
        except asyncio.CancelledError:
            process.kill_tree(grace_s)
            with suppress(BudgetError, UnavailableError):
                await process.wait()
            raise
        await asyncio.wait(readers, timeout=LAST_OUTPUT_S)
    finally:
        for reader in readers:
            reader.cancel()
        await process.close()
    if is_over:
        raise DeadlineError(f"{program.executable} did not end within {timeout_s:g} s")
    # All of its tree is gone, so the pipes have ended; one that has not is held by somebody outside, and what was read
    # so far is lost with it.
    (output, cut), (errors, _) = (
        reader.result() if reader.done() and not reader.cancelled() else (b"", True) for reader in readers
    )
    code = ended.code if ended.code is not None else -(ended.signal or 0)
    return Ended(code, output, cut, errors.decode("utf-8", "replace"))


async def _read(reader: Reader | None, most_bytes: int) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while reader is not None and (data := await reader.read()):
        room = most_bytes - len(kept)
        kept += data[:room]
        cut = cut or len(data) > room
    return bytes(kept), cut
