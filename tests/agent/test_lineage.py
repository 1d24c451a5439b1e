"""Whose a process is: scripts of forks and ends."""

from __future__ import annotations

from agent.lineage import MAX_ENDED, Lineage


def test_what_comes_of_a_root_is_its_own_whatever_ends_between() -> None:
    lineage = Lineage()
    lineage.follow(10)
    lineage.forked(10, 11)
    lineage.forked(11, 12)
    assert lineage.ended(11) == 10
    lineage.forked(12, 13)
    assert [lineage.root_of(pid) for pid in (10, 11, 12, 13, 14)] == [10, 10, 10, 10, None]


def test_strangers_stay_strangers_also_with_a_number_that_was_known() -> None:
    lineage = Lineage()
    lineage.follow(10)
    lineage.forked(10, 11)
    lineage.ended(11)
    lineage.forked(1, 11)
    assert lineage.root_of(11) is None
    assert lineage.ended(11) is None
    lineage.forked(10, 12)  # whose end was not heard
    lineage.forked(1, 12)
    assert lineage.root_of(12) is None


def test_a_root_stays_one_when_its_own_birth_is_heard_late() -> None:
    lineage = Lineage()
    lineage.follow(10)
    lineage.forked(1, 10)
    lineage.forked(10, 11)
    assert lineage.root_of(11) == 10


def test_trees_are_apart_and_forgotten_one_by_one() -> None:
    lineage = Lineage()
    lineage.follow(10)
    lineage.follow(20)
    lineage.forked(10, 11)
    lineage.forked(20, 21)
    lineage.ended(21)
    lineage.unfollow(20)
    assert [lineage.root_of(pid) for pid in (10, 11, 20, 21)] == [10, 10, None, None]


def test_a_look_repairs_what_was_missed() -> None:
    lineage = Lineage()
    lineage.follow(10)
    lineage.forked(10, 11)
    lineage.found(10, {12, 13})
    assert [lineage.root_of(pid) for pid in (10, 11, 12, 13)] == [10, 10, 10, 10]
    lineage.forked(11, 14)  # it has ended: this is somebody else's child
    assert lineage.root_of(14) is None


def test_those_that_ended_are_remembered_for_a_while_only() -> None:
    lineage = Lineage()
    lineage.follow(10)
    for pid in range(100, 100 + MAX_ENDED + 1):
        lineage.forked(10, pid)
        lineage.ended(pid)
    assert [lineage.root_of(pid) for pid in (100, 101)] == [None, 10]
