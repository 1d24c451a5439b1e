"""Who may wait before their first word: so many of one and in all, and who floods drives out nobody but themselves."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import DeadlineError, OutriderError, UnavailableError
from server.waiting import Waiting


class Peer:
    """One that waits, and has not said anything."""

    def __init__(
        self, waiting: Waiting, whose: str, *, most: int = 5, of_one: int = 3, timeout_s: float = 60.0
    ) -> None:
        self.said = asyncio.Event()
        self.task = asyncio.create_task(self._wait(waiting, whose, most, of_one))

    async def _wait(self, waiting: Waiting, whose: str, most: int, of_one: int) -> str:
        try:
            async with waiting.hold(whose, 60.0, "no word", most=most, most_of_one=of_one):
                await self.said.wait()
        except OutriderError as error:
            return error.code
        return "said"


async def come(waiting: Waiting, *whose: str, **more: int) -> list[Peer]:
    made = []
    for each in whose:
        made.append(Peer(waiting, each, **more))
        for _ in range(5):  # turns of the loop: until it waits, and whoever makes way has gone
            await asyncio.sleep(0)
    return made


def ended(*peers: Peer) -> list[bool]:
    return [peer.task.done() for peer in peers]


async def test_of_one_the_oldest_goes_and_others_are_left_alone() -> None:
    waiting = Waiting()
    (other,) = await come(waiting, "b")
    peers = await come(waiting, *"aaaaa")
    assert ended(other, *peers) == [False, True, True, False, False, False]
    assert await peers[0].task == UnavailableError.code
    assert len(waiting) == 4


async def test_of_all_the_oldest_of_whoever_has_most_goes() -> None:
    """A flood from one place was the end of an agent's first two round trips."""
    waiting = Waiting()
    (honest,) = await come(waiting, "h", of_one=5)
    peers = await come(waiting, *"aaaaaaaaaaaa", of_one=5)
    assert ended(honest, *peers) == [False, *[True] * 8, *[False] * 4]
    honest.said.set()
    assert await honest.task == "said"
    assert len(waiting) == 4


async def test_from_many_places_the_oldest_of_all_goes() -> None:
    waiting = Waiting()
    peers = await come(waiting, *"abcdefg")
    assert ended(*peers) == [True, True, False, False, False, False, False]


async def test_who_says_something_makes_room() -> None:
    waiting = Waiting()
    peers = await come(waiting, *"aaa")
    peers[0].said.set()
    assert await peers[0].task == "said"
    peers += await come(waiting, "a")
    assert ended(*peers[1:]) == [False, False, False]
    for peer in peers[1:]:
        peer.task.cancel()
    await asyncio.gather(*(peer.task for peer in peers), return_exceptions=True)
    assert len(waiting) == 0
    assert waiting._of == {}


async def test_who_says_nothing_is_told_so() -> None:
    waiting = Waiting()
    with pytest.raises(DeadlineError, match=r"no word in 0\.01 s"):
        async with waiting.hold("a", 0.01, "no word", most=1, most_of_one=1):
            await asyncio.Event().wait()
    assert len(waiting) == 0
