"""A signature that somebody gave for one thing is used for another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from siege import CAREFUL, NOW, Siege, approved, order, script

from protocol.signing import payload_type, sign
from protocol.timestamps import stamp


@pytest.mark.parametrize("kind", ["publication", "withdrawal", "order", "roster", "revocation"])
async def test_another_statement_as_an_approval(siege: Siege, kind: str) -> None:
    """With its own type it is no approval; with the type of an approval its signature is wrong."""
    entry = approved(siege.world, script())
    body = {"type": kind, "name": "checks/disk", "version": "1.2.0", "digest": entry.bundle.digest, "tier": "observe"}
    other = sign(kind, body, siege.world.key("bob"))
    assert await siege.attempt(siege.offer(replace(entry, approvals=(other,)))) == "wrong_type"
    renamed = replace(other, payload_type=payload_type("approval"))
    assert await siege.attempt(siege.offer(replace(entry, approvals=(renamed,)))) == "bad_signature"


async def test_a_body_that_calls_itself_something_else(siege: Siege) -> None:
    """Somebody signed these bytes as an approval; what they say inside is that they are a publication."""
    entry = approved(siege.world, script())
    (approval,) = entry.approvals
    inside = replace(approval, payload=approval.payload.replace(b'"type":"approval"', b'"type":"publication"'))
    assert await siege.attempt(siege.offer(replace(entry, approvals=(siege.signed(inside, "bob"),)))) == "wrong_type"


async def test_a_publication_as_an_order(siege: Siege) -> None:
    siege.allow(CAREFUL)
    entry = approved(siege.world, script())
    as_order = siege.world.publication("oli", digest=entry.bundle.digest).to_plain()
    assert await siege.attempt(siege.offer(entry), order=as_order) == "wrong_type"


async def test_an_order_to_schedule_as_an_order_to_run(siege: Siege) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    spec = {"id": "sch_1", "digest": digest, "every_s": 60}
    signed = order(siege.world, digest, action="schedule", schedule=spec, issued=stamp(NOW))
    assert await siege.attempt(digest, order=signed) == "mix_and_match"


async def test_an_order_as_a_roster(siege: Siege) -> None:
    as_roster = sign("order", {"type": "order"}, siege.world.key("root")).to_plain()
    assert await siege.say("roster.set", {"envelope": as_roster}) == "untrusted"
    assert await siege.recorded("roster.set") == ["wrong_type"]
