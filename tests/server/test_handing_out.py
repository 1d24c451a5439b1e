"""Which host gets which bundle: what an order or a schedule names for it, and what that requires; nothing else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, script
from peer import Peer, join

from protocol.bundle import Bundle
from protocol.errors import NotFoundError
from protocol.ledger import Chain
from protocol.link import RequestFailed, ResponseReceived, StreamData, StreamFinished
from server import handing
from server.services import bundles, desired
from server.store.tables import runs

PRIVATE = "visibility: private\n"
NOT_THERE = "sha256:" + "0" * 64
RUN = {"script": "checks/disk", "target": "web-1"}


@pytest.fixture
async def disk(server: Headquarters) -> Bundle:
    return await server.bring_in(script(more=PRIVATE))


@pytest.fixture
async def peer(server: Headquarters, disk: Bundle) -> AsyncIterator[Peer]:
    """A connected host for which nothing names the bundle."""
    made = await join(server, env="prod")
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


async def fetched(peer: Peer, digest: str) -> Bundle | str:
    """Return the bundle that the server hands out, or the words in which it refuses."""
    answer = await peer.ask("bundle.get", {"digest": digest})
    if isinstance(answer, RequestFailed):
        return f"{answer.code} {answer.message.replace(digest, 'D')}"
    assert isinstance(answer, ResponseReceived)
    packed = b""
    while not isinstance(event := await asyncio.wait_for(peer.seen.get(), 60), StreamFinished):
        if isinstance(event, StreamData):
            packed += event.data
            assert peer.link is not None
            peer.link.grant(event.id, len(event.data))
            await peer.flush()
    return Bundle.unpack(packed)


async def gets(peer: Peer, bundle: Bundle) -> bool:
    found = await fetched(peer, bundle.digest)
    if isinstance(found, Bundle):
        found.verify(bundle.digest)
        return True
    assert found == "not_found there is no bundle D for this host"
    return False


async def schedule(server: Headquarters, **more: Any) -> str:
    body = {"script": "checks/disk", "on": "env=prod", "every": "1h"} | more
    return str((await server.post("/schedules", body, 201))["id"])


def began(digest: str, run: str = "r1", **data: Any) -> bytes:
    """A record of a host that claims to have begun a run."""
    told = {"script": "checks/disk", "version": "1.2.0", "digest": digest, "schedule": "s1", "fire_us": 9} | data
    return Chain().append(kind="run.start", time_us=9, mono_us=9, run=run, principal="admin", data=told)[1]


# attacks --------------------------------------------------------------------------------------------------------------


async def test_a_host_gets_no_bundle_that_nothing_names_for_it(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    """And what it asks for and is not there is refused in the same words, so that it learns nothing of the others."""
    assert await fetched(peer, disk.digest) == await fetched(peer, NOT_THERE)
    assert not await gets(peer, disk)
    other = await join(server, "web-2", env="test")
    await other.connect()
    await schedule(server)
    assert await gets(peer, disk)
    assert not await gets(other, disk), "the schedule is for another host"
    await server.post("/runs", RUN, 201)
    assert not await gets(other, disk), "so is the order"
    await other.close()


async def test_what_a_host_says_about_its_runs_opens_nothing(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    """It writes its records itself: with the digest that it wants, as begun, by a schedule or by hand."""
    await peer.send_records(1, [began(disk.digest, schedule=None, fire_us=None)])
    assert [item["status"] for item in await server.pages("/runs")] == ["running"]
    assert not await gets(peer, disk)


async def test_a_record_changes_no_digest_of_what_was_ordered(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    other = await server.bring_in(script("return 2\n", name="checks/other", more=PRIVATE))
    (told,) = (await server.post("/runs", RUN, 201))["runs"]
    await peer.send_records(1, [began(other.digest, told["id"])])
    assert await gets(peer, disk)
    assert not await gets(peer, other)


async def test_an_order_to_another_host_with_its_run_taken_over(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    """Who tells of a run that is another host's gets nothing by it."""
    other = await join(server, "web-2")
    await other.connect()
    await other.wanted("schedules.set")
    (told,) = (await server.post("/runs", RUN | {"target": "web-2"}, 201))["runs"]
    await peer.send_records(1, [began(disk.digest, told["id"])])
    assert not await gets(peer, disk)
    assert await gets(other, disk)
    await other.close()


# orders ---------------------------------------------------------------------------------------------------------------


async def test_an_order_lasts_until_its_run_has_ended(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    (told,) = (await server.post("/runs", RUN, 201))["runs"]
    assert await gets(peer, disk)
    chain = Chain()
    start = chain.append(kind="run.start", time_us=8, mono_us=8, run=told["id"], data={})[1]
    await peer.send_records(1, [start])
    assert await gets(peer, disk), "what it calls is fetched while it runs"
    end = chain.append(kind="run.end", time_us=9, mono_us=9, run=told["id"], outcome="ok", data={"status": "ok"})[1]
    await peer.send_records(2, [end])
    assert not await gets(peer, disk)


async def test_a_host_whose_link_broke_still_gets_what_it_was_told_to_run(
    server: Headquarters, peer: Peer, disk: Bundle
) -> None:
    """The order has arrived, its answer has not: to the server it is lost, to the host it is not."""
    peer.answers["run.start"] = lambda _: None
    asked = asyncio.create_task(server.post("/runs", RUN | {"wait_s": 10}, 201))
    await peer.wanted("run.start")
    await peer.close()
    (told,) = (await asked)["runs"]
    assert told["status"] == "lost"
    await peer.connect()
    assert await gets(peer, disk)


async def test_a_refused_run_names_nothing(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    peer.answers["run.start"] = lambda _: ("denied", "frozen")
    await server.post("/runs", RUN | {"wait_s": 10}, 201)
    assert not await gets(peer, disk)


async def test_a_run_that_waits_names_it_once_the_host_is_back(server: Headquarters, peer: Peer, disk: Bundle) -> None:
    await peer.close()
    await server.post("/runs", RUN | {"when_back_s": 60.0}, 201)
    await peer.connect()
    await peer.wanted("run.start")
    assert await gets(peer, disk)


async def test_a_server_that_was_started_anew_hands_out_the_same(
    server: Headquarters, peer: Peer, disk: Bundle
) -> None:
    other = await server.bring_in(script("return 2\n", name="checks/other", more=PRIVATE))
    await schedule(server, script="checks/other")
    await server.post("/runs", RUN, 201)
    await peer.close()
    async with headquarters(server.directory, server.world, server.clock) as again:
        back = Peer(again, peer.agent, peer.key)
        back.answers["run.known"] = lambda body: {"known": body["run_ids"]}
        await back.connect()
        assert await gets(back, other)
        assert await gets(back, disk)
        await back.close()


async def test_a_bundle_of_any_size(server: Headquarters, peer: Peer) -> None:
    """Far more than the credit that a stream begins with."""
    large = await server.bring_in(script(name="checks/large", files={"data": bytes(range(256)) * 8_000}))
    await server.post("/runs", RUN | {"script": "checks/large"}, 201)
    assert await gets(peer, large)


# schedules ------------------------------------------------------------------------------------------------------------


async def test_a_host_that_was_away_gets_what_its_schedules_need(
    server: Headquarters, peer: Peer, disk: Bundle
) -> None:
    """Before anything is pushed to it: what it has of its schedules may be what fires next."""
    await schedule(server)
    await peer.close()
    peer.answers["roster.set"] = lambda _: None  # the push hangs at its first step
    await peer.connect()
    assert await gets(peer, disk)


@pytest.mark.parametrize("how", ["paused", "removed", "relabelled"])
async def test_what_no_schedule_names_any_more(server: Headquarters, peer: Peer, disk: Bundle, how: str) -> None:
    made = await schedule(server)
    assert await gets(peer, disk)
    if how == "paused":
        expect(await server.ask("PATCH", f"/schedules/{made}", {"enabled": False}), 200)
    elif how == "removed":
        expect(await server.ask("DELETE", f"/schedules/{made}"), 204)
    else:
        expect(await server.ask("PATCH", "/agents/web-1", {"labels": {"env": "test"}}), 200)
    assert not await gets(peer, disk)


async def test_a_schedule_under_a_grant_names_it_as_long_as_the_grant_lasts(
    server: Headquarters, peer: Peer, disk: Bundle
) -> None:
    """By the clock, also before anybody has looked for grants that have ended."""
    grant = {
        "who": "viewer", "scripts": "checks/**", "target": "env=prod", "parameters": None,
        "actions": ["run", "schedule"], "reason": "on call", "ttl_s": 3600.0,
    }  # fmt: skip
    await server.post("/grants", grant, 201)
    body = {"script": "checks/disk", "on": "env=prod", "every": "1h"}
    await server.post("/schedules", body, 201, role="viewer")
    assert await gets(peer, disk)
    server.clock.advance(seconds=3601)
    assert not await gets(peer, disk)


# what is required -----------------------------------------------------------------------------------------------------


def pinning(*required: Bundle, name: str, source: str = "return 1\n") -> Bundle:
    pins = ", ".join(f"{{name: {each.manifest.name}, digest: '{each.digest}'}}" for each in required)
    return script(source, name=name, more=f"{PRIVATE}requires: [{pins}]\n")


async def test_what_is_required_comes_along_however_deep(server: Headquarters, peer: Peer) -> None:
    lowest = await server.bring_in(script("return 3\n", name="checks/lowest", more=PRIVATE))
    middle = await server.bring_in(pinning(lowest, name="checks/middle"))
    top = await server.bring_in(pinning(middle, name="checks/top"))
    beside = await server.bring_in(script("return 4\n", name="checks/beside", more=PRIVATE))
    assert not await gets(peer, lowest)
    await server.post("/runs", RUN | {"script": "checks/top"}, 201)
    for bundle in (top, middle, lowest):
        assert await gets(peer, bundle)
    assert not await gets(peer, beside)


async def test_what_is_required_and_is_published_later(server: Headquarters, peer: Peer) -> None:
    late = script("return 3\n", name="checks/late", more=PRIVATE)
    await server.bring_in(pinning(late, name="checks/early"))
    await schedule(server, script="checks/early")
    assert str(await fetched(peer, late.digest)).startswith("not_found there is no script of digest"), "not there yet"
    await server.bring_in(late)
    assert await gets(peer, late)


# without a slow look --------------------------------------------------------------------------------------------------


async def test_a_fetch_looks_through_schedules_and_bundles_once(
    server: Headquarters, peer: Peer, disk: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = await server.bring_in(script("return 3\n", name="checks/lowest", more=PRIVATE))
    await server.bring_in(pinning(library, name="checks/top"))
    await schedule(server, script="checks/top")
    looks: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: looks.append(name) or real(*given)

    monkeypatch.setattr(desired, "scheduled_digests", counted("schedules", desired.scheduled_digests))
    monkeypatch.setattr(bundles.script_service, "by_digest", counted("bundle", bundles.script_service.by_digest))
    assert await gets(peer, library)
    first = list(looks)
    assert first.count("schedules") == 1
    looks.clear()
    assert not await gets(peer, disk)
    assert not await gets(peer, disk)
    assert "schedules" not in looks
    assert looks.count("bundle") <= 1, "what the library requires was not asked before"


async def test_a_host_that_asks_for_anything_does_not_keep_the_others(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link takes 256 questions at once, and each may be a look through all that anything requires."""
    looked: list[str] = []
    loop, begun, goes_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def look(_core: Any, _connection: Any, agent: str, _digest: str) -> bool:
        looked.append(agent)
        loop.call_soon_threadsafe(begun.set)
        assert goes_on.wait(60)
        return False

    monkeypatch.setattr(bundles, "_is_named", lambda *_: False)
    monkeypatch.setattr(bundles, "_is_required", look)
    asked = [asyncio.ensure_future(bundles.require_for(server.core, "loud", NOT_THERE)) for _ in range(5)]
    await asyncio.wait_for(begun.wait(), 60)
    asked.append(asyncio.ensure_future(bundles.require_for(server.core, "quiet", NOT_THERE)))
    while len(server.core.handing.searching._waiters or ()) < 1:  # type: ignore[attr-defined]  # it waits for its turn
        await asyncio.to_thread(os.sched_yield)
    goes_on.set()
    for each in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(each, NotFoundError)
    assert looked == ["loud", "quiet", *["loud"] * 4]


def test_the_order_of_a_host_is_found_by_its_index(server: Headquarters) -> None:
    """Of a host with a million runs that ended none is read."""
    statement = bundles._ORDERED
    core = server.core

    def plan(connection: Any) -> str:
        made = statement._for(connection)
        cursor = connection.connection.cursor()
        rows = cursor.execute(f"EXPLAIN QUERY PLAN {made.sql}", tuple(made.sql.count("?") * [1])).fetchall()
        return " ".join(str(row[-1]) for row in rows)

    assert "USING INDEX runs_ordered" in core.database.read_now(plan).replace("COVERING ", "")
    assert "runs_ordered" in {index.name for index in runs.indexes}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "MAX_HOSTS", 2)
    monkeypatch.setattr(handing, "MAX_BUNDLES", 2)
    memory = handing.Handing()
    for number in range(3):
        memory.name(f"a{number}", 1, None, frozenset({"d"}))
        memory.require(f"d{number}", ())
    assert [memory.named(f"a{number}", 1, 0) for number in range(3)] == [None, {"d"}, {"d"}]
    assert [memory.required(f"d{number}") for number in range(3)] == [None, (), ()]
    memory.name("a2", 1, 50, frozenset())
    assert (memory.named("a2", 2, 0), memory.named("a2", 1, 50), memory.named("a2", 1, 49)) == (None, None, frozenset())
