"""What a gate holds for its one run: streams and other things that a call gave and later calls use.

Numbers count up from 1 and mean nothing in another run. All of it is closed at the run's end, also what a thread was
still about to give when the run ended.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from protocol.errors import ArgumentError, DeadlineError, InternalError, OutriderError
from sandbox.pump import Pump
from sandbox.runtimes import STREAM

CLOSE_TIMEOUT_S: Final = 5.0  # a source that is busy for longer is closed behind the back of the run's end

_T = TypeVar("_T")
_log = logging.getLogger("outrider.sandbox.gate")
_closing: set[asyncio.Future[Any]] = set()  # strong references: the loop keeps only weak ones


class Resource(Protocol):
    """Something that a call gives and later calls use, such as an open file."""

    @property
    def kind(self) -> str:
        """The family of its methods."""

    def fields(self) -> dict[str, Any]:
        """Return what scripts see of it, plain and fixed."""

    def close(self) -> Any:
        """Give it back; must not block, or returns an awaitable. Called once."""


async def awaited_for_a_while(work: Awaitable[_T]) -> asyncio.Future[_T]:
    """Wait until what ends with a run is done, at most ``CLOSE_TIMEOUT_S``, and return it, done or not.

    Cancellation:
        Goes on behind it.
    """
    future = asyncio.ensure_future(work)
    _closing.add(future)
    future.add_done_callback(_closing.discard)
    await asyncio.wait([future], timeout=CLOSE_TIMEOUT_S)
    return future


@dataclass(slots=True)
class Held:
    """One thing that is held."""

    call: str  # that gave it
    thing: Pump | Resource
    targets: ExitStack  # the contexts that its call opened
    budget: tuple[str, ...]  # what it holds of the run's budget
    started_ns: int
    number: int = 0  # once it is held
    size_bytes: int = 0  # that a stream gave
    items: int = 0

    @property
    def kind(self) -> str:
        """``stream``, or the family of its methods."""
        return STREAM if isinstance(self.thing, Pump) else self.thing.kind

    def summary(self) -> dict[str, Any]:
        """Return what more the record of its end tells, if it has something to tell."""
        tell = getattr(self.thing, "summary", None)
        return {} if tell is None or isinstance(self.thing, Pump) else dict(tell())

    async def close(self) -> str:
        """Close it and what its call opened. Errors are logged, and are for the record: the worker asks for no answer.

        Returns:
            Nothing if it is closed; else the code of what went wrong, that of a deadline if it still is being closed.

        Cancellation:
            Goes on behind it.
        """
        closing = await awaited_for_a_while(self._close())
        return closing.result() if closing.done() else DeadlineError.code

    async def _close(self) -> str:
        try:
            closing = self.thing.close()
            if inspect.isawaitable(closing):
                await closing
        except Exception as error:  # noqa: BLE001 - it is closed either way; the log has all of it, the record the code
            _log.exception("%s that %s gave could not be closed", self.kind, self.call)
            return error.code if isinstance(error, OutriderError) else InternalError.code
        finally:
            self.targets.close()
        return ""


class Holder:
    """The things of one run. Adding is safe from any thread."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._newest = 0
        self.is_closed = False  # the run has ended
        self._lock = threading.Lock()

    def add(self, held: Held) -> None:
        """Hold it, under a number of its own.

        Raises:
            DeadlineError: The run has ended; it is not held, and to be closed.
        """
        with self._lock:
            if self.is_closed:
                raise DeadlineError(f"{held.call} was cut short")
            self._newest += 1
            held.number = self._newest
            self._held[held.number] = held

    def find(self, number: int) -> Held | None:
        """Return what has that number; None if nothing has, or has no more."""
        return self._held.get(number)

    def thing(self, number: int, kind: str, parameter: str) -> Any:
        """Return the thing of that number for a call.

        Raises:
            ArgumentError: This run holds none of that number and kind; names ``parameter``.
        """
        held = self._held.get(number)
        if held is None or held.kind != kind:
            raise ArgumentError(f"{parameter}: is no {kind} of this run that is still open", parameter=parameter)
        return held.thing

    def drop(self, held: Held) -> None:
        """Forget it; closing it is the caller's."""
        self._held.pop(held.number, None)

    def shut(self) -> list[Held]:
        """Take nothing more, and return what is to be closed, newest first."""
        with self._lock:
            self.is_closed = True
            rest = list(self._held.values())[::-1]
            self._held.clear()
        return rest
