"""The agent's ends of a program's pipes, on the event loop: nothing is read before somebody wants it.

So a program that prints without end waits in its own write, and what it printed costs no memory here beyond the pipe.
Works on asyncio's loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from protocol.errors import ConflictError, UnavailableError

_F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h; the module has a name for it only where it was built with one
CHUNK_BYTES: Final = 64 * 1024  # the usual capacity of a pipe
_AT_ONCE_BYTES: Final = (
    16 * 1024
)  # of one read of who follows: a terminal gives 4 KiB, and room that is not used costs time
_LITTLE_BYTES: Final = 2048  # and no more in a turn: there is hardly anything left, so that a key costs one read


class _End:
    """One descriptor that does not block, and at most one coroutine that waits for it."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor  # -1 once closed
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it was closed here."""
        return self._descriptor < 0

    def close(self) -> None:
        """Close it; whoever waits goes on and finds it closed. Idempotent."""
        if self._descriptor < 0:
            return
        self._wake()
        os.close(self._descriptor)
        self._descriptor = -1

    def _begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        if self._waiting is not None:
            raise ConflictError("somebody else waits for this stream already")
        self._waiting = loop.create_future()
        return self._waiting

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._stop(self._waiting.get_loop())
            self._waiting.set_result(None)

    async def _wait(self, waiting: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        try:
            await waiting
        finally:
            if not waiting.done() or waiting.cancelled():
                self._stop(loop)
            self._waiting = None


class Reader(_End):
    """What the program prints."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._followed: Callable[[], None] | None = None  # called when there is something to read
        self._most = 0  # bytes that who follows takes now

    def widen(self, size: int) -> None:
        """Let the kernel hold up to ``size`` bytes that were not read, if this is a pipe and we may have so much."""
        if self._descriptor >= 0:
            with suppress(OSError):
                fcntl.fcntl(self._descriptor, _F_SETPIPE_SZ, size)

    async def read(self, most: int = CHUNK_BYTES) -> bytes:
        """Return 1 to ``most`` bytes; none when the program and all that hold its end have closed it.

        Cancellation:
            Safe; nothing is lost.
        """
        while self._descriptor >= 0:
            try:
                return os.read(self._descriptor, most)
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                waiting = self._begin(loop)
                loop.add_reader(self._descriptor, self._wake)
                await self._wait(waiting, loop)
            except OSError as error:
                if error.errno == errno.EIO:  # Linux says so of a terminal whose other side is closed
                    return b""
                raise UnavailableError(f"the output cannot be read: {error.strerror}") from None
        return b""

    async def follow(self, take: Callable[[bytes], int], most: int) -> None:
        """Hand what is printed to ``take`` in the turn of the loop in which it comes, until the end.

        Args:
            take: Returns how many bytes it takes at most next; 0: the program waits until :meth:`go_on`. What it raises
                is raised here.
            most: It takes at first.

        Raises:
            UnavailableError: The output cannot be read.

        Cancellation:
            Safe; nothing is lost.
        """
        if self._descriptor < 0:
            return
        loop = asyncio.get_running_loop()
        over = self._begin(loop)
        self._followed = partial(self._hand_on, take, over)
        self._most = 0
        self.go_on(most)
        try:
            await self._wait(over, loop)
        finally:
            self._followed = None

    def go_on(self, most: int) -> None:
        """Let who follows have up to ``most`` bytes more, if there is somebody."""
        if self._followed is None or self._waiting is None or self._waiting.done():
            return
        if not self._most and most > 0:
            self._waiting.get_loop().add_reader(self._descriptor, self._followed)
        self._most = max(self._most, most)

    def _hand_on(self, take: Callable[[bytes], int], over: asyncio.Future[None]) -> None:
        """Read what there is, up to a bound as others wait for their turn, and hand it on as one piece."""
        if over.done():
            return
        pieces, error, is_over = self._drained(min(self._most, CHUNK_BYTES))
        if pieces:
            try:
                self._most = take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            except Exception as raised:  # noqa: BLE001 - raised by who follows
                error, is_over = raised, True
        if is_over:
            if self._descriptor >= 0:
                self._stop(over.get_loop())
            if error is not None and not over.done():
                over.set_exception(error)
            self._wake()
        elif not self._most and self._descriptor >= 0:
            over.get_loop().remove_reader(self._descriptor)

    def _drained(self, most: int) -> tuple[list[bytes], Exception | None, bool]:
        """Return what is there, why no more can be read, and whether that is so."""
        pieces: list[bytes] = []
        left = most
        try:
            while left > 0:
                data = os.read(self._descriptor, min(left, _AT_ONCE_BYTES))
                if not data:
                    return pieces, None, True
                pieces.append(data)
                left -= len(data)
                if most - left < _LITTLE_BYTES:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            why = None if error.errno == errno.EIO else UnavailableError(f"the output cannot be read: {error.strerror}")
            return pieces, why, True  # EIO as above
        return pieces, None, False

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._descriptor)


class Writer(_End):
    """What the program reads."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.written = 0  # bytes that the pipe has taken so far

    async def write(self, data: bytes) -> None:
        """Write all of ``data``, as fast as the program reads it.

        Raises:
            ConflictError: The input is closed, on this side or on the program's.

        Cancellation:
            A part may have been written.
        """
        rest = memoryview(data)
        while rest:
            if self._descriptor < 0:
                raise ConflictError("the program's input is closed")
            try:
                taken = os.write(self._descriptor, rest[: 16 * CHUNK_BYTES])
                self.written += taken
                rest = rest[taken:]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                waiting = self._begin(loop)
                loop.add_writer(self._descriptor, self._wake)
                await self._wait(waiting, loop)
            except OSError:  # EPIPE: no reader; EIO: a terminal without a program
                raise ConflictError("the program has closed its input") from None

    def write_now(self, data: bytes) -> int:
        """Return how many bytes of ``data`` were taken at once; 0 if none could be, and then :meth:`write` says why."""
        if self._descriptor < 0 or self._waiting is not None:
            return 0
        try:
            taken = os.write(self._descriptor, data)
        except OSError:
            return 0
        self.written += taken
        return taken

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_writer(self._descriptor)
