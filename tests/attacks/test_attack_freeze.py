"""The attacker keeps what is new away: no newer roster, no withdrawal, no approval ever arrives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from siege import AGENT, CAREFUL, NOW, TRUSTING, Siege, approved, order, script, until

from protocol.signing import sign
from protocol.timestamps import stamp


async def test_an_old_roster_ends_by_its_own_date(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest) == "ran"
    siege.premises.clock.set(NOW + timedelta(days=30))
    assert await siege.attempt(digest) == "expired"


async def test_the_owner_may_want_a_younger_roster_than_its_date_says(siege: Siege) -> None:
    """It was signed the day before NOW."""
    siege.allow(TRUSTING + "roster_within: 3d\n")
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest) == "ran"
    siege.premises.clock.set(NOW + timedelta(days=2, seconds=1))
    assert await siege.attempt(digest) == "stale"
    assert await siege.roster(2, issued="2026-11-25T12:00:00Z") == {"version": 2}
    assert await siege.attempt(digest) == "ran"


async def test_an_operators_session_ends_with_the_roster_too(siege: Siege) -> None:
    """A key that was taken off the roster must not open terminals for as long as the server keeps the news away."""
    siege.allow(CAREFUL)
    assert "longest_s" in await siege.say("session.open", session(siege, "ses_1"))
    siege.premises.clock.set(NOW + timedelta(days=31))
    assert await siege.say("session.open", session(siege, "ses_2")) == "untrusted"
    await until(lambda: any("roster, version 1, has expired" in str(record.data) for record in siege.records()))


def session(siege: Siege, name: str) -> dict[str, Any]:
    now = siege.premises.now()
    about = {"kind": "files", "tier": "inspect", "grant": {}, "reason": "a look"}
    body = {
        "type": "session_order", "agents": [AGENT], "issued": stamp(now), "expires": stamp(now + timedelta(hours=1)),
        "nonce": name, **about,
    }  # fmt: skip
    signed = sign("session_order", body, siege.world.key("oli")).to_plain()
    return {"session": name, "principal": "oli", "order": signed, "longest_s": None, "idle_s": None, **about}


async def test_an_expired_roster_sent_anew(siege: Siege) -> None:
    siege.premises.clock.set(NOW + timedelta(days=31))
    assert await siege.roster(2) == "untrusted"
    assert await siege.recorded("roster.set") == ["expired"]


async def test_an_approval_ends_by_its_own_date(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    siege.premises.clock.set(NOW + timedelta(days=7))
    assert await siege.attempt(digest) == "expired"


async def test_an_order_that_was_held_back(siege: Siege) -> None:
    """An operator ordered it an hour ago, for then; the attacker delivers it at a moment of their choice."""
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    siege.premises.clock.set(NOW + timedelta(hours=1))
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "expired"
