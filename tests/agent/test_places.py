"""Who gets the next place: no script's and no author's schedules hold all of them, and whoever has fewest comes first.

Pure but for the loop: who was given a place is known after the turns of the loop that it takes to say so.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from agent import limits
from agent.places import Claim, Places, Share
from protocol.errors import RateError

TURNS = 3  # of the loop, until whoever was called has said so


def scheduled(script: str, author: str = "ann") -> Claim:
    whose = f"schedules of the script {script}"
    return Claim(whose, (Share(whose, 4), Share(f"schedules of scripts by {author}", 6), Share("schedules", 7)))


def by_hand(person: str = "oli") -> Claim:
    return Claim(f"runs of {person}")


class Room:
    """Places, and who has them."""

    def __init__(self, most: int = 8) -> None:
        self.places = Places(most)
        self.have: list[Claim] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, *claims: Claim) -> list[asyncio.Task[None]]:
        """Have runs ask for a place, one after the other."""
        come = []
        for claim in claims:
            come.append(asyncio.create_task(self._take(claim)))
            await self.turn()
        self._tasks += come
        return come

    async def leave(self, claim: Claim) -> None:
        self.have.remove(claim)
        self.places.give_back(claim)
        await self.turn()

    async def turn(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _take(self, claim: Claim) -> None:
        await self.places.take(claim)
        self.have.append(claim)

    def count(self, claim: Claim) -> int:
        return self.have.count(claim)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_the_schedules_of_one_script_have_half_of_the_places() -> None:
    """Also while nobody else wants one: whoever comes then finds a place at once."""
    room = Room()
    await room.come(*[scheduled("greedy")] * 20)
    assert room.count(scheduled("greedy")) == 4
    await room.come(scheduled("other"), by_hand())
    assert room.count(scheduled("other")) == room.count(by_hand()) == 1
    await room.leave(scheduled("greedy"))
    assert room.count(scheduled("greedy")) == 4, "the next of its own"
    await room.close()


async def test_nor_do_those_of_many_scripts_of_one_author_or_of_all_authors() -> None:
    """A script is copied in a moment. One place of eight is for people: with it they can look what is wrong."""
    room = Room()
    await room.come(*[scheduled(f"copy-{number}", "mal") for number in range(20)])
    assert len(room.have) == 6
    await room.come(*[scheduled(f"honest-{number}") for number in range(3)])
    assert len(room.have) == 7
    await room.come(by_hand())
    assert room.count(by_hand()) == 1
    await room.close()


async def test_what_is_started_by_hand_may_have_all_of_them() -> None:
    """There are no shares of people; the next place goes to who has fewest."""
    room = Room()
    await room.come(*[by_hand("oli")] * 9, scheduled("check"), by_hand("eve"), by_hand("oli"))
    assert room.count(by_hand("oli")) == 8
    await room.leave(by_hand("oli"))
    assert room.count(scheduled("check")) == 1
    await room.leave(by_hand("oli"))
    assert room.count(by_hand("eve")) == 1
    await room.leave(by_hand("oli"))
    assert room.count(by_hand("oli")) == 6
    await room.close()


@pytest.mark.parametrize(("most", "script", "author", "together"), [
    (1, 1, 1, 1), (2, 1, 2, 2), (3, 2, 3, 3), (4, 2, 3, 4), (8, 4, 6, 7), (16, 8, 12, 14), (64, 32, 48, 56),
])  # fmt: skip
async def test_however_many_places_there_are(most: int, script: int, author: int, together: int) -> None:
    for claims, count in (
        ([scheduled("one")] * 100, script),
        ([scheduled(f"by-mal-{number}", "mal") for number in range(100)], author),
        ([scheduled(f"of-{number}", f"author-{number}") for number in range(100)], together),
    ):
        room = Room(most)
        await room.come(*claims)
        assert len(room.have) == count
        await room.close()


async def test_those_that_are_equal_are_served_as_they_came() -> None:
    room = Room(1)
    first, second, third = by_hand("a"), by_hand("b"), by_hand("c")
    await room.come(first, second, third)
    await room.leave(first)
    assert room.have == [second]
    await room.leave(second)
    assert room.have == [third]
    await room.close()


async def test_who_waits_in_vain_takes_nothing_with_them() -> None:
    """Cancelled while they wait, or at the moment in which they are called."""
    room = Room(1)
    await room.come(by_hand("a"))
    (patient,) = await room.come(by_hand("b"))
    await room.come(by_hand("c"))
    patient.cancel()
    await room.leave(by_hand("a"))
    assert room.have == [by_hand("c")]
    (called,) = await room.come(by_hand("d"))
    room.have.remove(by_hand("c"))
    room.places.give_back(by_hand("c"))
    called.cancel()  # it has the place, and has not been told yet
    await room.turn()
    assert room.places.free == 1
    (gone,) = await room.come(by_hand("e"))
    assert gone.done()
    (late,) = await room.come(by_hand("f"))
    late.cancel()
    room.have.clear()
    room.places.give_back(by_hand("e"))  # in the very moment, before it has gone
    await room.turn()
    assert room.places.free == 1
    await room.close()


async def test_of_what_may_wait_a_script_may_be_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the runs of all others would be refused."""
    monkeypatch.setattr(limits, "MAX_WAITING_RUNS", 8)
    room = Room()
    await room.come(*[scheduled("greedy")] * 7)
    room.places.check_may_wait(scheduled("greedy"))
    await room.come(scheduled("greedy"))
    with pytest.raises(RateError, match="4 runs for schedules of the script greedy wait on this host already"):
        room.places.check_may_wait(scheduled("greedy"))
    room.places.check_may_wait(scheduled("other", "eve"))
    room.places.check_may_wait(by_hand())
    await room.come(*[scheduled(f"copy-{number}") for number in range(4)])
    with pytest.raises(RateError, match="6 runs for schedules of scripts by ann"):
        room.places.check_may_wait(scheduled("copy"))
    await room.close()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_comes_and_goes_the_books_are_right(seed: int) -> None:
    """No place is lost or given twice, no share exceeded, and none is free for who waits."""
    chance, room = random.Random(seed), Room(8)
    claims = [scheduled("a"), scheduled("b"), scheduled("c", "mal"), scheduled("d", "mal"), by_hand("p"), by_hand("q")]
    for _ in range(200):
        match chance.randrange(3):
            case 0:
                await room.come(chance.choice(claims))
            case 1 if room.have:
                await room.leave(chance.choice(room.have))
            case _ if room._tasks:
                task = chance.choice(room._tasks)
                if not task.done():
                    task.cancel()
                    await room.turn()
        held = Counter(share for claim in room.have for share in claim.shares)
        assert all(count <= share.of_8 for share, count in held.items())
        assert room.places.free == 8 - len(room.have)
        waiting = [each.claim for each in room.places._waiting]
        assert not any(room.places.has_one_for(claim) for claim in waiting)
    for claim in list(room.have):
        await room.leave(claim)
    while room.have:
        await room.leave(room.have[0])
    assert room.places.free == 8
    assert room.places._waiting == []
    await room.close()
