"""A share of the processor, as a script of work and time."""

from __future__ import annotations

import pytest

from agent.allotment import Allotment


def test_what_happens_seldom_never_rests() -> None:
    allotment = Allotment(share=0.05, burst_s=0.01, rest_s=0.02)
    assert {allotment.took(0.0001, second) for second in range(1000)} == {0.0}


def test_a_burst_is_taken_at_once_and_then_there_is_a_rest() -> None:
    allotment = Allotment(share=0.05, burst_s=0.01, rest_s=0.02)
    assert [allotment.took(0.004, 0.0) for _ in range(2)] == [0.0, 0.0]
    assert allotment.took(0.004, 0.0) == pytest.approx(0.04), "2 ms too much, at a twentieth"
    assert allotment.took(0.001, 0.0) > 0.04


def test_a_rest_is_never_so_short_that_nothing_comes_together() -> None:
    allotment = Allotment(share=0.05, burst_s=0.01, rest_s=0.02)
    assert allotment.took(0.01, 0.0) == 0.02


@pytest.mark.parametrize("work_s", [0.00002, 0.0005, 0.03])
def test_whatever_comes_takes_no_more_than_its_share(work_s: float) -> None:
    """Work that never ends, of pieces of any size."""
    allotment = Allotment(share=0.05, burst_s=0.01, rest_s=0.02)
    now_s = worked_s = 0.0
    while now_s < 100.0:
        now_s += work_s
        worked_s += work_s
        now_s += allotment.took(work_s, now_s)
    assert 0.04 * now_s < worked_s <= 0.05 * now_s + 0.01 + work_s


def test_time_that_stands_still_or_goes_back_gives_nothing() -> None:
    allotment = Allotment(share=0.05, burst_s=0.01, rest_s=0.02)
    allotment.took(0.02, 100.0)
    assert allotment.took(0.0, 0.0) == pytest.approx(0.2)
