"""What a program prints without end, read on a thread: the event loop hands one piece on while the next is read.

A terminal of the kernel holds some 12 KiB, so a program that prints waits whenever nobody reads. The loop cannot read
while it sends what it read; a thread can, and :mod:`kernel.streams` has it need the interpreter's lock once a piece.

The thread reads as long as there is something, and room for it. There are ``MAX_FLOODS`` of them in a process; what
else prints without end is read on the loop, as all is that does not.
"""

from __future__ import annotations

import asyncio
import errno
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from kernel.streams import Came, Stream
from kernel.visits import Visits

PIECE_BYTES: Final = 120 << 10  # read at once; a message of a terminal takes as much
MAX_FLOODS: Final = 2  # read at a time: more threads would wait for each other
GATHER_MS: Final = 1  # that a piece of less than half waits for more
LINGER_MS: Final = 2  # that the thread waits for more before it leaves the rest to the loop

_PLACES: Final = threading.BoundedSemaphore(MAX_FLOODS)
_THREADS: Final = Visits(MAX_FLOODS, MAX_FLOODS, waits_for_system=False)  # so that a place is a thread, at once


class Flood:
    """What one descriptor gives, on a thread while that lasts. Used from the loop's thread.

    Args:
        descriptor: Does not block; stays the caller's, who reads it only while nothing is read here.
        come: Is handed what was read, in order, on the loop; returns how many bytes are taken next. An error is one of
            reading; that there is nothing more for now is none.
        over: Called on the loop when nothing is read here any more, but after :meth:`stop`; with whether there was
            nothing more.
    """

    def __init__(self, descriptor: int, come: Callable[[Came], int], over: Callable[[bool], None]) -> None:
        self._descriptor = descriptor
        self.come = come
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # of what follows, but for is_reading
        self._most = 0  # bytes that are taken, those included that were read and not taken yet
        self._waiting: deque[Came] = deque()  # read, and not handed over
        self._untaken_bytes = 0  # of these, and of what is being handed over
        self._is_stopped = False
        self._has_ended = threading.Event()  # the thread, and its descriptor is closed
        self.is_reading = False  # from begin until over, or stop

    def begin(self, most: int) -> bool:
        """Read on a thread from now on; return whether there is one.

        Args:
            most: Bytes that are taken now, at least 1.
        """
        if not _PLACES.acquire(blocking=False):
            return False
        try:
            stream = Stream(self._descriptor, PIECE_BYTES)
        except OSError:  # no descriptor is left for it: the loop needs none
            _PLACES.release()
            return False
        self._most, self.is_reading = most, True
        self._has_ended.clear()
        try:
            _THREADS.begin(partial(self._read, stream), accounts=())
        except RuntimeError:  # the system has no thread to give: the loop needs none
            self.is_reading = False  # or who stops it would wait for one without end
            stream.close()
            _PLACES.release()
            return False
        return True

    def go_on(self, most: int) -> None:
        """Take up to ``most`` bytes more than were taken."""
        with self._lock:
            self._most = max(self._most, most)

    def stop(self) -> list[Came]:
        """Read nothing more, ever; wait for the thread, no longer than for one piece; return what was not taken."""
        with self._lock:
            self._is_stopped = True
        if self.is_reading:
            self.is_reading = False
            self._has_ended.wait()
        left, self._waiting = list(self._waiting), deque()
        return left

    # on the thread ---------------------------------------------------------------------------------------------------

    def _read(self, stream: Stream) -> None:
        is_dry = True
        try:
            is_dry = self._read_on(stream)
        except MemoryError:
            self._give(Came(b"", False, errno.ENOMEM))
        finally:
            stream.close()
            _PLACES.release()
            self._has_ended.set()
            self._call(partial(self._ended, is_dry))

    def _read_on(self, stream: Stream) -> bool:
        """Read what there is and may be; return whether there was nothing more."""
        more = select.poll()
        more.register(self._descriptor, select.POLLIN)
        held = b""  # read, and more is waited for
        while (room := min(PIECE_BYTES, self._room()) - len(held)) > 0:
            came = stream.read(room)
            held, is_empty = held + came.data if held else came.data, came.error == errno.EAGAIN
            if is_empty and len(held) < PIECE_BYTES // 2 and more.poll(GATHER_MS):
                continue
            self._give(Came(held, came.is_at_end, 0 if is_empty else came.error))
            held = b""
            if came.is_at_end or (came.error and (not is_empty or not more.poll(LINGER_MS))):
                return True
        if held:
            self._give(Came(held, False, 0))
        return False

    def _room(self) -> int:
        with self._lock:
            return 0 if self._is_stopped else self._most - self._untaken_bytes

    def _give(self, came: Came) -> None:
        if not (came.data or came.is_at_end or came.error):
            return
        with self._lock:
            is_first = not self._waiting
            self._waiting.append(came)
            self._untaken_bytes += len(came.data)
        if is_first:
            self._call(self._hand_over)

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed; nobody is there to take anything
            self._loop.call_soon_threadsafe(function)

    # on the loop -----------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Hand over one piece; the next in a turn of its own, as others wait for theirs."""
        with self._lock:
            if self._is_stopped or not self._waiting:
                return
            came = self._waiting.popleft()
        most = self.come(came)
        with self._lock:
            self._untaken_bytes -= len(came.data)
            self._most = most
            is_more = bool(self._waiting)
        if is_more:
            self._loop.call_soon(self._hand_over)

    def _ended(self, is_dry: bool) -> None:
        """The thread is done: say so once all that it read was handed over."""
        if self._is_stopped:
            return
        if self._waiting:
            self._loop.call_soon(self._ended, is_dry)
            return
        self.is_reading = False
        self._over(is_dry)
