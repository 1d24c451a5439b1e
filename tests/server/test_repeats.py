"""Idempotency-Key: the same again does nothing and answers the same; anything else under that key is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from headquarters import Headquarters, expect, headquarters, refused, script
from peer import Peer, join
from sqlalchemy import select

from protocol.ledger import Chain
from server import limits
from server.api import repeats
from server.store.tables import answers

EVERY = {"script": "checks/disk", "on": "*", "every": "1h"}


@pytest.fixture
async def ready(server: Headquarters) -> Headquarters:
    """A server with one approved script."""
    await server.bring_in(script())
    return server


async def add(server: Headquarters, key: str | None, body: Any = None, role: str = "admin") -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await server.ask("POST", "/schedules", body or EVERY, role=role, headers=headers)


async def count(server: Headquarters) -> int:
    return len(await server.pages("/schedules"))


async def kept(server: Headquarters) -> None:
    """Return when the answer is on disk, and no longer the request that is under way."""
    await server.core.database.write(lambda _: None)
    while server.core.repeats:
        await asyncio.sleep(0)


async def test_the_same_again_gets_the_same_answer_and_does_nothing(ready: Headquarters) -> None:
    first = await add(ready, "k1")
    for _ in range(2):
        await kept(ready)
        again = await add(ready, "k1")
        assert (again.status_code, again.json()) == (first.status_code, first.json()) == (201, first.json())
    assert await count(ready) == 1
    assert len([item for item in await ready.records() if item["call"] == "schedule.add"]) == 1


async def test_without_a_key_each_request_counts(ready: Headquarters) -> None:
    await add(ready, None)
    await add(ready, None)
    assert await count(ready) == 2


async def test_another_request_under_the_same_key_is_refused(ready: Headquarters) -> None:
    """The caller believes it is the first time; an answer to something else would be a lie."""
    expect(await add(ready, "k1"), 201)
    refused(await add(ready, "k1", EVERY | {"every": "2h"}), 409, "conflict")
    await kept(ready)
    refused(await add(ready, "k1", EVERY | {"every": "2h"}), 409, "conflict")
    other = await ready.ask("POST", "/runs", {"target": "*", "script": "x"}, headers={"Idempotency-Key": "k1"})
    refused(other, 409, "conflict")
    assert await count(ready) == 1


async def test_the_bytes_count_and_not_their_meaning(ready: Headquarters) -> None:
    """What was asked is what was sent; to judge two forms as equal is not ours."""
    headers = {**ready.authorization(), "Idempotency-Key": "k1", "Content-Type": "application/json"}
    bodies = [b'{"script":"checks/disk","on":"*","every":"1h"}', b'{"script": "checks/disk","on":"*","every":"1h"}']
    first, second = [await ready.api.post("/api/v1/schedules", content=body, headers=headers) for body in bodies]
    expect(first, 201)
    refused(second, 409, "conflict")


async def test_two_at_the_same_moment_share_one_execution(ready: Headquarters) -> None:
    found = await asyncio.gather(*[add(ready, "k1") for _ in range(8)])
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.json()["id"] for answer in found}) == 1
    assert await count(ready) == 1


async def test_of_two_different_ones_at_the_same_moment_one_is_done(ready: Headquarters) -> None:
    found = await asyncio.gather(add(ready, "k1"), add(ready, "k1", EVERY | {"every": "2h"}))
    assert sorted(answer.status_code for answer in found) == [201, 409]
    assert await count(ready) == 1


async def test_a_key_is_the_callers_own(ready: Headquarters) -> None:
    """Nobody reads the answer to another's request by guessing his key."""
    first = expect(await add(ready, "k1"), 201)
    second = expect(await add(ready, "k1", role="operator"), 201)
    assert first["id"] != second["id"]


async def test_what_failed_may_be_tried_again(ready: Headquarters) -> None:
    refused(await add(ready, "k1", EVERY | {"script": "checks/cpu"}), 404, "not_found")
    await ready.bring_in(script(name="checks/cpu"))
    expect(await add(ready, "k1", EVERY | {"script": "checks/cpu"}), 201)


async def test_a_failure_is_told_to_all_who_share_it(ready: Headquarters) -> None:
    found = await asyncio.gather(*[add(ready, "k1", EVERY | {"script": "checks/cpu"}) for _ in range(3)])
    assert {answer.status_code for answer in found} == {404}
    assert not ready.core.repeats


async def test_a_key_has_a_bounded_length(ready: Headquarters) -> None:
    refused(await add(ready, ""), 422, "invalid_argument", parameter="Idempotency-Key")
    refused(await add(ready, "x" * 256), 422, "invalid_argument", parameter="Idempotency-Key")
    expect(await add(ready, "x" * 255), 201)


async def test_it_outlives_a_restart(ready: Headquarters) -> None:
    """The answer is on disk and not only in memory; the client may well ask again because the server went away."""
    first = expect(await add(ready, "k1"), 201)
    await kept(ready)
    assert not ready.core.repeats
    stored = ready.core.database.read_now(lambda c: c.execute(select(answers)).all())
    assert [row.status for row in stored] == [201]
    assert expect(await add(ready, "k1"), 201) == first


async def test_answers_are_forgotten_after_a_day(ready: Headquarters) -> None:
    """Also while the server runs for months, or the table would grow for ever."""
    expect(await add(ready, "k1"), 201)
    await kept(ready)
    ready.clock.advance(seconds=limits.IDEMPOTENCY_KEPT_S - 60)
    expect(await add(ready, "k2"), 201)
    await kept(ready)
    ready.clock.advance(seconds=61)
    expect(await add(ready, "k1"), 201)
    await kept(ready)
    assert await count(ready) == 3
    stored = ready.core.database.read_now(lambda c: c.execute(select(answers.c.key)).scalars().all())
    assert sorted(key.split("\n")[1] for key in stored) == ["k1", "k2"]
    ready.clock.advance(seconds=limits.IDEMPOTENCY_KEPT_S - 30)
    await ready.core.database.write(repeats.forget_old)
    stored = ready.core.database.read_now(lambda c: c.execute(select(answers.c.key)).scalars().all())
    assert [key.split("\n")[1] for key in stored] == ["k1"]


async def test_a_caller_who_goes_away_stops_nothing(ready: Headquarters) -> None:
    """His connection broke; he will ask again under the same key, and hear what came of it."""
    asked = asyncio.create_task(add(ready, "k1"))
    while not ready.core.repeats:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    expect(await add(ready, "k1"), 201)
    assert await count(ready) == 1


async def test_a_token_that_may_no_more_repeats_nothing(ready: Headquarters) -> None:
    """The answer is given at the door that was asked, so roles and revocation count for a repeat too."""
    made = await ready.post("/tokens", {"principal": "mia", "roles": ["operator"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}", "Idempotency-Key": "k1"}
    expect(await ready.api.post("/api/v1/schedules", json=EVERY, headers=headers), 201)
    await kept(ready)
    expect(await ready.ask("DELETE", f"/tokens/{made['id']}"), 204)
    refused(await ready.api.post("/api/v1/schedules", json=EVERY, headers=headers), 401, "unauthenticated")


async def test_tokens_and_invitations_are_not_remembered(bare: Headquarters) -> None:
    """Their answer is a secret that is shown once, so it is not kept."""
    for path, body in (("/tokens", {"principal": "m", "roles": ["viewer"]}), ("/invites", {})):
        for _ in range(2):
            expect(await bare.ask("POST", path, body, headers={"Idempotency-Key": "k"}), 201)
    assert bare.core.database.read_now(lambda c: c.execute(select(answers)).all()) == []


# runs: what was begun is not begun again ------------------------------------------------------------------------------

RUN = {"script": "checks/disk", "target": "web-1"}


async def start(server: Headquarters, wait_s: float = 0.0, body: Any = None) -> httpx2.Response:
    headers = {"Idempotency-Key": "k1"}
    return await server.ask("POST", "/runs", (body or RUN) | {"wait_s": wait_s}, headers=headers)


async def test_a_run_is_not_begun_again_by_a_server_that_was_killed_before_its_answer(ready: Headquarters) -> None:
    """Nothing of memory is left, and the answer was never on disk; the key is, with the run, since the run is."""
    peer = await join(ready)
    await peer.connect()
    asked = asyncio.create_task(start(ready, 30.0))
    body = await peer.wanted("run.start")
    # What a second server finds is what a kill of the first would leave.
    async with headquarters(ready.directory, ready.world, ready.clock) as again:
        again.tokens = ready.tokens
        repeated = asyncio.create_task(start(again, 30.0))
        back = Peer(again, peer.agent, peer.key)
        back.answers["run.known"] = lambda _: {"known": []}  # it was killed before the agent had taken it up
        await back.connect()
        (told,) = expect(await repeated, 201)["runs"]
        assert (told["id"], told["status"]) == (body["run_id"], "lost")
        refused(await start(again, 30.0, RUN | {"reason": "other"}), 409, "conflict")
        assert not [method for method, _ in back.asked if method == "run.start"]
        await back.close()
    asked.cancel()
    await peer.close()


async def test_who_asks_again_after_that_waits_for_the_same_end(ready: Headquarters) -> None:
    peer = await join(ready)
    await peer.connect()
    first = asyncio.create_task(start(ready, 30.0))
    body = await peer.wanted("run.start")
    ready.core.repeats.clear()  # as if the server had been killed, without the noise of it
    second = asyncio.create_task(start(ready, 30.0))
    while len(ready.core.endings._waiting[body["run_id"]]) < 2:
        await asyncio.sleep(0)
    told = {"status": "ok", "reason": None, "result": 7}
    blob = Chain().append(kind="run.end", time_us=9, mono_us=9, run=body["run_id"], outcome="ok", data=told)[1]
    await peer.send_records(1, [blob])
    answers = [expect(await asked, 201)["runs"] for asked in (first, second)]
    assert answers[0] == answers[1]
    assert (answers[0][0]["status"], answers[0][0]["result"]) == ("ok", 7)
    assert len([method for method, _ in peer.asked if method == "run.start"]) == 1
    await peer.close()


async def test_what_was_refused_before_it_began_may_be_tried_again(ready: Headquarters) -> None:
    """No run was written down, so no key was."""
    peer = await join(ready)
    refused(await start(ready), 409, "not_connected")
    await peer.connect()
    (told,) = expect(await start(ready), 201)["runs"]
    assert expect(await start(ready), 201)["runs"] == [told]
    await peer.close()
