"""Runs that wait for their hosts to be back: each runs once at most, and only while it still may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, refused, script
from peer import Peer, join
from sqlalchemy import select

from protocol.errors import UnavailableError
from protocol.ledger import Chain
from server import limits
from server.services import awaited
from server.store.tables import awaited_runs

DISK = script(more="parameters: {device: {type: string, pattern: '^[a-z]+$'}}\n")
DAY_S = 86_400.0
RUN = {"script": "checks/disk", "target": "web-1", "when_back_s": DAY_S, "reason": "T-7"}


@pytest.fixture
async def away(server: Headquarters) -> AsyncIterator[Peer]:
    """An enrolled agent that was never connected, of a server with one approved script."""
    await server.bring_in(DISK)
    made = await join(server, env="prod")
    yield made
    await made.close()


async def queue(server: Headquarters, **more: Any) -> dict[str, Any]:
    """Ask for a run of a host that is away and return it."""
    (told,) = (await server.post("/runs", RUN | more, 201))["runs"]
    return dict(told)


async def shown(server: Headquarters, told: dict[str, Any]) -> dict[str, Any]:
    return dict(await server.get(f"/runs/{told['id']}"))


async def until_ended(server: Headquarters, told: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a run without asking again and again."""
    watch = server.core.endings.watch(told["id"])
    try:
        found = await shown(server, told)
        if found["finished"] is None:
            await asyncio.wait_for(watch, 60)
    finally:
        server.core.endings.forget(told["id"], watch)
    return await shown(server, told)


async def left(server: Headquarters) -> list[str]:
    """Return the runs that wait, after all that is under way is written."""
    await server.core.database.write(lambda _: None)
    return [item["id"] for item in await server.pages("/runs") if item["waits_until"]]


def count(peer: Peer) -> int:
    return [method for method, _ in peer.asked].count("run.start")


async def settled(server: Headquarters, peer: Peer) -> None:
    """Wait until nothing is on its way to a host."""
    link = server.core.links.find(peer.agent)
    assert link is not None
    async with asyncio.timeout(60), server.core.links.turn(link).lock:
        await server.core.database.write(lambda _: None)


# waiting --------------------------------------------------------------------------------------------------------------


async def test_a_run_waits_and_runs_when_its_host_is_back(server: Headquarters, away: Peer) -> None:
    told = await queue(server, parameters={"device": "sda"}, wait_s=30, timeout_s=5)
    assert (told["status"], told["agent"], told["finished"]) == ("queued", "web-1", None)
    assert told["waits_until"].startswith("2026-11-24T12:00:0"), "asked at noon the day before; and not waited for"
    await away.connect()
    body = await away.wanted("run.start")
    assert body == {
        "run_id": told["id"], "digest": DISK.digest, "parameters": {"device": "sda"}, "principal": "admin",
        "reason": "T-7", "timeout_s": 5.0, "order": None,
    }  # fmt: skip
    methods = [method for method, _ in away.asked]
    assert methods.index("run.start") > methods.index("schedules.set"), "it decides by the newest roster"
    await settled(server, away)
    assert await left(server) == []
    end = Chain().append(
        kind="run.end", time_us=9, mono_us=9, run=told["id"], outcome="ok", data={"status": "ok", "result": 7}
    )[1]
    await away.send_records(1, [end])
    found = await shown(server, told)
    assert (found["status"], found["result"], found["waits_until"]) == ("ok", 7, None)
    (record,) = [item for item in await server.records() if item["call"] == "run.start"]
    assert record["arguments"]["waiting"] == 1


async def test_of_many_hosts_only_those_that_are_away_wait(server: Headquarters, away: Peer) -> None:
    await away.connect()
    await away.wanted("schedules.set")
    await server.add_agent("web-2")
    told = (await server.post("/runs", RUN | {"target": "web-*"}, 201))["runs"]
    assert [(item["agent"], item["status"], bool(item["waits_until"])) for item in told] == [
        ("web-1", "queued", False), ("web-2", "queued", True),
    ]  # fmt: skip
    assert count(away) == 1


async def test_they_come_in_the_order_in_which_they_were_asked_for(server: Headquarters, away: Peer) -> None:
    told = [(await queue(server))["id"] for _ in range(5)]
    await away.connect()
    await away.wanted("run.start", 5)
    assert [body["run_id"] for method, body in away.asked if method == "run.start"] == told


async def test_a_host_that_comes_back_while_it_is_written_down_gets_it(
    server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away when that was looked up, and connected before anything was kept for it."""
    real = awaited.keep
    await away.connect()
    await away.wanted("schedules.set")
    link = server.core.links.find(away.agent)
    assert link is not None

    def keep(*given: Any) -> Any:
        server.core.links.drop(away.agent, link)
        try:
            return real(*given)
        finally:
            server.core.links.put(away.agent, link)

    monkeypatch.setattr(awaited, "keep", keep)
    told = await queue(server)
    assert (await away.wanted("run.start"))["run_id"] == told["id"]


async def test_a_repeated_request_queues_nothing_more_and_does_not_wait(server: Headquarters, away: Peer) -> None:
    headers = {"Idempotency-Key": "once"}
    first = expect(await server.ask("POST", "/runs", RUN | {"wait_s": 60}, headers=headers), 201)
    server.core.database.submit(lambda _: None).result(60)
    again = expect(await server.ask("POST", "/runs", RUN | {"wait_s": 60}, headers=headers), 201)
    assert [item["id"] for item in again["runs"]] == [item["id"] for item in first["runs"]]
    assert len(await left(server)) == 1


async def test_a_server_that_was_started_anew_still_has_it(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    async with headquarters(server.directory, server.world, server.clock) as again:
        again.tokens = server.tokens
        assert again.core.unanswered == {}, "nobody has heard of it yet"
        back = Peer(again, away.agent, away.key)
        await back.connect()
        assert (await back.wanted("run.start"))["run_id"] == told["id"]
        await back.close()


# once at most -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [True, False])
async def test_if_the_link_breaks_before_the_answer_the_agent_is_asked_whether_it_knows_it(
    server: Headquarters, away: Peer, is_known: bool
) -> None:
    told = await queue(server)
    away.answers["run.start"] = lambda _: None
    await away.connect()
    await away.wanted("run.start")
    await away.close()
    assert (await shown(server, told))["status"] == "queued", "nobody knows yet"
    away.answers["run.start"] = lambda _: {}
    away.answers["run.known"] = lambda body: {"known": body["run_ids"] if is_known else []}
    await away.connect()
    assert await away.wanted("run.known") == {"run_ids": [told["id"]]}
    if not is_known:
        await away.wanted("run.start", 2)
    await settled(server, away)
    assert count(away) == (1 if is_known else 2)
    assert await left(server) == []
    await away.close()
    await away.connect()
    await away.wanted("schedules.set", 3)
    await settled(server, away)
    assert count(away) == (1 if is_known else 2), "never again"


@pytest.mark.parametrize("answer", [("invalid_argument", "does not know the request"), {}, {"known": "all"}])
async def test_an_agent_that_cannot_say_whether_it_knows_a_run_gets_it_no_second_time(
    server: Headquarters, away: Peer, answer: Any
) -> None:
    told = await queue(server)
    away.answers["run.start"] = lambda _: None
    await away.connect()
    await away.wanted("run.start")
    await away.close()
    away.answers["run.known"] = lambda _: answer
    await away.connect()
    found = await until_ended(server, told)
    assert (found["status"], found["code"], count(away)) == ("lost", "deadline", 1)


async def test_an_agent_that_may_have_forgotten_a_run_gets_it_no_second_time(server: Headquarters, away: Peer) -> None:
    """It remembers ended runs for a week."""
    told = await queue(server, when_back_s=20 * DAY_S)
    away.answers["run.start"] = lambda _: None
    await away.connect()
    await away.wanted("run.start")
    await away.close()
    server.clock.advance(seconds=awaited.ASKED_WITHIN_S + 1)
    away.answers["run.known"] = lambda _: {"known": []}
    await away.connect()
    assert (await until_ended(server, told))["status"] == "lost"
    assert count(away) == 1


@pytest.mark.parametrize("is_over", [True, False])
async def test_what_the_records_tell_of_is_not_sent_again(server: Headquarters, away: Peer, is_over: bool) -> None:
    """Whatever the agent remembers: its clock may have been set, and then runs of today are old."""
    told = await queue(server)
    away.answers["run.start"] = lambda _: None
    await away.connect()
    await away.wanted("run.start")
    chain = Chain()
    about = {"script": "checks/disk", "version": "1.2.0", "digest": DISK.digest}
    kinds = [("run.start", about), ("run.end", {"status": "ok"})][: 2 if is_over else 1]
    blobs = [
        chain.append(kind=kind, time_us=9, mono_us=9, run=told["id"], outcome="ok", data=data)[1]
        for kind, data in kinds
    ]  # fmt: skip
    await away.send_records(1, blobs)
    await away.close()
    away.answers["run.start"] = lambda _: {}
    away.answers["run.known"] = lambda _: {"known": []}
    await away.connect()
    await away.wanted("run.known")
    for _ in range(3):  # it is asked about in one turn, and would be sent in the next one
        await settled(server, away)
    assert (await left(server), count(away)) == ([], 1)
    assert (await shown(server, told))["status"] == ("ok" if is_over else "running")


async def test_an_agent_that_does_not_answer_in_time(
    server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await queue(server)
    away.answers["run.start"] = lambda _: None
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.05)
    await away.connect()
    found = await until_ended(server, told)
    assert (found["status"], await left(server)) == ("lost", [])


@pytest.mark.parametrize("step", ["_take", "_sent"])
async def test_what_the_disk_refused_goes_on_at_the_next_look(
    server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The host stays connected, so nothing else would come back to it: not for its time to be over either."""
    told, loop = await queue(server), asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        refusing = asyncio.Event()

        def refuse(*_given: Any) -> None:
            loop.call_soon_threadsafe(refusing.set)
            raise UnavailableError("the database cannot be written: it is full")

        patched.setattr(awaited, step, refuse)
        await away.connect()
        await asyncio.wait_for(refusing.wait(), 60)
        await settled(server, away)
    assert (await shown(server, told))["status"] == "queued"
    away.answers["run.known"] = lambda body: {"known": body["run_ids"]}
    await awaited.look(server.core)
    await away.wanted("run.start")
    if step == "_sent":
        await away.wanted("run.known")
    await settled(server, away)
    assert (await left(server), count(away)) == ([], 1)
    await awaited.look(server.core)
    await settled(server, away)
    assert count(away) == 1
    rows = await server.core.database.read(lambda c: c.execute(select(awaited_runs.c.run)).scalars().all())
    assert list(rows) == []


# while it still may -----------------------------------------------------------------------------------------------


async def ended_unsent(server: Headquarters, away: Peer, told: dict[str, Any], status: str, said: str) -> None:
    """Connect the host, and see that the run ended and was not sent."""
    await away.connect()
    found = await until_ended(server, told)
    assert (found["status"], found["started"], count(away)) == (status, None, 0), found
    assert said in found["reason"], found
    (record,) = [item for item in await server.records() if item["call"] == "run.give_up"]
    assert (record["arguments"]["run"], record["arguments"]["status"]) == (told["id"], status)


async def test_what_the_agent_refuses_ends_the_run_with_its_reason(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    away.answers["run.start"] = lambda _: ("denied", "the host is frozen")
    await away.connect()
    found = await until_ended(server, told)
    assert (found["status"], found["reason"], found["code"]) == ("refused", "the host is frozen", "denied")


async def test_a_script_that_was_withdrawn_meanwhile(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    expect(await server.withdraw(DISK), 200)
    await ended_unsent(server, away, told, "refused", "withdrawn")


async def test_a_token_that_was_revoked_meanwhile(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    server.tamper("UPDATE tokens SET revoked_us = 1 WHERE principal = 'admin'")
    server.tokens.clear()
    await ended_unsent(server, away, told, "refused", "the token with which it was asked for has ended")


GRANT = {
    "who": "viewer", "scripts": "checks/**", "target": "env=prod", "parameters": None, "actions": ["run"],
    "reason": "on call", "ttl_s": 3600.0,
}  # fmt: skip


async def test_under_a_grant_it_waits_no_longer_than_that_lasts(server: Headquarters, away: Peer) -> None:
    await server.post("/grants", GRANT, 201)
    told = await queue_as_viewer(server)
    assert told["waits_until"].startswith("2026-11-23T13:00:0")


@pytest.mark.parametrize("how", ["taken away", "relabelled"])
async def test_a_grant_that_does_not_allow_it_any_more(server: Headquarters, away: Peer, how: str) -> None:
    grant = await server.post("/grants", GRANT, 201)
    told = await queue_as_viewer(server)
    if how == "taken away":
        expect(await server.ask("DELETE", f"/grants/{grant['id']}"), 204)
    else:
        expect(await server.ask("PATCH", "/agents/web-1", {"labels": {"env": "test"}}), 200)
    said = "the grant that allowed it has ended" if how == "taken away" else "is not one of env=prod any more"
    await ended_unsent(server, away, told, "refused", said)


async def queue_as_viewer(server: Headquarters) -> dict[str, Any]:
    (told,) = (await server.post("/runs", RUN, 201, role="viewer"))["runs"]
    return dict(told)


async def test_who_may_not_run_it_may_not_queue_it(server: Headquarters, away: Peer) -> None:
    refused(await server.ask("POST", "/runs", RUN, role="viewer"), 403, "denied")
    assert await server.pages("/runs") == []


async def test_a_host_that_is_not_back_in_time(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    other = await queue(server, when_back_s=2 * DAY_S)
    server.clock.advance(seconds=DAY_S + 1)
    assert await server.core.database.write(lambda c: awaited.give_up(server.core, c)) == [told["id"]]
    found = await shown(server, told)
    assert (found["status"], found["code"]) == ("refused", "deadline")
    assert found["reason"].startswith("its host was not back by 2026-11-24T12:00:0")
    assert await left(server) == [other["id"]]


async def test_a_host_that_comes_too_late_before_anybody_looked(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    server.clock.advance(seconds=DAY_S + 1)
    await ended_unsent(server, away, told, "refused", "its host was not back by")


async def test_nothing_waits_for_a_host_that_was_removed(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    found = await shown(server, told)
    assert (found["status"], found["reason"], found["code"]) == ("refused", "its host was removed", "not_connected")


# cancelling -------------------------------------------------------------------------------------------------------


async def test_a_run_that_waits_is_cancelled_here(server: Headquarters, away: Peer) -> None:
    told = await queue(server)
    ended = await server.post(f"/runs/{told['id']}/cancel", None)
    assert (ended["status"], ended["reason"]) == ("killed", "cancelled by admin before its host was back")
    refused(await server.ask("POST", f"/runs/{told['id']}/cancel"), 409, "conflict")
    await away.connect()
    await away.wanted("schedules.set")
    await settled(server, away)
    assert count(away) == 0
    assert [item["call"] for item in await server.records()].count("run.cancel") == 1


async def test_what_may_have_begun_is_not_said_to_be_cancelled(server: Headquarters, away: Peer) -> None:
    """Its agent's records say what became of it, and count."""
    told = await queue(server)
    away.answers["run.start"] = lambda _: None
    await away.connect()
    await away.wanted("run.start")
    await away.close()
    ended = await server.post(f"/runs/{told['id']}/cancel", None)
    assert (ended["status"], ended["reason"]) == ("lost", "cancelled by admin; it may have begun before")
    await away.connect()
    end = Chain().append(kind="run.end", time_us=9, mono_us=9, run=told["id"], outcome="ok", data={"status": "ok"})[1]
    await away.send_records(1, [end])
    assert (await shown(server, told))["status"] == "ok"
    assert count(away) == 1


# bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when_back_s", [0, -1, limits.MAX_WHEN_BACK_S + 1, "long", float("inf")])
async def test_a_time_that_is_none_is_refused(server: Headquarters, away: Peer, when_back_s: Any) -> None:
    body = RUN | {"when_back_s": str(when_back_s) if when_back_s == float("inf") else when_back_s}
    refused(await server.ask("POST", "/runs", body), 422, "invalid_argument", parameter="when_back_s")
    assert await server.pages("/runs") == []


async def test_so_many_wait_for_one_host_and_so_many_in_all(
    server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused leaves nothing behind, for the other hosts neither."""
    monkeypatch.setattr(limits, "MAX_AWAITED_OF_HOST", 1)
    await server.add_agent("web-2")
    await queue(server)
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "web-*"}), 409, "conflict")
    assert told["detail"] == "1 runs wait for web-1 already"
    assert len(await server.pages("/runs")) == 1
    await queue(server, target="web-2")
    monkeypatch.setattr(limits, "MAX_AWAITED", 2)
    await server.add_agent("web-3")
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "web-3"}), 409, "conflict")
    assert told["detail"] == "2 runs wait for their hosts already; 2 can"


async def test_one_person_does_not_take_all_the_room(
    server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of one host nor of all: somebody else may have to look why that host was away."""
    monkeypatch.setattr(limits, "MAX_AWAITED_OF_HOST", 3)
    monkeypatch.setattr(limits, "MAX_AWAITED_OF_HOST_BY_ONE", 2)
    monkeypatch.setattr(limits, "MAX_AWAITED_OF_ONE", 3)
    for _ in range(2):
        await queue(server)
    told = refused(await server.ask("POST", "/runs", RUN), 409, "conflict")
    assert told["detail"] == "2 runs of admin wait for web-1 already"
    expect(await server.ask("POST", "/runs", RUN, role="operator"), 201)
    await server.add_agent("web-2")
    await queue(server, target="web-2")
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "web-2"}), 409, "conflict")
    assert told["detail"] == "3 runs of admin wait for their hosts already; 3 can"
    expect(await server.ask("POST", "/runs", RUN | {"target": "web-2"}, role="operator"), 201)


async def test_what_waits_is_small(server: Headquarters, away: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_AWAITED_BYTES", 250)
    await queue(server)
    refused(await server.ask("POST", "/runs", RUN | {"parameters": {"device": "a" * 100}}), 413, "too_large")


async def test_without_it_a_host_that_is_away_is_refused_as_before(server: Headquarters, away: Peer) -> None:
    refused(await server.ask("POST", "/runs", RUN | {"when_back_s": None}), 409, "not_connected")
    assert await server.pages("/runs") == []
