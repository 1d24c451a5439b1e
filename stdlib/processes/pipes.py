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

from kernel.streams import Came
from protocol.errors import ConflictError, UnavailableError
from stdlib.processes.floods import Flood

_F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h; the module has a name for it only where it was built with one
CHUNK_BYTES: Final = 64 * 1024  # the usual capacity of a pipe
_TURN_BYTES: Final = 60 << 10  # of output read in one turn of the loop: two fill a message of a terminal
_FLOOD_BYTES: Final = 32 << 10  # that one turn had, and there was more: a program prints without end
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
        if self._waiting is not None:  # who waited may have been cancelled, and not know it yet
            self._stop(self._waiting.get_loop())
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
            if self._descriptor >= 0 and (not waiting.done() or waiting.cancelled()):
                self._stop(loop)
            self._waiting = None


class Reader(_End):
    """What the program prints."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._followed: Callable[[], None] | None = None  # called when there is something to read
        self._most = 0  # bytes that who follows takes now
        self._flood: Flood | None = None  # of who follows
        self._is_flooding = False  # whether that is to read in place of the loop

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

        What is printed without end is read on a thread meanwhile.

        Args:
            take: Returns how many bytes it takes at most next; 0: the program waits until :meth:`go_on`. What it raises
                is raised here.
            most: It takes at first.

        Raises:
            UnavailableError: The output cannot be read.

        Cancellation:
            Safe; nothing is lost: what was read is handed on before this ends.
        """
        if self._descriptor < 0:
            return
        loop = asyncio.get_running_loop()
        over = self._begin(loop)
        self._followed = partial(self._hand_on, take, over)
        self._flood = Flood(self._descriptor, partial(self._come, take, over), self._flood_over)
        self._most, self._is_flooding = 0, False
        self.go_on(most)
        try:
            await self._wait(over, loop)
        finally:
            self._stop_flood()
            self._followed = None

    def close(self) -> None:
        """Close it, as :meth:`_End.close`."""
        self._stop_flood()
        super().close()

    def go_on(self, most: int) -> None:
        """Let who follows have up to ``most`` bytes more, if there is somebody."""
        if self._flood is None or self._waiting is None or self._waiting.done():
            return
        was_paused, self._most = not self._most, max(self._most, most)
        if self._flood.is_reading:
            self._flood.go_on(most)
        elif was_paused:
            self._read_on()

    def _read_on(self) -> None:
        """Read from now on what is taken, on the loop or, in a flood, on a thread."""
        if self._flood is None or self._followed is None or self._waiting is None or not self._most:
            return
        if not (self._is_flooding and self._flood.begin(self._most)):
            self._waiting.get_loop().add_reader(self._descriptor, self._followed)

    def _flood_over(self, is_dry: bool) -> None:
        self._is_flooding = not is_dry
        if self._waiting is not None and not self._waiting.done():
            self._read_on()

    def _stop_flood(self) -> None:
        flood, self._flood = self._flood, None
        if flood is not None:
            for came in flood.stop():
                flood.come(came)

    def _hand_on(self, take: Callable[[bytes], int], over: asyncio.Future[None]) -> None:
        """Read what there is, up to a bound as others wait for their turn, and hand it on as one piece."""
        if over.done():
            return
        most = min(self._most, _TURN_BYTES)
        try:
            first = os.read(self._descriptor, min(most, _AT_ONCE_BYTES))
        except OSError:  # whoever reads all that is there finds the same
            first = b""
        if 0 < len(first) < _LITTLE_BYTES:  # as of a key, in few steps
            self._is_flooding = False
            try:
                self._most = take(first)
            except Exception as raised:  # noqa: BLE001 - raised by who follows
                self._end(over, raised)
            if not self._most and not over.done() and self._descriptor >= 0:
                over.get_loop().remove_reader(self._descriptor)
            return
        pieces, error, is_over = self._drained(most, first)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._take(take, over, data, error, is_over)
        if over.done() or self._descriptor < 0:
            return
        self._is_flooding = len(data) >= max(most, _FLOOD_BYTES)
        if not self._most or (self._is_flooding and self._flood is not None and self._flood.begin(self._most)):
            over.get_loop().remove_reader(self._descriptor)

    def _come(self, take: Callable[[bytes], int], over: asyncio.Future[None], came: Came) -> int:
        """Hand on what was read in a flood; return how much more is taken."""
        if over.cancelled() or not over.done():  # the former: nothing is lost all the same
            is_over = came.is_at_end or came.error != 0
            self._take(take, over, came.data, _cannot(came.error) if came.error else None, is_over)
        return 0 if over.done() else self._most

    def _take(
        self, take: Callable[[bytes], int], over: asyncio.Future[None], data: bytes, error: Exception | None,
        is_over: bool,
    ) -> None:  # fmt: skip
        """Hand on what was read; end it, with the error there may be, if nothing more comes."""
        if data:
            try:
                self._most = take(data)
            except Exception as raised:  # noqa: BLE001 - raised by who follows
                error, is_over = raised, True
        if is_over:
            self._end(over, error)

    def _end(self, over: asyncio.Future[None], error: Exception | None) -> None:
        """Nothing more comes, because of the error there may be."""
        if self._descriptor >= 0:
            self._stop(over.get_loop())
        if error is not None and not over.done():
            over.set_exception(error)
        self._wake()

    def _drained(self, most: int, first: bytes) -> tuple[list[bytes], Exception | None, bool]:
        """Return what is there, after what was read of it first; why no more can be read, and whether that is so."""
        pieces = [first] if first else []
        left = most - len(first)
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
            return pieces, _cannot(error.errno or 0), True
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


def _cannot(number: int) -> UnavailableError | None:
    """Return what an error of reading means; None: it is the end, as in :meth:`Reader.read`."""
    return None if number == errno.EIO else UnavailableError(f"the output cannot be read: {os.strerror(number)}")
