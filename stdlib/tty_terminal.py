"""A terminal that a script drives: a program behind a pseudo-terminal, and what it printed and nobody took yet.

Nothing is read before somebody wants it, so a program that prints without end waits. What a wait reads and does not
match is kept up to MAX_KEPT_BYTES, the oldest dropped first; so is what the screen was not shown yet.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from kernel.visits import begun_apart
from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, OutriderError, UnavailableError
from protocol.regex import Found, Regex, of_parameter
from stdlib.handles import Handle
from stdlib.processes.pipes import CHUNK_BYTES, Reader, Writer
from stdlib.searching import searched
from stdlib.tty_screen import Display, Size

if TYPE_CHECKING:
    from stdlib.processes.process import Process as Started

MAX_KEPT_BYTES: Final = 256 << 10
MAX_UNSHOWN_BYTES: Final = 1 << 20
MAX_DRAINED_BYTES: Final = 1 << 20  # by one look at the screen
ECHO_LOOK_S: Final = 0.02
_TIOCSIG: Final = 0x40045436  # asm-generic/ioctls.h: a signal for the foreground group, sent at the master
_SIZE: Final = struct.Struct("=HHHH")  # struct winsize


def set_size(descriptor: int, size: Size) -> None:
    """Tell the kernel how large a terminal is; it tells the foreground group."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, _SIZE.pack(size.rows, size.cols, 0, 0))


class Terminal(Handle):
    """One terminal of a run.

    Args:
        started: The program.
        master: Our end; taken over.
        size: Columns and rows.
        program: What was started, for the script.
        facts: What its methods are decided on.
        grace_s: Seconds between hanging up, which a shell may want to answer, and killing the tree.
    """

    kind: ClassVar[str] = "tty"

    def __init__(
        self, started: Started, master: int, size: Size, program: str, facts: Facts, *, grace_s: float = 0.0
    ) -> None:
        self.facts = facts
        self.started = started
        self._master = master
        self._reader = Reader(master)
        self._writer = Writer(os.dup(master))
        self.type_now: Callable[[bytes], int] = self._writer.write_now  # types what is taken at once; returns how much
        self._program = program
        self._grace_s = grace_s
        self._kept = bytearray()  # read, not taken
        self._unshown: deque[bytes | Size] = deque()  # read, not yet in the display
        self._unshown_bytes = 0
        self._is_exact = True  # whether the display has seen all
        self._display: Display | None = None
        self._size = size
        self.has_ended = False  # the program and all that share its terminal have closed it

    def fields(self) -> dict[str, Any]:
        """Return its pid and program."""
        return {"pid": self.started.pid, "program": self._program}

    async def close(self) -> None:
        """Hang up and kill the tree.

        Raises:
            UnavailableError: What looked after it did not answer; says whether the program may still run.
        """
        self._writer.close()
        self._reader.close()
        if self._grace_s > 0 and not self.started.has_ended:
            self.started.kill_tree(self._grace_s)  # the kernel has sent SIGHUP already: the last of our ends is closed
            with suppress(OutriderError):
                await self.started.wait()
        await self.started.close()
        if self.started.unheard:
            raise UnavailableError(self.started.unheard)

    # for a person's session, which keeps and records what comes by itself ---------------------------------------------

    @property
    def size(self) -> Size:
        """How large it is."""
        return self._size

    @property
    def echoes(self) -> bool:
        """Whether the kernel prints what is typed; false while a password is asked for, and under line editors."""
        try:
            return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)
        except termios.error:
            return False

    async def follow(self, take: Callable[[bytes], int], most: int) -> None:
        """Hand what is printed to ``take`` as it comes, until the end; as :meth:`Reader.follow`.

        Nothing is kept here. Not to be mixed with the other readers.
        """
        await self._reader.follow(take, most)
        self.has_ended = True

    def go_on(self, most: int) -> None:
        """Let who follows have up to ``most`` bytes more."""
        self._reader.go_on(most)

    async def type(self, data: bytes) -> None:
        """Type ``data``, as fast as it is read.

        Raises:
            ConflictError: The program has ended.
        """
        await self._writer.write(data)

    def redraw(self) -> None:
        """Ask what is in the foreground to draw its screen anew, as after a change of size."""
        try:
            os.killpg(os.tcgetpgrp(self._master), signal.SIGWINCH)
        except OSError:  # nobody is there, or they have other rights than the agent; their next line is whole again
            return

    # what comes of it -------------------------------------------------------------------------------------------------

    async def _more(self, timeout_s: float) -> bool:
        """Read what comes next; return whether anything came in time."""
        if self.has_ended:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(CHUNK_BYTES)
        except TimeoutError:
            return False
        self.has_ended = not data
        self._kept += data
        self._unshown.append(data)
        self._unshown_bytes += len(data)
        while self._unshown_bytes > MAX_UNSHOWN_BYTES:
            dropped = self._unshown.popleft()
            self._unshown_bytes -= len(dropped) if isinstance(dropped, bytes) else 0
            self._is_exact = False
        return bool(data)

    async def read(self, most: int, timeout_s: float) -> bytes | None:
        """Return what was not taken yet, else what comes next; empty at the end, None if nothing came in time."""
        if not self._kept and not await self._more(timeout_s):
            return b"" if self.has_ended else None
        data = bytes(self._kept[:most])
        del self._kept[:most]
        return data

    async def expect(self, patterns: Sequence[Regex], timeout_s: float) -> tuple[int, Found | None, bytes] | None:
        """Wait for the first of the patterns, and take all up to its end.

        Returns:
            Its place, the match and what came before it; a place of -1 and all that is left if the output ended;
            None if nothing matched in time.
        """
        ends = time.monotonic() + timeout_s
        while True:
            text = bytes(self._kept)
            matches = enumerate(await searched(patterns, text))
            found = [(match.start(), place, match) for place, match in matches if match is not None]
            if found:
                start, place, match = min(found, key=lambda each: each[:2])
                del self._kept[: match.end()]
                return place, match, text[:start]
            if self.has_ended:
                self._kept.clear()
                return -1, None, text
            del self._kept[: max(0, len(self._kept) - MAX_KEPT_BYTES)]
            left = ends - time.monotonic()
            if not await self._more(max(left, 0)) and not self.has_ended:
                return None

    async def screen(self, settle_s: float, timeout_s: float) -> dict[str, Any]:
        """Return what a terminal would show once nothing has come for ``settle_s``, or at ``timeout_s``."""
        ends, drained = time.monotonic() + timeout_s, 0
        while drained < MAX_DRAINED_BYTES:
            left = ends - time.monotonic()
            before = self._unshown_bytes
            if not await self._more(max(0.0, min(settle_s, left))):
                break
            drained += max(0, self._unshown_bytes - before)
            del self._kept[: max(0, len(self._kept) - MAX_KEPT_BYTES)]
        items, self._unshown = list(self._unshown), deque()
        self._unshown_bytes = 0
        if self._display is None:
            self._display = Display(self._size)
        display = self._display
        await begun_apart(display.feed, items)
        return {**display.shown(), "exact": self._is_exact}

    async def write(self, data: bytes, timeout_s: float) -> int:
        """Type ``data``; return how many bytes the terminal took in time."""
        if self.started.has_ended:  # the kernel would take it all the same
            raise ConflictError("the program has ended")
        before = self._writer.written
        try:
            async with asyncio.timeout(timeout_s):
                await self._writer.write(data)
        except TimeoutError:
            pass
        return self._writer.written - before

    async def write_unseen(self, data: bytes, timeout_s: float) -> None:
        """Type ``data`` once the terminal does not echo.

        Raises:
            ConflictError: It echoes, so what is typed would be printed; or its input is closed or full.
        """
        ends = time.monotonic() + timeout_s
        while termios.tcgetattr(self._master)[3] & termios.ECHO:
            if time.monotonic() >= ends:
                raise ConflictError("the terminal echoes what is typed; wait for the program to ask")
            await asyncio.sleep(ECHO_LOOK_S)
        if await self.write(data, max(0.1, ends - time.monotonic())) < len(data):
            raise ConflictError("the program does not read what is typed")

    def resize(self, size: Size) -> None:
        """Change its size."""
        try:
            set_size(self._master, size)
        except OSError:  # it is closed
            return
        if self._display is None and not self._unshown:
            self._size = size
        else:
            self._unshown.append(size)

    def signal(self, number: int) -> bool:
        """Send a signal to what is in the foreground; return whether the program still ran."""
        if self.started.has_ended:
            return False
        try:
            fcntl.ioctl(self._master, _TIOCSIG, number)  # INT, QUIT and TSTP only
        except OSError:
            return self.started.signal(number, to_group=True)
        return True


def compiled(patterns: Sequence[str]) -> list[Regex]:
    """Return the patterns, compiled.

    Raises:
        ArgumentError: There is none, there are too many, or one is no pattern.
    """
    if not 0 < len(patterns) <= 20:
        raise ArgumentError("patterns: must be 1 to 20 patterns", parameter="patterns")
    return [of_parameter(pattern, "patterns") for pattern in patterns]
