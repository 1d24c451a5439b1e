"""Reading a script's code: a short one here, a longer one in a process of its own, with bounds of time and memory.

What is read was signed by an author, and by nobody else yet. Python's own parser takes time that grows with the square
of an f-string, and lets no other thread of its process run meanwhile: 180 kB of source held the whole server up for
seconds. Up to ``MAX_HERE_BYTES`` that is some hundredths of a second, less than it takes to hand a script over for the
first time.

The process is begun when there is something for it, serves one script after the other, and is taken for gone with
whatever is wrong about it. It ends with this one, whose end of its pipe is closed then.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from protocol.bundle import Bundle
from protocol.errors import ArgumentError, InternalError, OutriderError, ProtocolError, UnavailableError
from protocol.frames import decode, encode
from protocol.manifest import Need
from sandbox.analysis import Pinned
from server import findings, git_program

MAX_HERE_BYTES: Final = 8 << 10  # of all files that are read together; at worst 20 ms in which nothing else goes on
MAX_CPU_S: Final = 60  # of one script; the largest bundle that says what it does takes half of that
MAX_MEMORY_BYTES: Final = 2 << 30  # of the process: syntax trees are a hundred times as large as their source
MAX_WAIT_S: Final = 90.0  # of one script; and for those that are read before it
MAX_ASKED_BYTES: Final = 16 << 20  # a bundle and its libraries, which together are no larger than the largest bundle
MAX_TOLD_BYTES: Final = 8 << 20  # what is found is bounded, and far less
HEAD_BYTES: Final = 4  # before each message: its length, big-endian
OUT_OF_MEMORY: Final = 3  # the status of a process that has none left
_TOO_MUCH: Final = (OUT_OF_MEMORY, -signal.SIGXCPU, -signal.SIGKILL)  # the last is how the kernel takes memory back
_PROGRAM: Final = "server.reading_program"

Found = tuple[dict[str, Any], tuple[str, str] | None]


def is_short(bundle: Bundle, pinned: Sequence[Pinned]) -> bool:
    """Tell whether a script and its libraries are read here."""
    files = [bundle.files, *(each.files for each in pinned)]
    return sum(len(content) for each in files for content in each.values()) <= MAX_HERE_BYTES


def read(bundle: Bundle, pinned: Sequence[Pinned], missing: Sequence[str]) -> Found:
    """Read a script; as :func:`server.findings.find`. Blocks for as long as that takes.

    Raises:
        ArgumentError: It takes more time or memory than a script is worth.
        UnavailableError: Others are being read, or the process cannot be begun.
    """
    if is_short(bundle, pinned):
        return findings.find(findings.Source.of(bundle), pinned, missing)
    manifest = bundle.manifest
    libraries = [[each.name, each.digest, each.main, dict(each.files)] for each in pinned]
    needs = [[each.call, *map(list, _lists(each))] for each in manifest.needs]
    asked = [manifest.language, manifest.main, dict(bundle.files), needs, libraries, list(missing)]
    told = _READER.ask(encode(asked, max_bytes=MAX_ASKED_BYTES))
    match decode(told, max_bytes=MAX_TOLD_BYTES):
        case [dict() as found, None]:
            return found, None
        case [dict() as found, [str() as place, str() as message]]:
            return found, (place, message)
    raise ProtocolError("what was read of a script has no form that is known")


def _lists(need: Need) -> tuple[tuple[str, ...], ...]:
    return need.paths, need.commands, need.targets, need.names


class _Reader:
    """The process, if there is one."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, asked: bytes) -> bytes:
        """Return what the process answers; raises as :func:`read`."""
        if not self._turn.acquire(timeout=MAX_WAIT_S):
            raise UnavailableError("others publish long scripts; try again in a moment")
        try:
            if self._process is None or self._process.poll() is not None:
                self._process = _begin()
            try:
                return _exchange(self._process, asked, time.monotonic() + MAX_WAIT_S)
            except BaseException:
                self.end()
                raise
        finally:
            self._turn.release()

    def end(self) -> None:
        """End the process. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


_READER: Final = _Reader()


def end() -> None:
    """End the process, if there is one; another one is begun when there is something for it. Idempotent."""
    _READER.end()


def _begin() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - words of ours
            [sys.executable, "-P", "-m", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=git_program.environment(), cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UnavailableError(f"no process can be begun to read a script: {error.strerror}") from None


def _exchange(process: subprocess.Popen[bytes], asked: bytes, end: float) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise InternalError("a process was begun without pipes")
    source, sink = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(sink, False)
    message = memoryview(len(asked).to_bytes(HEAD_BYTES, "big") + asked)
    try:
        while message:
            _await([], [sink], end)
            message = message[os.write(sink, message[: 64 << 10]) :]
        size = int.from_bytes(_exactly(source, HEAD_BYTES, end), "big")
        if size > MAX_TOLD_BYTES:
            raise ProtocolError(f"what was read of a script is over {MAX_TOLD_BYTES} bytes")
        return _exactly(source, size, end)
    except (BrokenPipeError, EOFError):
        raise _failure(process.wait()) from None


def _failure(status: int) -> OutriderError:
    if status in _TOO_MUCH:
        return ArgumentError(
            f"reading its code takes over {MAX_CPU_S} s of a processor or {MAX_MEMORY_BYTES >> 20} MiB"
            f" (status {status}): make it shorter",
            parameter="bundle",
        )
    return InternalError(
        "a script could not be read; the server's log says why", detail=f"{_PROGRAM} ended with {status}"
    )


def _exactly(source: int, size: int, end: float) -> bytes:
    parts, left = [], size
    while left:
        _await([source], [], end)
        part = os.read(source, min(left, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _await(readable: list[int], writable: list[int], end: float) -> None:
    if not any(select.select(readable, writable, [], max(0.0, end - time.monotonic()))[:2]):
        raise UnavailableError(f"a script could not be read in {MAX_WAIT_S:.0f} s; try again in a moment")
