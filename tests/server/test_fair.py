"""Somebody who searches much waits for themselves, and nobody else does."""

from __future__ import annotations

import asyncio

import pytest
from headquarters import Headquarters

from server.fair import Fair

DEADLINE_S = 60.0


async def test_so_many_of_one_at_once_and_in_the_order_in_which_they_came() -> None:
    fair, order, go_on = Fair(lambda: 2), [], asyncio.Event()

    async def look(whose: str, name: str) -> None:
        async with fair.turn(whose):
            order.append(name)
            await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        for name in ("1", "2", "3", "4"):
            tasks.create_task(look("mallory", name))
        tasks.create_task(look("ann", "a"))
        async with asyncio.timeout(DEADLINE_S):
            while len(order) < 3:
                await asyncio.sleep(0)
        assert order == ["1", "2", "a"]
        go_on.set()
    assert order == ["1", "2", "a", "3", "4"]
    assert len(fair) == 0


async def test_who_goes_away_while_waiting_takes_no_turn() -> None:
    fair = Fair(lambda: 1)

    async def look() -> None:
        async with fair.turn("mallory"):
            pytest.fail("it is not its turn")

    async with fair.turn("mallory"):
        waiting = asyncio.create_task(look())
        await asyncio.wait([waiting], timeout=0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with fair.turn("mallory"):
        assert len(fair) == 1
    assert len(fair) == 0


@pytest.mark.parametrize("path", ["/records", "/runs"])
async def test_a_list_of_one_waits_for_their_others(server: Headquarters, path: str) -> None:
    async with server.core.looks.turn("auditor"), server.core.looks.turn("auditor"):
        third = asyncio.create_task(server.ask("GET", path, role="auditor"))
        assert (await server.ask("GET", path, role="admin")).status_code == 200
        assert not third.done()
    assert (await third).status_code == 200
