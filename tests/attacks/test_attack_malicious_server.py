"""The server itself is the attacker's: it lies, widens, lifts and impersonates; the host goes by what it has itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from siege import CAREFUL, TRUSTING, Siege, approved, order, script, until

from protocol.signing import PrivateKey


async def test_the_owners_ceiling_is_not_the_servers_to_lift(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script(tier="inspect")))
    siege.allow("highest_tier: observe\naccept_server_word: [run]\n")
    assert await siege.attempt(digest) == "above_ceiling"
    siege.allow(TRUSTING + "frozen: true\n")
    await siege.say("freeze.set", {"frozen": False, "reason": ""})
    assert await siege.attempt(digest) == "denied"


async def test_the_servers_word_is_not_an_operators(siege: Siege) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest, principal="oli") == "operator_signature_required"


async def test_an_order_for_other_parameters(siege: Siege) -> None:
    siege.allow(CAREFUL)
    more = "parameters: {device: {type: string}}\n"
    digest = siege.offer(approved(siege.world, script(more=more)))
    signed = order(siege.world, digest, parameters={"device": "sda"})
    assert await siege.attempt(digest, order=signed, parameters={"device": "sdb"}) == "mix_and_match"
    assert await siege.attempt(digest, order=signed, parameters={"device": "sda"}) == "ran"


async def test_a_grant_never_widens(siege: Siege) -> None:
    """Not even one that a reviewer signed: it is one layer of several, and all must allow."""
    source = "return fs.write('/tmp/outrider-attack', 'x')\n"
    entry = approved(siege.world, script(source), grant={"allow": [{"call": "fs.write", "paths": ["/**"]}]})
    assert await siege.attempt(siege.offer(entry)) in ("denied", "error")
    (end,) = [record for record in siege.records() if record.kind == "run.end"]
    assert "denied" in str(end.data)


async def test_fewer_reviewers_than_the_roots_want(siege: Siege) -> None:
    """The number is the roster's and the ceiling's; the server's own setting is for people to see."""
    await siege.roster(2, reviewers={"observe": 2})
    entry = approved(siege.world, script())
    digest = siege.offer(entry)
    assert await siege.attempt(digest) == "not_approved"
    second = siege.world.approval("cid", digest=digest)
    siege.offer(replace(entry, approvals=(*entry.approvals, second)))
    assert await siege.attempt(digest) == "ran"


@pytest.mark.parametrize(
    ("ceiling", "outcome"),
    [("labels: {role: mail}\n", "ran"), ("labels: {role: web}\n", "not_approved"), ("", "not_approved")],
)
async def test_labels_that_the_server_gives_a_host(siege: Siege, ceiling: str, outcome: str) -> None:
    """An approval for mail hosts counts on a host whose owner says so, wherever the server counts it."""
    entry = approved(siege.world, script(), grant={"labels": {"role": "mail"}})
    siege.allow(TRUSTING + ceiling)
    assert await siege.attempt(siege.offer(entry)) == outcome


async def test_another_server_in_its_place(siege: Siege) -> None:
    """The network is the attacker's too; the key that was pinned at enrolment is not."""
    await siege.stop()
    siege.server.key = PrivateKey.generate()
    siege.server.pipes.clear()
    await siege.start(is_met=False)
    await until(lambda: siege.server.pipe.closed)
    closed: Any = siege.server.pipe.closed
    assert closed[0] == 4403
    assert not [request for request in siege.server.requests[1:] if request.method == "status"]


async def test_statements_that_a_server_spoiled_do_not_stay_spoiled(siege: Siege) -> None:
    """When the server is the owner's again, the host asks for the true ones."""
    entry = approved(siege.world, script())
    siege.offer(replace(entry, publication=replace(entry.publication, signatures=())))
    assert await siege.attempt(entry.bundle.digest) == "unsigned"
    siege.offer(entry)
    assert await siege.attempt(entry.bundle.digest) == "ran"
