"""Coroutines that are begun outside their task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sandbox.inline import Suspended, begin


async def in_callback(coroutine: Any) -> Any:
    """Begin in a callback of the loop and go on in this task, as a run does."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    came: asyncio.Future[Any] = loop.create_future()
    assert task is not None

    def callback() -> None:
        try:
            came.set_result(begin(task, coroutine))
        except Exception as error:  # noqa: BLE001 - handed to the test
            came.set_exception(error)

    loop.call_soon(callback)
    return await came


async def test_what_does_not_wait_is_done_at_once() -> None:
    """No turn of the loop, no task."""

    async def work() -> int:
        return 5

    assert await in_callback(work()) == (5,)


async def test_an_error_comes_at_once_as_well() -> None:
    """As from any function."""

    async def work() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_callback(work())


async def test_what_waits_is_resumed_to_its_end() -> None:
    """Futures, turns of the loop, errors in between."""
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    suspended = await in_callback(work())
    assert isinstance(suspended, Suspended)
    gate.set()
    assert await suspended.resume() == "in time"


async def test_a_time_limit_of_the_first_step_holds() -> None:
    """It needs a current task, which is the one that goes on."""

    async def work() -> str:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
        return "never"

    suspended = await in_callback(work())
    with pytest.raises(TimeoutError):
        await suspended.resume()


async def test_a_cancellation_reaches_what_was_begun() -> None:
    """As if it had been in the task from the start."""
    told = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def all_of_it() -> None:
        await (await in_callback(work())).resume()

    task = asyncio.create_task(all_of_it())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled"]


async def test_what_nobody_resumes_is_told() -> None:
    """So that a call that was cut short is recorded."""
    told = []

    async def work(waits_again: bool) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("end")
            if waits_again:
                await asyncio.sleep(0)

    for waits_again in (False, True):
        (await in_callback(work(waits_again))).abandon()
    assert told == ["end", "end"]


async def test_what_its_task_is_told_before_it_goes_on_it_is_told() -> None:
    """What it waits for is given up as well, where that is something: all as if it had been in the task."""
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    done: asyncio.Future[None] = loop.create_future()

    async def work(waited_for: asyncio.Future[None] | None) -> str:
        try:
            await (asyncio.sleep(0) if waited_for is None else waited_for)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "told"
        return "not told"

    for waited_for in (never, done, None):
        suspended = await in_callback(work(waited_for))
        if waited_for is done:
            done.set_result(None)
        suspended.interrupt(asyncio.CancelledError())
        assert await suspended.resume() == "told"
    assert never.cancelled()
