"""When what is old may be forgotten: never because of a clock that is wrong for a while."""

from __future__ import annotations

from datetime import timedelta

import pytest
from premises import MovedClock

from agent import limits
from agent.clock import to_datetime
from agent.steadiness import Steadiness


def step(clock: MovedClock, seconds: float) -> None:
    clock.set(to_datetime(clock.time_us()) + timedelta(seconds=seconds))


def test_a_clock_that_goes_on_is_believed_after_a_while() -> None:
    """Not at once: after a start without a battery it is right only when somebody has told it the time."""
    clock = MovedClock()
    steadiness = Steadiness(clock)
    assert not steadiness.is_steady()
    clock.move(limits.STEADY_S - 1)
    assert not steadiness.is_steady()
    clock.move(1)
    assert steadiness.is_steady()


@pytest.mark.parametrize("days", [1, -1, 40, -40, 9000])
def test_a_step_in_either_direction_begins_the_while_anew(days: int) -> None:
    clock = MovedClock()
    steadiness = Steadiness(clock)
    clock.move(2 * limits.STEADY_S)
    assert steadiness.is_steady()
    step(clock, days * 86_400)
    assert not steadiness.is_steady()
    clock.move(60)
    step(clock, -days * 86_400)
    assert not steadiness.is_steady(), "back again, which is a step too"
    clock.move(limits.STEADY_S)
    assert steadiness.is_steady()


def test_small_corrections_are_none() -> None:
    """A time server sets a clock by seconds all day long."""
    clock = MovedClock()
    steadiness = Steadiness(clock)
    for _ in range(200):
        clock.move(limits.HOUSEKEEPING_S)
        step(clock, limits.MAX_STEADY_STEP_S / 2)
        steadiness.is_steady()
    assert steadiness.is_steady()
