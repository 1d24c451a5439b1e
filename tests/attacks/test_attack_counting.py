"""Thresholds are met by counting one thing twice: one key, one person, one signature, one approval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from siege import TRUSTING, Siege, approved, script

from protocol.signing import sign

TWO = TRUSTING + "reviewers: {compute: 2}\n"


async def test_one_approval_twice(siege: Siege) -> None:
    siege.allow(TWO)
    entry = approved(siege.world, script())
    assert await siege.attempt(siege.offer(replace(entry, approvals=entry.approvals * 2))) == "not_approved"


async def test_one_signature_twice(siege: Siege) -> None:
    siege.allow(TWO)
    entry = approved(siege.world, script())
    (once,) = entry.approvals
    doubled = replace(once, signatures=once.signatures * 2)
    assert await siege.attempt(siege.offer(replace(entry, approvals=(doubled,)))) == "not_approved"


async def test_two_keys_of_one_reviewer(siege: Siege) -> None:
    """A threshold is of people; two keys of one person are one."""
    siege.allow(TWO)
    one = [siege.world.member("ann"), siege.world.member("bob"), siege.world.member("cid") | {"name": "bob"}]
    await siege.roster(2, keys=one)
    entry = approved(siege.world, script())
    two = (*entry.approvals, siege.world.approval("cid", digest=entry.bundle.digest))
    assert await siege.attempt(siege.offer(replace(entry, approvals=two))) == "not_approved"


async def test_one_root_that_signs_twice(siege: Siege) -> None:
    two: dict[str, Any] = {"threshold": 2, "keys": [siege.world.key(name).public.to_text() for name in ("root", "r2")]}
    assert await siege.roster(2, "root", "r2", roots=two) == {"version": 2}
    envelope = sign("roster", siege.world.roster_body(3, roots=two), siege.world.key("root"))
    doubled = replace(envelope, signatures=envelope.signatures * 2)
    assert await siege.say("roster.set", {"envelope": doubled.to_plain()}) == "untrusted"
    assert await siege.recorded("roster.set") == ["unknown_key"]


async def test_one_root_that_is_listed_twice(siege: Siege) -> None:
    text = siege.world.key("root").public.to_text()
    assert await siege.roster(2, roots={"threshold": 2, "keys": [text, text]}) == "invalid_argument"


async def test_a_field_that_stands_twice(siege: Siege) -> None:
    """Two readers would take two different ones; ours takes none."""
    entry = approved(siege.world, script())
    (approval,) = entry.approvals
    payload = approval.payload.replace(b'{"digest"', b'{"tier":"compute","digest"', 1)
    twice = sign("approval", {"type": "approval"}, siege.world.key("bob"))
    doubled = siege.signed(replace(twice, payload=payload), "bob")
    assert await siege.attempt(siege.offer(replace(entry, approvals=(doubled,)))) == "malformed"
