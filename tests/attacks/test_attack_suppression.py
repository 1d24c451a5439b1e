"""The attacker keeps back, forgets or undoes what takes away: withdrawals, revocations, keys that were lost."""

from __future__ import annotations

from datetime import timedelta

from siege import NOW, TRUSTING, Siege, approved, script


async def test_a_withdrawal_that_never_arrives_ends_with_the_roster(siege: Siege) -> None:
    """The roots list it in the roster, and a host that wants a young roster learns of it or stops."""
    siege.allow(TRUSTING + "roster_within: 3d\n")
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest) == "ran", "kept back: until then nobody can know"
    siege.premises.clock.set(NOW + timedelta(days=3))
    assert await siege.attempt(digest) == "stale"
    listed = {"issued": "2026-11-26T12:00:00Z", "withdrawn": [digest]}
    assert await siege.roster(2, **listed) == {"version": 2}
    assert await siege.attempt(digest) == "withdrawn"


async def test_a_withdrawal_that_the_server_forgets(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    await siege.withdraw(siege.world.withdrawal(digest=digest))
    for _ in range(2):
        await siege.withdraw()
        assert await siege.attempt(digest) == "withdrawn"
        await siege.restart()


async def test_a_withdrawal_outlives_the_key_that_signed_it(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    await siege.withdraw(siege.world.withdrawal("cid", digest=digest))
    await siege.roster(2, keys=[siege.world.member("ann"), siege.world.member("bob")])
    await siege.restart()
    assert await siege.attempt(digest) == "withdrawn"


async def test_a_revocation_that_the_server_forgets(siege: Siege) -> None:
    entry = approved(siege.world, script())
    digest = siege.offer(entry)
    assert await siege.withdraw(siege.revocation(digest, "bob")) == {}
    for _ in range(2):
        await siege.withdraw()
        assert await siege.attempt(digest) == "revoked", "the same approval again is the one that was taken back"
        await siege.restart()


async def test_an_older_revocation_after_a_newer_one(siege: Siege) -> None:
    """Or an approval in between would count again."""
    digest = siege.offer(approved(siege.world, script(), issued="2026-11-23T11:30:00Z"))
    older = siege.world.statement(
        "revocation", ("bob",), {"digest": digest, "reason": "", "issued": "2026-11-23T11:00:00Z"}, without={"tier"}
    )
    await siege.withdraw(siege.revocation(digest, "bob"))
    await siege.withdraw(older)
    await siege.restart()
    assert await siege.attempt(digest) == "revoked"


async def test_a_withdrawal_in_the_same_breath_as_a_run(siege: Siege) -> None:
    """Requests are taken up in their order: a withdrawal that was sent before a run counts for it."""
    digest = siege.offer(approved(siege.world, script()))
    siege.server.ask("withdrawals.set", {"envelopes": [siege.world.withdrawal(digest=digest).to_plain()]})
    assert await siege.attempt(digest) == "withdrawn"
