"""What is remembered about trust is never another answer than proving it anew would give."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from world import DIGEST, NOW, ROLES, World

from protocol import proofs
from protocol.errors import TrustError
from protocol.proofs import Proofs
from protocol.timestamps import stamp
from protocol.trust import Authorised, authorise

HOUR = timedelta(hours=1)


class Rig:
    """Proofs of one script, and how often it was proved in earnest."""

    def __init__(self, world: World) -> None:
        self.publication, self.approvals, self.withdrawals = world.publication(), (world.approval(),), ()
        self.roster = world.roster()
        self.proofs = Proofs()
        self.times = 0

    def ask(self, now: datetime = NOW) -> Authorised:
        made_from = (self.publication, self.approvals, self.withdrawals, self.roster)
        return self.proofs.find(DIGEST, made_from, now, lambda: self.prove(now))

    def prove(self, now: datetime) -> Authorised:
        self.times += 1
        return authorise(DIGEST, self.publication, self.approvals, self.withdrawals, self.roster, now)

    def refusal(self, now: datetime = NOW) -> str:
        with pytest.raises(TrustError) as caught:
            self.ask(now)
        return caught.value.reason


@pytest.fixture
def rig(world: World) -> Rig:
    made = Rig(world)
    made.ask()
    return made


def test_the_same_is_proved_once(rig: Rig) -> None:
    assert rig.ask(NOW + HOUR) is rig.ask(NOW + 2 * HOUR)
    assert rig.times == 1


def test_a_withdrawal_counts_at_once(rig: Rig, world: World) -> None:
    rig.withdrawals = (world.withdrawal(),)
    assert rig.refusal() == "withdrawn"


def test_a_new_roster_counts_at_once(rig: Rig, world: World) -> None:
    rig.roster = world.roster(version=2, keys=[world.member("bob")])
    assert rig.refusal() == "unknown_key"


def test_an_approval_that_is_gone_counts_at_once(rig: Rig) -> None:
    rig.approvals = ()
    assert rig.refusal() == "not_approved"


def test_equal_is_not_the_same(rig: Rig, world: World) -> None:
    """Nobody has shown that an equal roster holds the same inside, so it is looked at."""
    rig.roster = world.roster()
    rig.ask()
    assert rig.times == 2


def test_every_end_is_kept_to_the_moment(world: World) -> None:
    ends: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("expired", {"expires": stamp(NOW + HOUR)}, {}),
        ("expired", {}, {"expires": stamp(NOW + HOUR)}),
        ("not_approved", {}, {"keys": [world.member("ann"), world.member("bob", expires=stamp(NOW + HOUR))]}),
        ("wrong_namespace", {}, {"keys": [world.member("bob"), world.member("ann", expires=stamp(NOW + HOUR))]}),
    ]
    for reason, of_approval, of_roster in ends:
        rig = Rig(world)
        rig.approvals, rig.roster = (world.approval(**of_approval),), world.roster(**of_roster)
        rig.ask()
        rig.ask(NOW + HOUR - timedelta(microseconds=1))
        assert rig.times == 1
        assert rig.refusal(NOW + HOUR) == reason


def test_a_clock_that_went_back_is_not_answered_from_the_future(rig: Rig) -> None:
    """Then what was signed may be dated after the present."""
    assert rig.refusal(NOW - 2 * HOUR) == "expired"


def test_a_refusal_is_not_remembered(world: World) -> None:
    rig = Rig(world)
    rig.approvals = ()
    assert [rig.refusal(), rig.refusal()] == ["not_approved", "not_approved"]
    assert rig.times == 2


def test_where_an_approval_may_come_to_count_nothing_is_said_about_later(world: World) -> None:
    """One of tomorrow narrows the grant; the answer of today must not outlive the night."""
    rig = Rig(world)
    later = world.approval("bob", issued=stamp(NOW + 24 * HOUR), grant={"calls": ["log.*"]})
    rig.approvals = (world.approval("bob"), later)
    assert rig.ask().grants == ({},)
    assert rig.ask(NOW + 25 * HOUR).grants == ({"calls": ["log.*"]},)


def test_memory_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_REMEMBERED", 3)
    for number in range(10):
        rig.proofs.find(f"sha256:{number:064}", (), NOW, lambda: rig.prove(NOW))
        assert len(rig.proofs._answers) <= 3


MOMENTS = st.integers(-3, 12).map(lambda hours: NOW + hours * HOUR)
ENDS = st.none() | MOMENTS


@example(
    approvals=[("cid", NOW, NOW + 2 * HOUR), ("cid", NOW, NOW + HOUR)], members={},
    roster_ends=NOW + 2 * HOUR, first=NOW, second=NOW + HOUR,
)  # fmt: skip
@given(
    st.lists(st.tuples(st.sampled_from(["bob", "cid", "eve"]), MOMENTS, MOMENTS), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(sorted(ROLES)), ENDS), MOMENTS, MOMENTS, MOMENTS,
)  # fmt: skip
def test_until_the_moment_that_is_named_proving_anew_gives_the_same(
    approvals: list[tuple[str, datetime, datetime]],
    members: dict[str, datetime | None],
    roster_ends: datetime,
    first: datetime,
    second: datetime,
) -> None:
    """Whoever signed, whatever ends when: the rule that lets an answer be remembered is itself true."""
    world = WORLD
    keys = [
        world.member(name, **({} if (end := members.get(name)) is None else {"expires": stamp(end)})) for name in ROLES
    ]
    roster = world.roster(keys=keys, expires=stamp(roster_ends), issued=stamp(NOW - 90 * HOUR))
    given_ones = [world.approval(who, issued=stamp(at), expires=stamp(end)) for who, at, end in approvals if at < end]
    publication = world.publication()

    def ask(now: datetime) -> Authorised:
        return authorise(DIGEST, publication, given_ones, [], roster, now)

    try:
        found = ask(first)
    except TrustError:
        return
    assert found.unchanged_until >= first
    if first <= second < found.unchanged_until:
        # How long it is known to last may be less by then: an approval that counted for nothing has ended.
        assert replace(ask(second), unchanged_until=found.unchanged_until) == found


WORLD = World()
