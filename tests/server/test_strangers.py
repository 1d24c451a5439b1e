"""Who may be held open without anybody knowing whose it is: so many, and no more, and whose turn it is to go."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from server import limits
from server.strangers import Resting, Strangers, Unread


@dataclass(eq=False)
class Seen:
    """A connection."""

    is_known: bool = False
    is_over: bool = False

    def end(self) -> None:
        self.is_over = True


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STRANGERS_OF_ONE", 3)
    monkeypatch.setattr(limits, "MAX_STRANGERS", 5)


def come(strangers: Strangers, *addresses: str) -> list[Seen]:
    made = [Seen() for _ in addresses]
    for connection, address in zip(made, addresses, strict=True):
        strangers.came(connection, address)
    return made


def test_of_one_address_the_oldest_goes_and_others_are_left_alone() -> None:
    strangers = Strangers()
    (other,) = come(strangers, "192.0.2.9")
    made = come(strangers, *["192.0.2.1"] * 5)
    assert [each.is_over for each in made] == [True, True, False, False, False]
    assert not other.is_over
    assert len(strangers) == 4


def test_of_all_the_oldest_goes() -> None:
    strangers = Strangers()
    made = come(strangers, *[f"192.0.2.{number}" for number in range(7)])
    assert [each.is_over for each in made] == [True, True, False, False, False, False, False]


def test_who_is_known_by_then_stays_and_is_not_counted() -> None:
    strangers = Strangers()
    first, second, third = come(strangers, *["192.0.2.1"] * 3)
    first.is_known = second.is_known = True
    more = come(strangers, *["192.0.2.1"] * 2)
    assert [each.is_over for each in (first, second, third, *more)] == [False] * 5
    come(strangers, "192.0.2.1")
    assert third.is_over
    assert not first.is_over


def test_who_went_makes_room() -> None:
    strangers = Strangers()
    made = come(strangers, *["192.0.2.1"] * 3)
    strangers.forget(made[1])
    strangers.forget(made[1])
    come(strangers, "192.0.2.1")
    assert not any(each.is_over for each in made)
    for connection in [made[0], made[2]]:
        strangers.forget(connection)
    assert len(strangers) == 1


@pytest.mark.parametrize(
    ("one", "another", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True), ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False), ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False), ("", "", True), ("unix", "192.0.2.1", False),
    ],
)  # fmt: skip
def test_whose_an_address_is(one: str, another: str, are_one: bool) -> None:
    """Whoever has one address of an IPv6 network has all of its last 64 bits."""
    strangers = Strangers()
    (first,) = come(strangers, one)
    come(strangers, *[another] * 3)
    assert first.is_over is are_one


def test_of_one_person_so_many_rest_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RESTING_OF_ONE", 2)
    resting = Resting()
    first, second, third, other = (Seen() for _ in range(4))
    resting.add(other, "ann")
    for each in (first, second):
        resting.add(each, "mia")
    resting.add(first, "mia")  # it was used meanwhile, so another one is the oldest
    resting.add(third, "mia")
    assert [each.is_over for each in (first, second, third, other)] == [False, True, False, False]
    for each in (first, second, third, other):
        resting.forget(each)
    assert len(resting) == 0


def test_of_one_person_so_many_bytes_lie_unread_and_who_waited_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES_OF_ONE", 10)
    unread = Unread()
    first, second, third, other, large = (Seen() for _ in range(5))
    unread.add(other, "ann", 9)
    unread.add(first, "mia", 4)
    unread.add(second, "mia", 4)
    unread.add(first, "mia", 4)  # something was read meanwhile, so another one has waited longest
    unread.add(third, "mia", 4)
    assert [each.is_over for each in (first, second, third, other)] == [False, True, False, False]
    unread.add(large, "mia", 11)
    assert [each.is_over for each in (first, third, large, other)] == [True, True, False, False], "one may be larger"
    for each in (large, other):
        unread.forget(each)
    assert len(unread) == 0
