"""Starts a coroutine outside its task, and lets the task go on with it only if it has to wait.

Most calls finish without waiting for anything. Driven from the callback that received them, they are answered one turn
of the loop earlier than a task could. While it is driven here, the coroutine sees the task that would go on with it as
the current one, so that time limits of asyncio work as ever.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_enter_task, _leave_task = asyncio.tasks._enter_task, asyncio.tasks._leave_task


class Suspended(Generic[_T]):
    """A coroutine that waits for something.

    Args:
        coroutine: Started, not finished.
        waits_for: What it yielded: a future, or None for one turn of the loop.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, _T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._told: BaseException | None = None  # before it was resumed

    def interrupt(self, error: asyncio.CancelledError) -> None:
        """Have it told what its task was told before it could be resumed, such as by a time limit of its first step."""
        self._told = error

    @types.coroutine
    def resume(self) -> Generator[Any, Any, _T]:
        """Await the rest of it, in the task that was named when it was begun."""
        waits_for, told, sent = self._waits_for, self._told, None
        if told is not None and waits_for is not None and waits_for.cancel():
            told = None  # it is told by what it waits for, when that has come to its end, as a task's would be
        while True:
            if told is None:
                try:
                    sent = yield waits_for
                except BaseException as error:  # noqa: BLE001 - whatever the task is told, the coroutine is told
                    told = error
            try:
                waits_for = self._coroutine.send(sent) if told is None else self._coroutine.throw(told)
            except StopIteration as stop:
                value: _T = stop.value
                return value
            told = None

    def abandon(self) -> None:
        """Tell it that it is cancelled, as nobody will resume it."""
        try:
            self._coroutine.throw(asyncio.CancelledError())
        except (asyncio.CancelledError, StopIteration):
            return
        self._coroutine.close()  # it wants to wait for something in its cleanup; nobody can


def begin(task: asyncio.Task[Any], coroutine: Coroutine[Any, Any, _T]) -> tuple[_T] | Suspended[_T]:
    """Drive ``coroutine`` as far as it goes without waiting. Called from a callback of the loop, never from a task.

    Args:
        task: Who goes on with it if it has to wait.
        coroutine: Not started.

    Returns:
        Its value in a tuple of one, or what is to be resumed.

    Raises:
        Exception: What the coroutine raised.
    """
    loop = task.get_loop()
    _enter_task(loop, task)
    try:
        return Suspended(coroutine, coroutine.send(None))
    except StopIteration as stop:
        return (stop.value,)
    finally:
        _leave_task(loop, task)
