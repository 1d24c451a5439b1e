"""Reconnecting: bounds grow and are capped, draws are spread over the whole bound, a good link starts over."""

from __future__ import annotations

import random

from agent.backoff import Backoff


def test_bounds_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, base_s=1, cap_s=30)
    assert [backoff.after() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_delay_may_be_nothing_at_all() -> None:
    """Full jitter: the draw starts at zero, not at half of the bound."""
    backoff = Backoff(lambda: 0.0)
    assert {backoff.after() for _ in range(5)} == {0.0}


def test_a_link_that_lived_starts_over() -> None:
    backoff = Backoff(lambda: 1.0, base_s=1, cap_s=30, stable_s=5)
    for _ in range(6):
        backoff.after()
    assert backoff.after(connected_s=5) == 1


def test_a_link_that_was_dropped_at_once_does_not_start_over() -> None:
    backoff = Backoff(lambda: 1.0, base_s=1, cap_s=30, stable_s=5)
    assert [backoff.after(connected_s=0.1) for _ in range(3)] == [1, 2, 4]


def test_a_month_of_failures_stays_at_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, cap_s=30)
    assert max(backoff.after() for _ in range(5000)) == 30


def test_a_thousand_agents_are_spread_evenly() -> None:
    """No tenth of the interval gets more than twice its share: the server sees a slope, not a wall."""
    dice = random.Random(7)
    delays = [Backoff(dice.random, base_s=10).after() for _ in range(1000)]
    counts = [sum(1 for delay in delays if tenth <= delay < tenth + 1) for tenth in range(10)]
    assert sum(counts) == 1000
    assert max(counts) < 200
    assert min(counts) > 50


def test_what_will_not_go_away_by_itself_is_met_slowly_at_once() -> None:
    backoff = Backoff(lambda: 1.0, base_s=1.0, cap_s=30.0)
    backoff.slow_down()
    assert backoff.after() == 30.0
    assert backoff.after(connected_s=60.0) == 1.0, "until a link has held"
