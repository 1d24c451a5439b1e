"""The attacker has everything that was ever signed, and brings back what was good once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from siege import CAREFUL, NOW, Siege, approved, order, script

from protocol.timestamps import stamp


async def test_an_older_roster(siege: Siege) -> None:
    """The one in which a key that was taken away still counts; over a restart too."""
    digest = siege.offer(approved(siege.world, script()))
    without_ann = [siege.world.member(name) for name in ("bob", "oli")]
    assert await siege.roster(3, keys=without_ann) == {"version": 3}
    for attempt in (1, 2):
        assert await siege.roster(2) == "untrusted"
        assert (await siege.recorded("roster.set", attempt))[-1] == "rollback"
        assert await siege.attempt(digest) == "unknown_key"
        await siege.restart()


async def test_a_shorter_list_of_withdrawals(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    await siege.withdraw(siege.world.withdrawal(digest=digest))
    await siege.withdraw()
    assert await siege.attempt(digest) == "withdrawn"
    await siege.restart()
    await siege.withdraw(siege.world.withdrawal())  # about another one
    assert await siege.attempt(digest) == "withdrawn"


async def test_an_older_state_of_the_schedules(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    old = {"version": 4, "schedules": [{"id": "sch_1", "digest": digest, "every_s": 1.0}]}
    await siege.say("schedules.set", {"version": 5, "schedules": []})
    assert await siege.say("schedules.set", old) == {"version": 5}
    assert siege.supervisor is not None
    assert siege.supervisor._scheduler.digests == set()


async def test_a_schedule_that_was_removed_comes_back_only_while_its_order_lasts(siege: Siege) -> None:
    """A higher version is the server's to choose. What a careful host runs is bounded by the order's own end."""
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    spec: dict[str, Any] = {"id": "sch_1", "digest": digest, "every_s": 60.0}
    about = {"schedule": spec | {"every_s": 60}, "issued": stamp(NOW - timedelta(days=9)), "expires": stamp(NOW)}
    ended = order(siege.world, digest, action="schedule", **about)
    await siege.say("schedules.set", {"version": 6, "schedules": [spec | {"order": ended}]})
    siege.premises.clock.move(60.0)
    assert await siege.recorded_refusal("schedule:sch_1") == "expired"


async def test_an_older_version_of_a_script_needs_an_order_for_it(siege: Siege) -> None:
    """An order names a digest. On the server's word alone what is approved may run, the older version too."""
    old, new = (siege.offer(approved(siege.world, script(f"return {number}\n"))) for number in (1, 2))
    assert await siege.attempt(old) == "ran", "told in docs/trust.md: withdraw what must not run any more"
    siege.allow(CAREFUL)
    assert await siege.attempt(old, order=order(siege.world, new)) == "mix_and_match"
    assert await siege.attempt(old) == "operator_signature_required"


async def test_an_older_and_wider_approval(siege: Siege) -> None:
    """The reviewer thought again and narrowed it; the server shows the first approval only. Taking it back helps."""
    entry = approved(siege.world, script())
    digest = entry.bundle.digest
    assert await siege.attempt(siege.offer(entry)) == "ran", (
        "told in docs/trust.md: approvals are statements on their own"
    )
    await siege.withdraw(siege.revocation(digest, "bob"))
    assert await siege.attempt(digest) == "revoked"
    later = siege.world.approval(digest=digest, issued=stamp(NOW + timedelta(seconds=1)))
    siege.offer(replace(entry, approvals=(later,)))
    assert await siege.attempt(digest) == "ran", "what was approved again counts again"


async def test_an_older_and_wider_approval_where_the_newer_one_has_arrived(siege: Siege) -> None:
    """The host has the narrower one: neither showing it the wider one nor sending the bundle anew brings that back."""
    entry = approved(siege.world, script('return fs.stat("/etc").type\n'))
    digest = siege.offer(entry)
    (wider,) = entry.approvals
    assert await siege.attempt(digest) == "ran"
    about = {"digest": digest, "issued": stamp(NOW), "grant": {"allow": [{"call": "fs.stat", "paths": ["/usr/**"]}]}}
    narrower = siege.world.approval(**about)
    assert await siege.say("approvals.add", {"envelopes": [narrower.to_plain()]}) == {}
    assert await siege.attempt(digest) == "denied"
    assert await siege.say("approvals.add", {"envelopes": [wider.to_plain()]}) == {}
    assert await siege.attempt(digest) == "denied"
    assert siege.supervisor is not None
    await siege.supervisor._bundles.refresh(digest)
    assert await siege.attempt(digest) == "denied"
    await siege.restart()
    assert await siege.attempt(digest) == "denied"


async def test_approvals_by_nobody_who_may_give_them_push_out_none(siege: Siege) -> None:
    """Nor does what is no approval; the refusal is on record."""
    entry = approved(siege.world, script())
    digest = siege.offer(entry)
    assert await siege.attempt(digest) == "ran"
    made_up = [siege.world.approval("mallory", digest=digest, reason=f"{number}") for number in range(100)]
    assert await siege.say("approvals.add", {"envelopes": [each.to_plain() for each in made_up]}) == {}
    assert await siege.attempt(digest) == "ran"
    nonsense = siege.world.publication(digest=digest)
    assert await siege.say("approvals.add", {"envelopes": [nonsense.to_plain()]}) == "invalid_argument"
    assert await siege.recorded("approvals.add") == ["invalid_argument"]
