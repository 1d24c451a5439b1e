"""The attacker answers so slowly that nothing is ever finished, and hopes that everything waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from peers import statements
from siege import Siege, approved, script, until

from agent import limits
from protocol import link as events


@pytest.fixture
def streams() -> list[int]:
    """On which it sends them."""
    return []


@pytest.fixture
def trickle(siege: Siege, streams: list[int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A server that sends one byte of each bundle and nothing more; returns which ones were asked for."""
    asked: list[str] = []

    def answer(request: events.RequestReceived) -> Mapping[str, Any]:
        link, digest = siege.server.link, request.body["digest"]
        assert link is not None
        asked.append(digest)
        streams.append(link.open("bundle", {"digest": digest}))
        link.send(streams[-1], b"x")
        return {"publication": {}, "approvals": []}

    siege.server.on_request = answer
    monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 0.3)
    return asked


async def test_a_fetch_that_never_ends_is_given_up(siege: Siege, trickle: list[str]) -> None:
    """The bound is on all of it, not on the next byte."""
    digest = script().digest
    assert await siege.attempt(digest) == "deadline"
    assert trickle == [digest]


async def test_what_is_here_runs_while_another_one_is_held_up(
    siege: Siege, trickle: list[str], streams: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 60.0)  # the other one outlasts whatever this machine does meanwhile
    entry = approved(siege.world, script())
    siege.keep(entry)
    held_up = asyncio.create_task(siege.attempt(script("return 2\n").digest))
    await until(lambda: trickle)
    assert await siege.attempt(entry.bundle.digest) == "ran"
    assert not held_up.done()
    assert siege.server.link is not None
    siege.server.link.finish(streams[0])
    siege.server.flush()
    assert await held_up == "protocol", "one byte is no bundle"


async def test_what_arrived_of_a_bundle_is_not_believed_for_having_arrived(
    siege: Siege, trickle: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning was the attacker's; the rest is true; together they are not the bundle, so all is fetched anew."""
    entry = approved(siege.world, script())
    assert await siege.attempt(entry.bundle.digest) == "deadline"
    monkeypatch.setattr(limits, "FETCH_TIMEOUT_S", 60.0)
    packed, offsets = entry.bundle.pack(), []

    def answer(request: events.RequestReceived) -> Mapping[str, Any]:
        link, offset = siege.server.link, request.body.get("offset") or 0
        assert link is not None
        offsets.append(offset)
        stream = link.open("bundle", {"digest": request.body["digest"], "offset": offset})
        link.send(stream, packed[offset:])
        link.finish(stream)
        return statements(entry)

    siege.server.on_request = answer
    assert await siege.attempt(entry.bundle.digest) == "ran"
    assert offsets == [1, 0]


async def test_schedules_go_on_without_any_answer(siege: Siege, trickle: list[str]) -> None:
    entry = approved(siege.world, script())
    siege.keep(entry)
    spec = {"id": "sch_1", "digest": entry.bundle.digest, "every_s": 60.0}
    await siege.say("schedules.set", {"version": 1, "schedules": [spec]})
    siege.premises.clock.move(60.0)
    await until(lambda: any(each.kind == "run.end" and each.outcome == "ok" for each in siege.records()))
    assert trickle == []
