"""Approvals that a host hears of: only what counts is added, and nothing that counts is let go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from premises import approved, script
from world import DIGEST, NOW, World

from agent import limits
from agent.approvals import adding
from agent.cache import Entry
from protocol.errors import TrustError
from protocol.signing import Envelope
from protocol.timestamps import stamp
from protocol.trust import authorise


@pytest.fixture
def entry(world: World) -> Entry:
    return approved(world, script())


def approval(world: World, entry: Entry, *signers: str, minutes: int = 0, **changes: Any) -> Envelope:
    issued = stamp(NOW - timedelta(minutes=30) + timedelta(minutes=minutes))
    return world.approval(*signers, **({"digest": entry.bundle.digest, "issued": issued} | changes))


def test_what_counts_is_added_before_what_was_there(world: World, entry: Entry) -> None:
    newer = approval(world, entry)
    found = adding(entry, [newer, newer], world.roster(), NOW)
    assert found == replace(entry, approvals=(newer, *entry.approvals))
    assert adding(found, [newer, *entry.approvals], world.roster(), NOW) is found


def test_what_counts_for_nothing_is_not_added(world: World, entry: Entry) -> None:
    """Else a server could fill the room with what it made up."""
    hopeless = [
        approval(world, entry, "ann"),  # the author
        approval(world, entry, "mallory"),
        approval(world, entry, digest=DIGEST),
        approval(world, entry, name="checks/other"),
        approval(world, entry, expires=stamp(NOW)),
        approval(world, entry, tier="admin"),
        replace(approval(world, entry), signatures=()),
        world.publication(digest=entry.bundle.digest),
    ]
    assert adding(entry, hopeless, world.roster(), NOW) is entry


def test_what_comes_while_the_clock_is_behind_is_kept_and_counts_once_it_is_right(world: World, entry: Entry) -> None:
    """The server was told that it has arrived. It may be narrower than what counts meanwhile."""
    newer = approval(world, entry, "bob", grant={"calls": ["fs.stat"]})
    behind = NOW - timedelta(hours=2)
    found = adding(entry, [newer], world.roster(), behind)
    assert found.approvals == (newer, *entry.approvals)
    digest = entry.bundle.digest
    with pytest.raises(TrustError, match="in the future"):
        authorise(digest, found.publication, found.approvals[:1], (), world.roster(), behind)
    proved = authorise(digest, found.publication, found.approvals, (), world.roster(), NOW)
    assert proved.grants == ({"calls": ["fs.stat"]},)
    assert adding(entry, [approval(world, entry, "ann")], world.roster(), behind) is entry


def test_an_entry_whose_publication_proves_nothing_stays_as_it_is(world: World, entry: Entry) -> None:
    spoiled = replace(entry, publication=world.publication(digest=DIGEST))
    assert adding(spoiled, [approval(world, entry)], world.roster(), NOW) is spoiled


def test_when_there_is_no_room_the_newest_of_each_reviewer_stay(world: World, entry: Entry) -> None:
    """However often one reviewer says something, what another one said is not pushed out."""
    eve = approval(world, entry, "eve")
    found = adding(entry, [eve], world.roster(), NOW)
    bob = [approval(world, entry, minutes=number % 30, reason=f"{number}") for number in range(limits.MAX_APPROVALS)]
    newest = approval(world, entry, minutes=30)
    found = adding(found, [*bob, newest], world.roster(), NOW)
    assert set(found.approvals) == {eve, newest}
