"""Iterators over time."""

from __future__ import annotations

import pytest
from running import perform, run

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.host import Host


class Clock:
    """A clock on which each look takes as long as the test says."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 100.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


async def test_beats_that_pass_while_the_script_is_busy_are_left_out() -> None:
    """A script that is slower than its beat must not be driven without a pause for ever after."""
    beats = await perform("time.every", 0.01, 3, host=Host(monotonic=Clock(0.02)))
    assert beats == sorted(set(beats))
    assert len(beats) == 3
    assert beats[-1] > 3


async def test_an_even_beat_counts_on() -> None:
    assert await perform("time.every", 0.01, 3, host=Host(monotonic=Clock(0.0))) == [1, 2, 3]


async def test_after_gives_one_thing() -> None:
    (waited,) = await perform("time.after", 0.01)
    assert waited >= 0.009


@pytest.mark.parametrize("wrong", [0, 0.001, -1, float("nan"), "1"])
async def test_a_beat_has_a_shortest_length(wrong: object) -> None:
    with pytest.raises(ArgumentError):
        await perform("time.every", wrong)


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("lua", "local n = 0 for beat in time.every(0.01) do n = n + 1 if n == 3 then break end end return n"),
        ("python", "n = 0\nfor beat in time.every(0.01):\n    n += 1\n    if n == 3:\n        break\nresult = n"),
    ],
)
async def test_a_script_may_leave_a_beat_that_has_no_end(sandbox: Sandbox, language: str, source: str) -> None:
    outcome = await run(sandbox, language, source, Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", 3), outcome.reason
