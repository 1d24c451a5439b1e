"""Which of the runs that wait gets the next place. Nobody's schedules may hold them all.

- Fire times of one script hold at most half of the places, those of all scripts of one author three quarters, and all
  of them together leave one of eight free, for what people start by hand. These places stay free also while nobody
  waits for them: a run may last for hours, and nothing takes a place away from one that has begun.
- Of what may wait they may be as large a part, so that nobody else is refused because of them.
- A place that is free goes to whom the fewest runs belong that have one: to a script for its fire times, to a person
  for what they start by hand. Among equals, to who has waited longest.

Shares are rounded up. So with one or two places a script's is one, and nothing is left free for people where there are
fewer than eight.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent import limits
from agent.runs import RunRequest
from protocol.errors import RateError
from protocol.trust import Authorised

_ALL: Final = "schedules"


class Share(NamedTuple):
    """Somebody of whose runs only so many may have a place."""

    whose: str
    of_8: int  # places, of each eight there are; at least one


class Claim(NamedTuple):
    """For whom a run takes a place."""

    whose: str  # for the order
    shares: tuple[Share, ...] = ()  # that it counts among


class _Waiting(NamedTuple):
    claim: Claim
    called: asyncio.Future[None]  # done when it has its place


def claim_of(request: RunRequest, proved: Authorised) -> Claim:
    """Return for whom a run would take a place."""
    if request.fire is None:
        return Claim(f"runs of {request.principal}")
    script = f"schedules of the script {proved.name}"
    shares = (Share(script, 4), Share(f"schedules of scripts by {proved.author_key_id}", 6), Share(_ALL, 7))
    return Claim(script, shares)


class Places:
    """The places of one agent.

    Args:
        most: How many there are, 1 or more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._held: Counter[str] = Counter()  # by whom, as claims name them; a share that is a claim's own counts once
        self._waiting: list[_Waiting] = []  # those who came first are first

    @property
    def free(self) -> int:
        """How many nobody has; not all of them are for everybody."""
        return self._most - self._taken

    def has_one_for(self, claim: Claim) -> bool:
        """Tell whether there is one right now. Whoever waits meanwhile may not have it, or would have it already."""
        if self._taken >= self._most:
            return False
        return all(self._held[share.whose] < _part(self._most, share.of_8) for share in claim.shares)

    def check_may_wait(self, claim: Claim) -> None:
        """Return if one more may wait for this.

        Raises:
            RateError: Too many of the same wait.
        """
        if not self._waiting:
            return
        for share in claim.shares:
            most = _part(limits.MAX_WAITING_RUNS, share.of_8)
            if sum(share in each.claim.shares for each in self._waiting) >= most:
                raise RateError(f"{most} runs for {share.whose} wait on this host already")

    async def take(self, claim: Claim) -> None:
        """Take a place, and wait for one if need be; to be given back.

        Cancellation:
            Safe: nothing is taken.
        """
        if self.has_one_for(claim):
            self._give(claim)
            return
        waiting = _Waiting(claim, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            await waiting.called
        except asyncio.CancelledError:
            if waiting.called.cancelled():
                self._waiting.remove(waiting)
            else:  # it was called at the same moment
                self.give_back(claim)
            raise

    def give_back(self, claim: Claim) -> None:
        """Give a place back, and so to the next."""
        self._taken -= 1
        for whose in _counted(claim):
            self._held[whose] -= 1
            if not self._held[whose]:
                del self._held[whose]
        while self._waiting and (waiting := self._next()) is not None:
            self._waiting.remove(waiting)
            self._give(waiting.claim)
            waiting.called.set_result(None)

    def _next(self) -> _Waiting | None:
        ready = [each for each in self._waiting if not each.called.done() and self.has_one_for(each.claim)]
        return min(ready, key=lambda each: self._held[each.claim.whose], default=None)  # the first of equals

    def _give(self, claim: Claim) -> None:
        self._taken += 1
        for whose in _counted(claim):
            self._held[whose] += 1


def _part(most: int, of_8: int) -> int:
    return most - most * (8 - of_8) // 8


def _counted(claim: Claim) -> Iterator[str]:
    yield claim.whose
    for share in claim.shares:
        if share.whose != claim.whose:
            yield share.whose
