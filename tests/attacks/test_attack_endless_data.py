"""The attacker sends without end, to fill memory or disk, or so much of one thing that there is no room for another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from siege import NOW, Siege, approved, script, until

from agent import withdrawn
from protocol import link as events
from protocol.limits import MAX_APPROVALS, MAX_BUNDLE_BYTES, MAX_CREDIT_BYTES, MAX_LINK_FRAME_BYTES
from protocol.timestamps import stamp


async def test_a_bundle_without_end(siege: Siege, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken beyond the largest bundle that there can be; then the link is ended and another one begun."""
    entry = approved(siege.world, script())
    link, sent, on = siege.server.link, [0], siege.server._on
    assert link is not None

    def answer(request: events.RequestReceived) -> Mapping[str, Any]:
        pour(link.open("bundle", {"digest": request.body["digest"]}))
        return {"publication": entry.publication.to_plain(), "approvals": []}

    def pour(stream: int) -> None:
        sent[0] += link.send(stream, bytes(1 << 20))

    def event(happened: events.Event) -> None:
        if isinstance(happened, events.StreamWritable):
            pour(happened.id)
        else:
            on(happened)

    monkeypatch.setattr(siege.server, "on_request", answer)
    monkeypatch.setattr(siege.server, "_on", event)
    pipe = siege.server.pipe
    siege.server.ask("run.start", siege.wish(entry.bundle.digest))
    await until(lambda: pipe.closed)
    assert pipe.closed is not None
    assert pipe.closed[0] == 1009
    assert 2 * MAX_BUNDLE_BYTES < sent[0] <= 2 * MAX_BUNDLE_BYTES + MAX_CREDIT_BYTES


async def test_a_frame_without_end(siege: Siege) -> None:
    pipe = siege.server.pipe
    pipe.to_agent.put_nowait(bytes(MAX_LINK_FRAME_BYTES + 1))
    await until(lambda: pipe.closed)
    assert pipe.closed is not None
    assert pipe.closed[0] == 1009


async def test_more_statements_than_there_can_be(siege: Siege) -> None:
    entry = approved(siege.world, script())
    digest = siege.offer(replace(entry, approvals=entry.approvals * (MAX_APPROVALS + 1)))
    assert await siege.attempt(digest) == "protocol"


async def test_schedules_without_end(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script()))
    many = [{"id": f"sch_{number}", "digest": digest, "every_s": 60.0} for number in range(1001)]
    assert await siege.say("schedules.set", {"version": 1, "schedules": many}) == "invalid_argument"


async def test_withdrawals_that_fill_the_room_of_others(siege: Siege, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stolen key of an author withdraws as much as fits; what a reviewer withdraws must still find room."""
    monkeypatch.setattr(withdrawn, "MAX_OF_ONE_KEY", 3)
    digest = siege.offer(approved(siege.world, script()))
    flood = [siege.world.withdrawal("ann", digest=f"sha256:{number:064x}") for number in range(5)]
    assert await siege.withdraw(*flood, siege.world.withdrawal("bob", digest=digest)) == "too_large"
    assert await siege.recorded("withdrawals.set") == ["too_large"]
    assert await siege.attempt(digest) == "withdrawn"
    await siege.restart()
    assert await siege.attempt(digest) == "withdrawn"


async def test_one_revocation_in_many_disguises(siege: Siege, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures of strangers around a true one make no other statement of it."""
    monkeypatch.setattr(withdrawn, "MAX_KEPT", 2)
    digest = siege.offer(approved(siege.world, script()))
    true = siege.revocation(digest, "bob")
    strangers = [siege.revocation(digest, f"stranger {number}").signatures for number in range(4)]
    disguised = [replace(true, signatures=(*true.signatures, *more)) for more in strangers]
    assert await siege.withdraw(*disguised) == {}
    assert await siege.withdraw(siege.world.withdrawal("bob", digest=digest, issued=stamp(NOW))) == {}
    assert await siege.attempt(digest) == "withdrawn"
