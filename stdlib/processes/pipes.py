"""The agent's ends of a program's pipes, on the event loop: nothing is read before somebody wants it.

So a program that prints without end waits in its own write, and what it printed costs no memory here beyond the pipe.
Works on asyncio's loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final

from protocol.errors import ConflictError, UnavailableError

CHUNK_BYTES: Final = 64 * 1024  # the usual capacity of a pipe


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

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_writer(self._descriptor)
