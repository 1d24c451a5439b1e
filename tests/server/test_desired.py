"""What agents should have, as they hear of it: approvals of what they already fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from headquarters import Headquarters, expect, script
from peer import Peer, join
from sqlalchemy import select
from world import NOW

from protocol.signing import Envelope
from protocol.timestamps import stamp
from server.services import desired
from server.store.tables import agents

ADD = "approvals.add"


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    """An agent that was connected once, after the first approval of a script was given."""
    await server.bring_in(script())
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


def another(server: Headquarters, **changes: Any) -> Envelope:
    about = server.about(script()) | {
        "tier": "observe",
        "grant": {"allow": [{"call": "fs.stat"}]},
        "issued": stamp(NOW),
    }
    return server.world.approval(**(about | changes))


def told(peer: Peer) -> list[list[dict[str, Any]]]:
    return [body["envelopes"] for method, body in peer.asked if method == ADD]


async def heard(server: Headquarters, peer: Peer) -> int:
    query = select(agents.c.approvals_through).where(agents.c.id == peer.agent)
    return int(await server.core.database.read(lambda connection: connection.execute(query).scalar_one()))


async def test_a_connected_agent_hears_of_an_approval_before_it_is_asked_to_run(
    server: Headquarters, peer: Peer
) -> None:
    """So that what was just allowed is allowed at once, and what was narrowed is narrow."""
    assert told(peer) == [], "what was given before it came, it gets with the bundle"
    given = another(server)
    expect(await server.approve(script(), given), 200)
    await server.post("/runs", {"script": "checks/disk", "target": "web-1"}, 201)
    await peer.wanted("run.start")
    assert told(peer) == [[given.to_plain()]]
    assert [method for method, _ in peer.asked].index(ADD) < [method for method, _ in peer.asked].index("run.start")


async def test_an_agent_that_was_away_hears_of_what_it_missed_once(server: Headquarters, peer: Peer) -> None:
    await peer.close()
    given = another(server)
    expect(await server.approve(script(), given), 200)
    peer.asked.clear()
    await peer.connect()
    await peer.wanted("schedules.set")
    assert told(peer) == [[given.to_plain()]]
    newest = await server.core.database.read(desired.newest_approval)
    while await heard(server, peer) != newest:  # it is written down after the last answer
        await server.core.database.write(lambda _: None)
    await peer.close()
    peer.asked.clear()
    await peer.connect()
    await peer.wanted("schedules.set")
    assert told(peer) == []


async def test_what_an_agent_could_not_keep_is_told_again(server: Headquarters, peer: Peer) -> None:
    await peer.close()
    expect(await server.approve(script(), another(server)), 200)
    peer.answers[ADD] = lambda _: ("unavailable", "the disk is full")
    for _ in range(2):
        peer.asked.clear()
        await peer.connect()
        await peer.wanted("schedules.set")
        assert len(told(peer)) == 1
        await peer.close()
    assert await heard(server, peer) == 1, "the one that was there when it was enrolled"


async def test_many_approvals_arrive_in_parts(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peer.close()
    monkeypatch.setattr(desired, "WITHDRAWALS_PART_BYTES", 1000)
    for number in range(3):
        given = another(server, grant={"allow": [{"call": "fs.stat", "paths": [f"/{number}/**"]}]})
        expect(await server.approve(script(), given), 200)
    peer.asked.clear()
    await peer.connect()
    await peer.wanted("schedules.set")
    assert list(map(len, told(peer))) == [1, 1, 1]


def frozen(peer: Peer) -> int:
    return len([method for method, _ in peer.asked if method == "freeze.set"])


@pytest.mark.parametrize("why", [("unavailable", "the disk is full"), ("rate_limited", "too much at once")])
async def test_what_an_agent_could_not_take_is_sent_again_until_it_does(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch, why: tuple[str, str]
) -> None:
    monkeypatch.setattr(desired, "AGAIN_S", 0.001)
    before = frozen(peer)
    peer.answers["freeze.set"] = lambda _: why if frozen(peer) < before + 3 else {}
    desired.push_soon(server.core, peer.agent)
    await peer.until(lambda: frozen(peer) == before + 3)
    await peer.wanted("schedules.set", 4)
    turn = server.core.links.turn(server.core.links.get(peer.agent))
    async with turn.lock:
        pass
    assert turn.again_s == 0.0
    assert not turn.is_again_planned


async def test_what_an_agent_refuses_for_what_it_says_is_not_sent_again(server: Headquarters, peer: Peer) -> None:
    peer.answers["freeze.set"] = lambda _: ("invalid_argument", "no such thing")
    await desired.push(server.core, peer.agent, server.core.links.get(peer.agent))
    assert not server.core.links.turn(server.core.links.get(peer.agent)).is_again_planned


async def test_it_is_sent_again_ever_more_rarely_and_not_over_another_link(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, go_on = list[float](), asyncio.Queue[None]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        peer.changed.set()
        await go_on.get()

    monkeypatch.setattr(desired, "asyncio", SimpleNamespace(sleep=sleep))  # and nobody else's
    peer.answers["freeze.set"] = lambda _: ("unavailable", "the disk is full")
    desired.push_soon(server.core, peer.agent)
    for _ in range(9):
        wanted = len(slept) + 1
        await peer.until(lambda many=wanted: len(slept) == many)
        go_on.put_nowait(None)
    assert slept[:8] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    await peer.until(lambda: len(slept) == 10)
    await peer.close()
    del peer.answers["freeze.set"]
    peer.asked.clear()
    await peer.connect()
    await peer.wanted("schedules.set")
    go_on.put_nowait(None)
    while any("_push_again" in repr(task) for task in server.core._tasks):
        await server.core.database.write(lambda _: None)
    assert frozen(peer) == 1


async def test_an_approval_that_could_not_be_taken_is_among_what_is_sent_again(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desired, "AGAIN_S", 0.001)
    peer.answers[ADD] = lambda _: ("unavailable", "the disk is full") if len(told(peer)) < 3 else {}
    given = another(server)
    expect(await server.approve(script(), given), 200)
    await peer.until(lambda: len(told(peer)) == 3)
    assert told(peer)[-1] == [given.to_plain()]
