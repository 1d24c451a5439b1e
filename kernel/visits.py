"""Threads for what may block: made when they are needed, and a program that ends waits a while for them, not for ever.

What blocks for good, such as a look at a file system whose server is gone, keeps its thread for good. So there may be
many more of them than asyncio's own executor has (6 on a host with 2 processors); only when ``MAX_THREADS`` are busy
does the next visit wait for one. The thread that was free last is taken first. Handing over and back takes less than
half of the time that the executor's does.

What is begun on somebody's account (:func:`count_for`) has at most so many threads at once as that account may have,
and waits for one of these beyond that, also where others are free. So who visits what never answers, again and again,
holds up nobody else.

Used from the event loop's thread; several loops may use it, one after the other.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
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
        Context().run(
            loop.add_reader, self._fd, self._settle
        )  # not in that of whoever came first, nor on their account

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


class Account:
    """Of somebody for whom there are visits, such as one run, or all runs of one script.

    Args:
        name: Whose, as it is told to people.
        most: Threads at once, 1 to ``MAX_THREADS``.
    """

    __slots__ = ("__weakref__", "full_since_s", "held", "most", "name")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.held = 0  # threads; changed under the lock of ``Visits``
        self.full_since_s: float | None = None  # on the monotonic clock; None while there is room

    def take(self) -> None:
        """One more thread is in a visit."""
        self.held += 1
        if self.held == self.most:
            self.full_since_s = time.monotonic()

    def give_back(self) -> None:
        """One of them has come back."""
        self.held -= 1
        self.full_since_s = None


_accounts: ContextVar[tuple[Account, ...]] = ContextVar("accounts", default=())


def count_for(*accounts: Account) -> None:
    """Have what is begun from now on, in this task and in all that comes of it, count for each of ``accounts``.

    Where that was said before it stays as it is: what is begun inside of a run is begun for that run.
    """
    if not _accounts.get():
        _accounts.set(accounts)


def accounts() -> tuple[Account, ...]:
    """Return for whom this task begins visits; nobody if that was not said."""
    return _accounts.get()


def stuck(longer_than_s: float) -> Account | None:
    """Return the account for which this task begins visits if it has been full for so many seconds; else None."""
    for account in _accounts.get():
        since_s = account.full_since_s
        if since_s is not None and time.monotonic() - since_s > longer_than_s:
            return account
    return None


_Visit = tuple[_Bell, "asyncio.Future[Any]", Callable[[], Any], tuple[Account, ...]]


class Visits:
    """Threads that carry out one visit at a time each.

    Args:
        max_threads: At most; the next visit waits until one is free.
        kept_threads: That stay when they are free.
        waits_for_system: Whether a visit waits as well where the system has no thread to give, as when a command has
            taken all processes that there may be; if there is one that it can wait for.
    """

    def __init__(
        self, max_threads: int = MAX_THREADS, kept_threads: int = KEPT_THREADS, *, waits_for_system: bool = True
    ) -> None:
        self._max_threads = max_threads
        self._kept_threads = kept_threads
        self._waits_for_system = waits_for_system
        self._lock = threading.Lock()  # of what follows
        self._all_free = threading.Condition(self._lock)
        self._free: list[_Place] = []  # where each free thread waits; the newest last
        self._waiting: deque[_Visit] = deque()
        self._is_awaited = False  # somebody waits until all are free
        self.threads = 0  # busy or free
        self._bell: _Bell | None = None  # of the newest loop

    def begin(self, function: Callable[[], _T], accounts: tuple[Account, ...] | None = None) -> asyncio.Future[_T]:
        """Call ``function`` on a thread, and return what will have its value or its error.

        Args:
            function: What to do.
            accounts: For whom, of these threads; None: for whom this task begins visits.

        Cancellation:
            Of the future: the thread goes on to its end, and what came of it is dropped.

        Raises:
            RuntimeError: The system has no thread to give, and none is waited for.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        bell = self._bell
        if bell is None or bell.loop is not loop:
            bell = self._bell = _Bell(loop)
        if accounts is None:
            accounts = _accounts.get()
        visit = (bell, future, function, accounts)
        with self._lock:
            if accounts and not _has_room(accounts):
                self._waiting.append(visit)
            elif self._free:
                _take(accounts)
                self._free.pop().put(visit)
            elif self.threads >= self._max_threads or not self._has_begun(visit):
                self._waiting.append(visit)
        return future

    def _has_begun(self, visit: _Visit) -> bool:
        """Begin it on a thread of its own, under the lock; False if it is to wait for one; raises as :meth:`begin`."""
        place: _Place = SimpleQueue()
        place.put(visit)
        try:
            threading.Thread(target=self._live, args=(place,), name="visit", daemon=True).start()
        except RuntimeError:
            if self._waits_for_system and self.threads:
                return False
            raise
        self.threads += 1
        _take(visit[3])
        return True

    def _live(self, place: _Place) -> None:
        goes_on = True
        while goes_on:
            bell, future, function, accounts = place.get()
            settling: _Settling
            try:
                settling = (_succeed, future, function())
            except BaseException as error:  # noqa: BLE001 - whatever it is, who waits is told
                settling = (_fail, future, error)
            goes_on = self._goes_on(place, accounts)  # before who waits is told: the next may be on this very thread
            bell.ring(settling)
            del bell, future, function, accounts, settling  # so that nothing lives on while there is nothing to do

    def _goes_on(self, place: _Place, accounts: tuple[Account, ...]) -> bool:
        """Give the thread of ``place`` what waits, or let it be free; tell whether it is needed any more."""
        with self._lock:
            for account in accounts:
                account.give_back()
            visit = self._next() if self._waiting else None
            if visit is not None:
                _take(visit[3])
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

    def _next(self) -> _Visit | None:
        """Take the oldest visit that waits and may begin now. One thread has come back, so there is at most one that
        only now may: the account of a run lies within that of its script.
        """
        passed_over: list[_Visit] = []
        found: _Visit | None = None
        while self._waiting and found is None:
            visit = self._waiting.popleft()
            if visit[1].cancelled():
                continue
            if _has_room(visit[3]):
                found = visit
            else:
                passed_over.append(visit)
        self._waiting.extendleft(reversed(passed_over))
        return found

    def wait(self, timeout_s: float) -> bool:
        """Wait until no thread is busy, at most so many seconds; tell whether that is so. Not on the loop's thread."""
        with self._all_free:
            self._is_awaited = True
            return self._all_free.wait_for(lambda: self.threads == len(self._free), timeout_s)


def _has_room(accounts: tuple[Account, ...]) -> bool:
    for account in accounts:  # noqa: SIM110 - a generator takes three times as long, for each visit
        if account.held >= account.most:
            return False
    return True


def _take(accounts: tuple[Account, ...]) -> None:
    for account in accounts:
        account.take()


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
