"""What a thread has the loop do."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from sandbox.performing import sent_to


async def doing(done: list[int]) -> int:
    done.append(1)
    return 5


async def test_a_thread_gets_what_the_loop_made_of_it() -> None:
    """From another thread, as it is meant."""
    done: list[int] = []
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(lambda: sent_to(loop, doing(done)).result()) == 5
    assert done == [1]


def test_nothing_is_done_and_nothing_left_on_a_loop_that_is_closed() -> None:
    """An agent that ends while a thread is still at a call: the call is not made, as its intent is on no record."""
    done: list[int] = []
    loop = asyncio.new_event_loop()
    loop.close()
    step = doing(done)
    with pytest.raises(RuntimeError, match="closed"):
        sent_to(loop, step)
    assert inspect.getcoroutinestate(step) == inspect.CORO_CLOSED
    assert done == []
