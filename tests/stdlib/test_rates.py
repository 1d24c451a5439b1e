"""What two readings of a counter may claim; the cases in which they must claim nothing."""

from __future__ import annotations

import pytest

from stdlib.rates import Moment, Reading, elapsed_us, rate_between

START = Moment("boot-1", 10_000_000, 1_700_000_000_000_000)


def later(seconds: float, *, boot: str = "boot-1", step_s: float = 0.0) -> Moment:
    passed_us = round(seconds * 1e6)
    return Moment(boot, START.since_boot_us + passed_us, START.wall_us + passed_us + round(step_s * 1e6))


def rate(before: float, now: float, moment: Moment, start: Moment = START) -> dict[str, object]:
    return rate_between(Reading(before, start), Reading(now, moment))


def test_the_first_reading_says_nothing() -> None:
    told = rate_between(None, Reading(5, START))
    assert told == {"per_second": None, "delta": None, "seconds": None, "reason": "first"}


def test_growth_by_time() -> None:
    assert rate(100, 150, later(10)) == {"per_second": 5.0, "delta": 50, "seconds": 10.0, "reason": None}


def test_what_did_not_grow_has_a_rate_of_zero() -> None:
    assert rate(100, 100, later(10))["per_second"] == 0.0


def test_large_counters_stay_exact() -> None:
    assert rate((1 << 63) + 1, (1 << 63) + 8, later(1))["delta"] == 7


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
def test_a_step_of_the_wall_clock_changes_nothing(step_s: float) -> None:
    assert rate(0, 50, later(10, step_s=step_s))["per_second"] == 5.0


def test_after_a_reboot_nothing_is_known() -> None:
    told = rate(100, 150, later(10, boot="boot-2"))
    assert (told["per_second"], told["reason"]) == (None, "reboot")


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (100, 99, "reset"),
        (1_000_000, 0, "reset"),
        ((1 << 32) - 10, 5, "wrapped"),
        ((1 << 64) - 10, 5, "wrapped"),
        ((1 << 32) + 10, 5, "reset"),
        ((1 << 31), 5, "reset"),
    ],
)
def test_a_counter_that_went_down_has_no_rate(before: int, now: int, reason: str) -> None:
    told = rate(before, now, later(10))
    assert (told["per_second"], told["delta"], told["reason"]) == (None, None, reason)


def test_two_readings_at_once_have_no_rate() -> None:
    assert rate(1, 2, START)["reason"] == "too_soon"


def test_without_a_boot_id_the_wall_clock_tells() -> None:
    start, end = Moment("", 10, 1_000_000), Moment("", 5, 3_000_000)
    assert rate(0, 10, end, start)["per_second"] == 5.0
    assert rate(0, 10, start, end)["reason"] == "clock"


def test_time_that_the_wall_clock_lost_over_a_reboot_is_unknown() -> None:
    assert elapsed_us(START, Moment("boot-2", 1, START.wall_us - 1)) is None
    assert elapsed_us(START, Moment("boot-2", 1, START.wall_us + 7)) == 7
