"""The people of a roster: what a key proves before and after each of its ends, and how many people a tier needs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import NOW, World

from protocol.errors import ArgumentError
from protocol.members import read_members
from protocol.roster import needed, read_needed
from protocol.tiers import Tier
from protocol.timestamps import stamp

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("end", "issued", "now", "good"),
    [
        ("expires", -SECOND, -SECOND, True),
        ("expires", -SECOND, timedelta(0), False),  # what it signed before ends with it
        ("retired", -SECOND, SECOND, True),
        ("retired", timedelta(0), SECOND, False),
        ("revoked", -SECOND, -SECOND, False),  # whenever: who has the key dates what it signs
    ],
)
def test_the_ends_of_a_key(world: World, end: str, issued: timedelta, now: timedelta, good: bool) -> None:
    (member,) = read_members([world.member("ann", **{end: stamp(NOW)})])
    assert member.is_good(NOW + issued, NOW + now) is good


def test_a_schedule_key_without_a_tier_reaches_to_what_changes_nothing(world: World) -> None:
    (member,) = read_members([world.member("oli") | {"roles": [{"role": "schedule"}]}])
    assert member.roles[0].tier is Tier.INSPECT
    (member,) = read_members([world.member("oli") | {"roles": [{"role": "schedule", "tier": "admin"}]}])
    assert member.roles[0].tier is Tier.ADMIN


@pytest.mark.parametrize(
    ("table", "counts"), [({}, [1, 1, 1]), ({"inspect": 2}, [1, 2, 2]), ({"compute": 3, "operate": 2}, [3, 3, 3])]
)
def test_a_higher_tier_never_needs_fewer_people(table: dict[str, int], counts: list[int]) -> None:
    read = read_needed(table, "reviewers")
    assert [needed(read, tier) for tier in (Tier.OBSERVE, Tier.INSPECT, Tier.ADMIN)] == counts


@pytest.mark.parametrize(
    "table", [3, [2], {"operate": 0}, {"operate": True}, {"operate": "2"}, {"operate": 17}, {"root": 1}]
)
def test_a_table_of_another_form(table: Any) -> None:
    with pytest.raises(ArgumentError):
        read_needed(table, "reviewers")
