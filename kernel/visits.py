"""Threads for what may block: made when they are needed, and a program that ends waits a while for them, not for ever.

What blocks for good, such as a look at a file system whose server is gone, keeps its thread for good. So there may be
many more of them than asyncio's own executor has (6 on a host with 2 processors); only when ``MAX_THREADS`` are busy
does the next visit wait for one. The thread that was free last is taken first. Handing over takes a third of the time
that the executor's does.

Used from the event loop's thread; several loops may use it, one after the other.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

MAX_THREADS: Final = 64  # of this process; each takes some 100 KB. Chosen without measurement
KEPT_THREADS: Final = 4  # that are free; others end
END_GRACE_S: Final = 10.0  # for what is under way when the program ends, such as a change of a file

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Place = SimpleQueue["_Visit"]
_Settling = tuple[Callable[["asyncio.Future[Any]", Any], None], "asyncio.Future[Any]", Any]


class _Bell:
    """Has one loop settle what threads came to.

    A loop's own way (``call_soon_threadsafe``) sends a byte through a pair of sockets and receives until there is none
    left, and makes a handle and a context for each; this is a number in the kernel that is set and read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._came: deque[_Settling] = deque()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # owned
        loop.add_reader(self._fd, self._settle)

    def ring(self, settling: _Settling) -> None:
        """Have the loop settle this. From any thread, and also when the loop is closed: then nobody waits any more."""
        self._came.append(settling)
        os.eventfd_write(self._fd, 1)

    def _settle(self) -> None:
        os.eventfd_read(self._fd)  # first: what comes from now on rings again
        while self._came:
            settle, future, came = self._came.popleft()
            settle(future, came)

    def __del__(self) -> None:  # when neither its loop nor a thread has it any more
        os.close(self._fd)


_Visit = tuple[_Bell, "asyncio.Future[Any]", Callable[[], Any]]


class Visits:
    """Threads that carry out one visit at a time each.

    Args:
        max_threads: At most; the next visit waits until one is free.
        kept_threads: That stay when they are free.
    """

    def __init__(self, max_threads: int = MAX_THREADS, kept_threads: int = KEPT_THREADS) -> None:
        self._max_threads = max_threads
        self._kept_threads = kept_threads
        self._lock = threading.Lock()  # of what follows
        self._all_free = threading.Condition(self._lock)
        self._free: list[_Place] = []  # where each free thread waits; the newest last
        self._waiting: deque[_Visit] = deque()
        self._is_awaited = False  # somebody waits until all are free
        self.threads = 0  # busy or free
        self._bell: _Bell | None = None  # of the newest loop

    def begin(self, function: Callable[[], _T]) -> asyncio.Future[_T]:
        """Call ``function`` on a thread, and return what will have its value or its error.

        Cancellation:
            Of the future: the thread goes on to its end, and what came of it is dropped.

        Raises:
            RuntimeError: The system has no thread to give.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        bell = self._bell
        if bell is None or bell.loop is not loop:
            bell = self._bell = _Bell(loop)
        visit = (bell, future, function)
        with self._lock:
            if self._free:
                self._free.pop().put(visit)
            elif self.threads < self._max_threads:
                place: _Place = SimpleQueue()
                place.put(visit)
                threading.Thread(target=self._live, args=(place,), name="visit", daemon=True).start()
                self.threads += 1
            else:
                self._waiting.append(visit)
        return future

    def _live(self, place: _Place) -> None:
        goes_on = True
        while goes_on:
            bell, future, function = place.get()
            settling: _Settling
            try:
                settling = (_succeed, future, function())
            except BaseException as error:  # noqa: BLE001 - whatever it is, who waits is told
                settling = (_fail, future, error)
            goes_on = self._goes_on(place)  # before who waits is told: the next visit may then be on this very thread
            bell.ring(settling)
            del bell, future, function, settling  # so that nothing lives on while there is nothing to do

    def _goes_on(self, place: _Place) -> bool:
        """Give the thread of ``place`` what waits, or let it be free; tell whether it is needed any more."""
        with self._lock:
            while self._waiting:
                visit = self._waiting.popleft()
                if not visit[1].cancelled():
                    place.put(visit)
                    return True
            is_kept = len(self._free) < self._kept_threads
            if is_kept:
                self._free.append(place)
            else:
                self.threads -= 1
            if self._is_awaited and self.threads == len(self._free):
                self._all_free.notify_all()
            return is_kept

    def wait(self, timeout_s: float) -> bool:
        """Wait until no thread is busy, at most so many seconds; tell whether that is so. Not on the loop's thread."""
        with self._all_free:
            self._is_awaited = True
            return self._all_free.wait_for(lambda: self.threads == len(self._free), timeout_s)


def _succeed(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        if isinstance(error, StopIteration):  # which no future takes
            error = RuntimeError(f"a visit raised {error!r}")
        future.set_exception(error)


VISITS: Final = Visits()


def begun_apart(function: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> asyncio.Future[_T]:
    """Call ``function`` on a thread of ``VISITS``; as :meth:`Visits.begin`.

    In place of ``asyncio.to_thread`` for what may wait for a disk, another machine or another program: that has a
    handful of threads, which what never comes back takes from everything else, and whose end is waited for without end.
    """
    return VISITS.begin(partial(function, *args, **named))


atexit.register(VISITS.wait, END_GRACE_S)
