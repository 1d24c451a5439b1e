"""Who watches a terminal is bounded, in number and in what they make the others hear."""

from __future__ import annotations

import pytest

from protocol.errors import RateError
from server.sessions.people import Person, Role
from server.sessions.viewers import ACTS_OF_ONE, MAX_TEXTS, MAX_VIEWERS, MAX_VIEWERS_OF_ONE, Viewer, Viewers


def viewer(number: int = 1, principal: str = "me") -> Viewer:
    return Viewer(Person(f"v{number}", principal, Role.OBSERVER))


def test_who_does_not_read_is_sent_away_and_told_why() -> None:
    """What waits for one viewer must not grow without end."""
    slow = viewer()
    for number in range(MAX_TEXTS + 1):
        assert not slow.is_over
        slow.tell({"type": "notice", "text": str(number)})
    assert slow.is_over
    assert isinstance(slow.problem, RateError)
    assert len(slow.texts) == MAX_TEXTS


def test_what_can_be_sent_at_once_wakes_nobody() -> None:
    one = viewer()
    one.sends = lambda: True
    one.tell({"type": "notice"})
    assert not one.wake.is_set()
    one.sends = lambda: False
    one.tell({"type": "notice"})
    assert one.wake.is_set()


def test_who_types_hears_now_and_then_how_much_was_taken() -> None:
    """Refused or not: else whoever types during a pause would have no room left when it goes on."""
    one = viewer()
    one.taken(4095)
    assert not one.texts
    one.taken(1)
    one.taken(10_000)
    assert list(one.texts) == [{"type": "taken", "bytes": 4096}, {"type": "taken", "bytes": 14_096}]


def test_one_person_comes_a_few_times_and_many_people_do() -> None:
    all_of_them = Viewers()
    for number in range(MAX_VIEWERS_OF_ONE):
        all_of_them.admit("me")
        all_of_them.there[f"v{number}"] = viewer(number)
    with pytest.raises(RateError, match="me is here 8 times already"):
        all_of_them.admit("me")
    for number in range(MAX_VIEWERS_OF_ONE, MAX_VIEWERS):
        all_of_them.admit(f"p{number}")
        all_of_them.there[f"v{number}"] = viewer(number, f"p{number}")
    with pytest.raises(RateError, match="64 watch this terminal already"):
        all_of_them.admit("somebody")


def test_who_comes_and_goes_all_the_time_is_one_person_for_what_the_others_hear() -> None:
    """Each coming is told to all: from a new connection it counts as from the old one."""
    all_of_them = Viewers()

    def come_and_go() -> None:
        for _ in range(10 * ACTS_OF_ONE):
            all_of_them.admit("me")

    with pytest.raises(RateError, match="more here than the others can be told of"):
        come_and_go()
    all_of_them.admit("somebody")


def test_everybody_is_told_and_dismissed() -> None:
    all_of_them = Viewers()
    all_of_them.there = {"v1": viewer(1), "v2": viewer(2, "olga")}
    all_of_them.tell({"type": "link", "up": True})
    all_of_them.dismiss()
    assert [(list(each.texts), each.is_over) for each in all_of_them.there.values()] == [
        ([{"type": "link", "up": True}], True)
    ] * 2
