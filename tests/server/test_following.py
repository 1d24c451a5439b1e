"""Following the records as a stream: everything once, in order, and only while the token is valid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters, MovedClock, expect, refused
from peer import join

from protocol.ledger import Chain
from server import limits
from server.signals import wait_for_any


class Stream:
    """A reader of ``/records/tail``; the client's transport waits for the end of an answer, which never comes."""

    def __init__(self, server: Headquarters, query: str = "", **headers: str) -> None:
        given = {"authorization": f"Bearer {server.token()}", **headers}
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._rest = ""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/api/v1/records/tail", "raw_path": b"/api/v1/records/tail", "query_string": query.encode(),
            "root_path": "", "headers": [(k.encode(), v.encode()) for k, v in given.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7443),
        }  # fmt: skip
        self._begun = False

        async def receive() -> dict[str, Any]:
            if not self._begun:
                self._begun = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        self.served = asyncio.create_task(server.app(scope, receive, self._messages.put))  # type: ignore[arg-type]  # as ASGI

    async def text(self) -> str | None:
        """Return the next block of the stream, None at its end."""
        async with asyncio.timeout(60):
            while "\n\n" not in self._rest:
                message = await self._messages.get()
                if message["type"] == "http.response.start":
                    assert message["status"] == 200, message
                    continue
                self._rest += message["body"].decode()
                if not message.get("more_body"):
                    return None
        block, _, self._rest = self._rest.partition("\n\n")
        return block

    async def records(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        found: list[tuple[int, dict[str, Any]]] = []
        while len(found) < count:
            block = await self.text()
            assert block is not None
            if not block.startswith(":"):
                position, data = block.split("\n")
                found.append((int(position.removeprefix("id: ")), json.loads(data.removeprefix("data: "))))
        return found

    async def close(self) -> None:
        self._gone.set()
        await asyncio.wait_for(asyncio.gather(self.served, return_exceptions=True), 60)


@pytest.fixture
async def agent(server: Headquarters) -> AsyncIterator[Any]:
    """A connected agent and its chain."""
    peer = await join(server)
    await peer.connect()
    yield peer
    await peer.close()


def blobs(chain: Chain, count: int) -> list[bytes]:
    return [chain.append(kind="event", time_us=n + 1, mono_us=n, call=f"c{n}")[1] for n in range(count)]


async def test_a_follower_gets_what_comes_next_in_order(server: Headquarters, agent: Any) -> None:
    chain = Chain()
    await agent.send_records(1, blobs(chain, 2))
    stream = Stream(server)
    assert await stream.text() == ": following"
    await agent.send_records(3, blobs(chain, 3))
    found = [record for _, record in await stream.records(3)]
    assert [record["sequence"] for record in found] == [3, 4, 5]
    assert found == (await server.records("web-1"))[2:]
    await stream.close()


async def test_a_broken_stream_is_gone_on_with(server: Headquarters, agent: Any) -> None:
    chain = Chain()
    await agent.send_records(1, blobs(chain, 5))
    stream = Stream(server, "agent=web-1", **{"last-event-id": "0"})
    found = await stream.records(5)
    await stream.close()
    again = Stream(server, "agent=web-1", **{"last-event-id": str(found[2][0])})
    assert await again.records(2) == found[3:]
    await again.close()


async def test_only_the_ledger_that_is_meant(server: Headquarters, agent: Any) -> None:
    stream = Stream(server, "agent=server", **{"last-event-id": "0"})
    await agent.send_records(1, blobs(Chain(), 1))
    own = await server.records()
    assert [record for _, record in await stream.records(len(own))] == own
    await stream.close()
    refused(await server.ask("GET", "/records/tail", agent="none"), 404, "not_found")


async def test_a_hostile_position_begins_at_the_end(server: Headquarters, agent: Any) -> None:
    chain = Chain()
    for number, position in enumerate(["9" * 30, "9" * 5_000, "-1", "x", "²", "1.5", ""], 1):
        stream = Stream(server, **{"last-event-id": position})
        assert await stream.text() == ": following", position
        await agent.send_records(number, blobs(chain, 1))
        assert [record["sequence"] for _, record in await stream.records(1)] == [number]
        await stream.close()


async def test_a_silent_stream_shows_that_it_lives(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAIL_HEARTBEAT_S", 0.001)
    stream = Stream(server)
    assert [await stream.text() for _ in range(3)] == [": following", ": nothing new", ": nothing new"]
    await stream.close()


async def test_a_revoked_token_ends_its_streams(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAIL_HEARTBEAT_S", 0.001)
    made = await server.post("/tokens", {"principal": "mia", "roles": ["auditor"]}, 201)
    stream = Stream(server, authorization=f"Bearer {made['token']}")
    assert await stream.text() == ": following"
    expect(await server.ask("DELETE", f"/tokens/{made['id']}"), 204)
    async with asyncio.timeout(60):
        while await stream.text() is not None:
            continue
    await stream.close()


async def test_a_token_that_runs_out_ends_its_streams_at_that_moment(
    server: Headquarters, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells of it, and nothing comes that would have anybody look."""
    waits = asyncio.Event()

    async def wait(*given: Any) -> bool:
        waits.set()
        return await wait_for_any(*given)

    monkeypatch.setattr(limits, "TAIL_HEARTBEAT_S", 1_000.0)
    monkeypatch.setattr("server.api.records.wait_for_any", wait)
    body = {"principal": "mia", "roles": ["auditor"], "ttl_s": 0.5}
    made = await server.post("/tokens", body, 201)
    stream = Stream(server, authorization=f"Bearer {made['token']}")
    assert await stream.text() == ": following"
    async with asyncio.timeout(60):
        await waits.wait()
    clock.advance(seconds=0.5)
    while (said := await stream.text()) is not None:
        assert said == ": nothing new"
    await stream.close()


async def test_the_end_of_the_server_ends_the_streams(server: Headquarters) -> None:
    stream = Stream(server)
    assert await stream.text() == ": following"
    server.core.is_ending.set()
    assert await stream.text() is None
    await stream.close()


async def test_a_reader_who_goes_away_leaves_nothing_behind(server: Headquarters) -> None:
    stream = Stream(server)
    assert await stream.text() == ": following"
    await stream.close()
    assert stream.served.done()
