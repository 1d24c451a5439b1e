"""One key of one role is stolen, and the server is the thief's: what can be done with it, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from siege import CAREFUL, NOW, Siege, approved, order, script
from world import World

from agent.cache import Entry
from protocol.signing import sign
from protocol.timestamps import stamp


def harm(world: World, author: str = "ann", reviewer: str = "mallory", *, tier: str = "observe", **more: Any) -> Entry:
    """Return a script that the thief wrote, signed by the keys that the thief has."""
    bundle = script("return 'harm'\n", tier=tier)
    about = {"digest": bundle.digest, "tier": tier} | more
    return Entry(bundle, world.publication(author, **about), (world.approval(reviewer, **about),))


# an author -----------------------------------------------------------------------------------------------------------


async def test_an_authors_key_alone_runs_nothing(siege: Siege) -> None:
    assert await siege.attempt(siege.offer(harm(siege.world))) == "unknown_key"
    assert await siege.attempt(siege.offer(harm(siege.world, reviewer="ann"))) == "self_approval"


# a reviewer ----------------------------------------------------------------------------------------------------------


async def test_a_reviewers_key_alone_runs_nothing(siege: Siege) -> None:
    assert await siege.attempt(siege.offer(harm(siege.world, author="bob", reviewer="bob"))) == "wrong_namespace"
    assert await siege.attempt(siege.offer(harm(siege.world, author="mallory", reviewer="bob"))) == "unknown_key"


async def test_an_author_and_a_reviewer_together_are_held_by_the_number_of_reviewers(siege: Siege) -> None:
    """Two keys of two people are what approving takes, unless the roots or the owner ask for more people."""
    made = harm(siege.world, reviewer="bob")
    assert await siege.attempt(siege.offer(made)) == "ran", "told in SECURITY.md"
    siege.allow("highest_tier: admin\naccept_server_word: [run]\nreviewers: {observe: 2}\n")
    assert await siege.attempt(made.bundle.digest) == "not_approved"
    siege.allow("highest_tier: admin\naccept_server_word: [run]\n")
    assert await siege.roster(2, reviewers={"compute": 2}) == {"version": 2}
    assert await siege.attempt(made.bundle.digest) == "not_approved"


async def test_a_reviewers_key_reaches_no_higher_than_its_tier(siege: Siege) -> None:
    assert await siege.attempt(siege.offer(harm(siege.world, reviewer="bob", tier="operate"))) == "not_approved"


# an operator, a schedule ---------------------------------------------------------------------------------------------


async def test_an_operators_key_orders_nothing_that_is_not_approved(siege: Siege) -> None:
    siege.allow(CAREFUL)
    made = harm(siege.world)
    assert await siege.attempt(siege.offer(made), order=order(siege.world, made.bundle.digest)) == "unknown_key"


async def test_an_operators_key_reaches_no_higher_than_its_tier(siege: Siege) -> None:
    siege.allow(CAREFUL)
    entry = approved(siege.world, script(tier="admin"))
    about = {"digest": entry.bundle.digest, "tier": "admin"}
    high = Entry(entry.bundle, siege.world.publication(**about), (siege.world.approval("eve", **about),))
    digest = siege.offer(high)
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "operator_signature_required"


async def test_a_schedule_key_orders_no_runs_and_nothing_that_changes_a_host(siege: Siege) -> None:
    siege.allow(CAREFUL)
    sam = siege.world.member("oli") | {"roles": [{"role": "schedule"}]}
    await siege.roster(2, keys=[siege.world.member("ann"), siege.world.member("eve"), sam])
    entry = approved(siege.world, script(tier="operate"))
    about = {"digest": entry.bundle.digest, "tier": "operate"}
    digest = siege.offer(Entry(entry.bundle, siege.world.publication(**about), (siege.world.approval("eve", **about),)))
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "operator_signature_required"
    spec = {"id": "sch_1", "digest": digest, "every_s": 60.0}
    signed = order(siege.world, digest, action="schedule", schedule=spec | {"every_s": 60})
    await siege.say("schedules.set", {"version": 1, "schedules": [spec | {"order": signed}]})
    siege.premises.clock.move(60.0)
    assert await siege.recorded_refusal("schedule:sch_1") == "operator_signature_required"


# roots ---------------------------------------------------------------------------------------------------------------


def roots(world: World, *names: str) -> dict[str, Any]:
    return {"threshold": 2, "keys": [world.key(name).public.to_text() for name in names]}


async def test_one_root_of_two_of_three(siege: Siege) -> None:
    three = roots(siege.world, "r1", "r2", "r3")
    assert await siege.roster(2, "root", "r1", "r2", roots=three) == {"version": 2}
    mine = [siege.world.member("bob") | {"key": siege.world.key("mallory").public.to_text()}]
    for signers in (("r1",), ("r1", "mallory"), ("root", "r1")):
        assert await siege.roster(3, *signers, roots=three, keys=mine) == "untrusted"
    assert await siege.recorded("roster.set", 3) == ["unknown_key"] * 3


async def test_the_stolen_root_is_rotated_away(siege: Siege) -> None:
    """The others sign a roster without it; from then on it counts for nothing, over a restart too."""
    await siege.roster(2, "root", "r1", "r2", roots=roots(siege.world, "r1", "r2", "r3"))
    fresh = roots(siege.world, "r2", "r3", "r4")
    assert await siege.roster(3, "r1", "r4", roots=fresh) == "untrusted", "the thief's one and a new one"
    assert await siege.roster(3, "r2", "r3", roots=fresh) == {"version": 3}
    await siege.restart()
    assert await siege.roster(4, "r1", "r2", roots=roots(siege.world, "r1", "r2", "r3")) == "untrusted"
    assert await siege.roster(4, "r2", "r4", roots=fresh) == {"version": 4}


async def test_a_step_between_roots_that_has_expired_lets_nothing_run(siege: Siege) -> None:
    """It is taken, so that a host that was away finds the way to the newest roster; until then it stops."""
    digest = siege.offer(approved(siege.world, script()))
    fresh = {"threshold": 1, "keys": [siege.world.key("r2").public.to_text()]}
    assert await siege.roster(2, "root", "r2", roots=fresh, expires=stamp(NOW - timedelta(days=1))) == {"version": 2}
    assert await siege.attempt(digest) == "expired"
    assert await siege.roster(3, "r2", roots=fresh) == {"version": 3}
    assert await siege.attempt(digest) == "ran"


# the server, an agent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["server", "agent"])
async def test_the_key_of_the_server_or_of_a_host_signs_nothing_that_counts(siege: Siege, whose: str) -> None:
    """They prove who speaks on a link, and are nobody's in the roster."""
    key = siege.server.key if whose == "server" else siege.premises.key
    siege.world.keys["mallory"] = key
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest, order=order(siege.world, digest, signer=key)) == "unknown_key"
    assert await siege.roster(2, "mallory") == "untrusted"
    assert await siege.attempt(siege.offer(harm(siege.world, "mallory", "mallory"))) == "unknown_key"
    await siege.withdraw(siege.world.withdrawal("mallory", digest=digest))
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "ran"


async def test_another_hosts_key_does_not_speak_for_this_one(siege: Siege) -> None:
    """An order that a stolen host saw is for that host."""
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    elsewhere = order(siege.world, digest, agents=["agt_fedcba9876543210"])
    assert await siege.attempt(digest, order=elsewhere) == "mix_and_match"


# what ends it --------------------------------------------------------------------------------------------------------


def with_end(world: World, name: str, end: str) -> list[dict[str, Any]]:
    others = [world.member(other) for other in ("ann", "bob", "oli") if other != name]
    return [*others, world.member(name, **{end: stamp(NOW)})]


@pytest.mark.parametrize("name", ["ann", "bob"])
async def test_what_a_revoked_key_signed_counts_no_more(siege: Siege, name: str) -> None:
    """Whenever it says it signed it: who has the key can date a statement."""
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest) == "ran"
    await siege.roster(2, keys=with_end(siege.world, name, "revoked"))
    assert await siege.attempt(digest) == "revoked"


@pytest.mark.parametrize("name", ["ann", "bob"])
async def test_what_a_retired_key_signed_before_still_counts(siege: Siege, name: str) -> None:
    """A key that is known to be destroyed: what is there runs on, nothing new is believed."""
    entry = approved(siege.world, script())
    await siege.roster(2, keys=with_end(siege.world, name, "retired"))
    assert await siege.attempt(siege.offer(entry)) == "ran"
    late = {"issued": stamp(NOW + timedelta(seconds=1))}
    fresh = script("return 2\n")
    about = {"digest": fresh.digest}
    publication = siege.world.publication(**(about | (late if name == "ann" else {})))
    approval = siege.world.approval(**(about | (late if name == "bob" else {})))
    refused = await siege.attempt(siege.offer(Entry(fresh, publication, (approval,))))
    assert refused == {"ann": "wrong_namespace", "bob": "not_approved"}[name]


async def test_a_retired_operators_order(siege: Siege) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    await siege.roster(2, keys=with_end(siege.world, "oli", "retired"))
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "operator_signature_required"


async def test_everything_of_a_threshold_of_roots_is_everything(siege: Siege) -> None:
    """Told in SECURITY.md, and shown here so that nobody reads more into it: the roots say whom a host trusts."""
    mine = [siege.world.member("ann") | {"key": siege.world.key("mallory").public.to_text()}, siege.world.member("bob")]
    envelope = sign("roster", siege.world.roster_body(2, keys=mine), siege.world.key("root"))
    assert await siege.say("roster.set", {"envelope": envelope.to_plain()}) == {"version": 2}
    assert await siege.attempt(siege.offer(harm(siege.world, "mallory", "bob"))) == "ran"
