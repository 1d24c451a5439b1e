"""Who waits for a run hears of its end before it is on our disk; nobody ever reads that it has not happened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, script
from ledgers import stored
from peer import Peer, join

from protocol.errors import UnavailableError
from protocol.ledger import Chain
from server import limits
from server.endpoint.ahead import Held
from server.ledger import checked_batch
from server.store.database import READERS, Database

RUN = {"script": "checks/disk", "target": "web-1", "wait_s": 30}
KEY = {"Idempotency-Key": "k1"}


class Disk:
    """The writer's disk, which can be held; or refuse for ever, as after a kill."""

    def __init__(self, database: Database) -> None:
        self._run = database._run
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._why_not: str | None = None
        database._run = self._wait  # type: ignore[method-assign]  # between what is queued and what is written

    def hold(self) -> None:
        """Take nothing more."""
        self._may_go_on.clear()

    def _wait(self, connection: Any, group: Any) -> None:
        assert self._may_go_on.wait(60)
        if self._why_not is None:
            self._run(connection, group)
            return
        for command in group:
            command.future.set_exception(UnavailableError(self._why_not))

    def go_on(self) -> None:
        self._may_go_on.set()

    def refuse(self, why: str) -> None:
        self._why_not = why
        self._may_go_on.set()

    def mend(self) -> None:
        self._why_not = None


@pytest.fixture
def disk(server: Headquarters) -> Iterator[Disk]:
    """The server's."""
    made = Disk(server.core.database)
    yield made
    made.go_on()


@pytest.fixture
async def peer(server: Headquarters, disk: Disk) -> AsyncIterator[Peer]:
    """A connected agent of a server with one approved script."""
    await server.bring_in(script())
    server.token("auditor")
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    disk.go_on()
    await made.close()


def start_of(chain: Chain, run: str) -> bytes:
    return chain.append(kind="run.start", time_us=5, mono_us=5, run=run, data={"script": "checks/disk"})[1]


def end_of(chain: Chain, run: str, result: Any = 7) -> bytes:
    told = {"status": "ok", "reason": None, "result": result, "output": "out", "usage": {"wall_ms": 1.5}}
    return chain.append(kind="run.end", time_us=9, mono_us=9, run=run, outcome="ok", data=told)[1]


async def sent(peer: Peer, first: int, blobs: list[bytes]) -> None:
    """Send records without waiting for their acknowledgement."""
    assert peer.link is not None
    peer.link.send_records(first, blobs)
    await peer.flush()


async def begun(server: Headquarters, peer: Peer, disk: Disk, **headers: str) -> tuple[asyncio.Task[Any], str]:
    """Return the request for a run that its agent has taken up, and the run; the disk takes nothing more."""
    asked = asyncio.create_task(server.ask("POST", "/runs", RUN, headers=headers))
    body = await peer.wanted("run.start")
    while server.core.links.get(peer.agent)._waiting:  # type: ignore[attr-defined]  # its answer has arrived
        await asyncio.sleep(0)
    disk.hold()
    return asked, str(body["run_id"])


async def answered(asked: asyncio.Task[Any]) -> dict[str, Any]:
    (told,) = expect(await asyncio.wait_for(asked, 60), 201)["runs"]
    return dict(told)


async def readers_are_idle(server: Headquarters) -> None:
    """Return when every read that was handed to a thread has ended."""
    loop, met = asyncio.get_running_loop(), threading.Barrier(READERS)
    await asyncio.gather(*[loop.run_in_executor(server.core.database._readers, met.wait, 60) for _ in range(READERS)])


async def test_the_end_is_told_before_it_is_on_disk(server: Headquarters, peer: Peer, disk: Disk) -> None:
    asked, run = await begun(server, peer, disk)
    chain = Chain()
    await sent(peer, 1, [start_of(chain, run), end_of(chain, run, [1, {"x": "y"}])])
    told = await answered(asked)
    assert (told["status"], told["result"], told["output"]) == ("ok", [1, {"x": "y"}], "out")
    assert stored(server, peer.agent) == [], "it waits for the disk"
    assert not peer._acknowledged(1), "and the agent keeps it"
    disk.go_on()
    await peer.until(lambda: peer._acknowledged(2))
    assert await server.get(f"/runs/{run}") == told, "what was told is what is read"


async def test_an_end_without_its_beginning_in_the_same_frame(server: Headquarters, peer: Peer, disk: Disk) -> None:
    """Of a run that took its time, the beginning is on disk long since."""
    asked = asyncio.create_task(server.ask("POST", "/runs", RUN))
    run, chain = str((await peer.wanted("run.start"))["run_id"]), Chain()
    await peer.send_records(1, [start_of(chain, run)])
    disk.hold()
    await sent(peer, 2, [end_of(chain, run)])
    told = await answered(asked)
    disk.go_on()
    assert await server.get(f"/runs/{run}") == told
    assert told["started"] == "1970-01-01T00:00:00.000005Z"


@pytest.mark.parametrize("path", ["/runs/{run}", "/runs", "/records?agent=web-1", "/records/verify?agent=web-1"])
async def test_nobody_reads_that_it_has_not_happened(server: Headquarters, peer: Peer, disk: Disk, path: str) -> None:
    """Also another caller: what one was told is true for all from then on."""
    asked, run = await begun(server, peer, disk)
    await sent(peer, 1, [end_of(Chain(), run)])
    await answered(asked)
    reading = asyncio.create_task(server.get(path.format(run=run), role="auditor"))
    for _ in range(20):  # as far as it comes
        await asyncio.sleep(0)
    await readers_are_idle(server)
    assert not reading.done(), "it waits for what was told"
    disk.go_on()
    read = str(await reading)
    assert run in read or "'records': 1" in read, read


async def test_what_is_asked_again_under_its_key_is_what_was_told(server: Headquarters, peer: Peer, disk: Disk) -> None:
    asked, run = await begun(server, peer, disk, **KEY)
    await sent(peer, 1, [end_of(Chain(), run)])
    told = await answered(asked)
    server.core.repeats.clear()  # as if this server had not been asked before
    again = asyncio.create_task(server.ask("POST", "/runs", RUN, headers=KEY))
    for _ in range(20):
        await asyncio.sleep(0)
    disk.go_on()
    assert await answered(again) == told


# the server is killed in between --------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_between_answer_and_disk(server: Headquarters, peer: Peer, disk: Disk) -> None:
    """It does not know what was told, and says nothing else: the run is open until its agent is back."""
    asked, run = await begun(server, peer, disk, **KEY)
    blob = end_of(Chain(), run)
    await sent(peer, 1, [blob])
    told = await answered(asked)
    # What a second server finds is what a kill of the first would leave.
    async with headquarters(server.directory, server.world, server.clock) as again:
        again.tokens = server.tokens
        found = await again.get(f"/runs/{run}")
        assert (found["status"], found["finished"], found["reason"]) == ("queued", None, None)
        assert await again.records("web-1") == []
        repeated = asyncio.create_task(again.ask("POST", "/runs", RUN, headers=KEY))
        back = Peer(again, peer.agent, peer.key)
        back.answers["run.known"] = lambda body: {"known": body["run_ids"]}
        await back.connect()
        assert await back.wanted("run.known") == {"run_ids": [run]}
        await back.send_records(1, [blob])
        assert await again.get(f"/runs/{run}") == told
        assert await answered(repeated) == told, "the repeat waited for the same end, and began nothing"
        assert not [method for method, _ in back.asked if method == "run.start"]
        assert [blob for _, blob in stored(again, peer.agent)] == [blob], "taken in once"
        assert (await again.get("/records/verify"))["ok"]
        await back.close()
    disk.refuse("killed")


async def test_a_run_that_its_agent_never_had_ends_when_the_agent_is_back(
    server: Headquarters, peer: Peer, disk: Disk
) -> None:
    """The server was killed after it had written the run down, and before the agent heard of it."""
    peer.answers["run.start"] = lambda _: None
    asked = asyncio.create_task(server.ask("POST", "/runs", RUN))
    run = str((await peer.wanted("run.start"))["run_id"])
    async with headquarters(server.directory, server.world, server.clock) as again:
        again.tokens = server.tokens
        assert (await again.get(f"/runs/{run}"))["status"] == "queued"
        back = Peer(again, peer.agent, peer.key)
        back.answers["run.known"] = lambda _: {"known": []}
        await back.connect()
        await back.wanted("schedules.set")
        await again.core.database.write(lambda _: None)
        found = await again.get(f"/runs/{run}")
        assert (found["status"], found["reason"]) == ("lost", "the server ended before the agent had taken it up")
        assert not again.core.unanswered[peer.agent], "it is asked once"
        await back.close()
    asked.cancel()


# what is not told -----------------------------------------------------------------------------------------------------


async def test_a_batch_behind_another_one_waits_for_the_disk(server: Headquarters, peer: Peer, disk: Disk) -> None:
    """Whether it continues the chain is known only when the one before is taken in."""
    asked, run = await begun(server, peer, disk)
    chain = Chain()
    await sent(peer, 1, [start_of(chain, run)])
    await sent(peer, 2, [end_of(chain, run)])
    for _ in range(50):
        await asyncio.sleep(0)
    assert not asked.done()
    disk.go_on()
    assert (await answered(asked))["result"] == 7


async def test_an_end_that_does_not_continue_the_chain_is_told_to_nobody(
    server: Headquarters, peer: Peer, disk: Disk
) -> None:
    asked, run = await begun(server, peer, disk)
    await sent(peer, 1, [end_of(Chain(1, bytes([1]) * 32), run)])
    disk.go_on()
    await peer.until(lambda: peer.closed)
    assert not asked.done()
    assert (await server.get(f"/runs/{run}"))["status"] == "queued"
    asked.cancel()


async def test_an_agent_tells_no_end_of_another_ones_run(server: Headquarters, peer: Peer, disk: Disk) -> None:
    other = await join(server, "web-2")
    await other.connect()
    await other.wanted("schedules.set")
    asked, run = await begun(server, peer, disk)
    await sent(other, 1, [end_of(Chain(), run, "forged")])
    for _ in range(50):
        await asyncio.sleep(0)
    disk.go_on()
    await other.until(lambda: other._acknowledged(1))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not asked.done(), "nor does it end the waiting for it"
    await peer.send_records(1, [end_of(Chain(), run)])
    assert (await answered(asked))["result"] == 7
    await other.close()


async def test_a_disk_that_refuses_after_the_answer(server: Headquarters, peer: Peer, disk: Disk) -> None:
    """The link ends without an acknowledgement, so the agent sends it again; meanwhile the run is open, and no reader
    waits for ever.
    """
    asked, run = await begun(server, peer, disk)
    blob = end_of(Chain(), run)
    await sent(peer, 1, [blob])
    told = await answered(asked)
    disk.refuse("the database cannot be written: disk full")
    await peer.until(lambda: peer.closed)
    found = await server.get(f"/runs/{run}")
    assert (found["status"], found["finished"]) == ("queued", None)
    assert not server.core.database.is_behind
    disk.mend()
    await peer.close()
    await peer.connect()
    await peer.send_records(1, [blob])
    assert await server.get(f"/runs/{run}") == told


def test_only_what_continues_the_disk_is_checked() -> None:
    chain = Chain()
    blobs = [start_of(chain, "r1"), end_of(chain, "r1")]
    held = Held(0, bytes(32))
    assert held.check(2, blobs[1:]) is None, "a gap"
    assert held.check(1, [b"\xc0run.end"]) is None, "no record"
    assert held.check(1, blobs[:1]) is None, "no end in it"
    assert held.check(1, blobs) == checked_batch(blobs, 1, bytes(32))
    long = Chain()
    many = [start_of(long, "r") for _ in range(limits.CHECKED_AT_ONCE)]
    assert held.check(1, [*many, end_of(long, "r")]) is None, "too much for the event loop"
    (_, _, digest), _ = checked_batch(blobs, 1, bytes(32))
    held.taken(1, digest)
    assert held.check(2, blobs[1:]) == checked_batch(blobs[1:], 2, digest)
