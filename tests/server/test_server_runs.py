"""One-off runs and what agents are told: nothing runs that may not, no run is left without its end, order is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, refused, script
from peer import Message, Peer, join

from protocol.errors import TrustError
from protocol.ledger import Chain
from protocol.roster import TrustedRoster
from protocol.signing import Envelope, sign
from server import clock, limits
from server.services import agents, desired

DISK = script(more="parameters: {device: {type: string, pattern: '^[a-z]+$'}}\n")
RUN = {"script": "checks/disk", "target": "web-1"}


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    """A connected agent of a server with one approved script."""
    await server.bring_in(DISK)
    made = await join(server, env="prod")
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


async def run(server: Headquarters, status: int = 201, **more: Any) -> Any:
    return await server.post("/runs", RUN | more, status)


def end(chain: Chain, run: str, status: str = "ok", **data: Any) -> bytes:
    told = {"status": status, "reason": None} | data
    return chain.append(kind="run.end", time_us=9, mono_us=9, run=run, outcome=status, data=told)[1]


# asking ---------------------------------------------------------------------------------------------------------------


async def test_an_agent_is_told_what_to_run_and_its_records_tell_what_came_of_it(
    server: Headquarters, peer: Peer
) -> None:
    asked = asyncio.create_task(run(server, parameters={"device": "sda"}, reason="ticket 7", wait_s=10, timeout_s=5))
    body = await peer.wanted("run.start")
    assert body == {
        "run_id": body["run_id"], "digest": DISK.digest, "parameters": {"device": "sda"}, "principal": "admin",
        "reason": "ticket 7", "timeout_s": 5.0, "order": None,
    }  # fmt: skip
    await peer.send_records(1, [end(Chain(), body["run_id"], result=[1, "x"], output="out")])
    (told,) = (await asked)["runs"]
    assert (told["id"], told["status"], told["result"], told["output"]) == (body["run_id"], "ok", [1, "x"], "out")
    assert (told["agent"], told["purpose"], told["principal"]) == ("web-1", "ticket 7", "admin")
    assert await server.get(f"/runs/{told['id']}") == told
    (record,) = [item for item in await server.records() if item["call"] == "run.start"]
    assert record["arguments"]["reason"] == "ticket 7"


async def test_without_waiting_the_answer_comes_once_the_agent_has_it(server: Headquarters, peer: Peer) -> None:
    (told,) = (await run(server))["runs"]
    assert told["status"] == "queued"
    assert peer.asked[-1][1]["run_id"] == told["id"]


async def test_waiting_ends_when_its_time_is_over(server: Headquarters, peer: Peer) -> None:
    (told,) = (await run(server, wait_s=0.01))["runs"]
    assert told["status"] == "queued"
    assert not server.core.endings._waiting, "nobody is waited for any more"


async def test_what_the_agent_refuses_ends_the_run_with_its_reason(server: Headquarters, peer: Peer) -> None:
    peer.answers["run.start"] = lambda _: ("untrusted", "the tier is above the ceiling")
    (told,) = (await run(server, wait_s=10))["runs"]
    assert (told["status"], told["reason"]) == ("refused", "the tier is above the ceiling")


async def test_if_the_link_breaks_before_the_answer_nobody_knows(server: Headquarters, peer: Peer) -> None:
    """It may have begun. The agent's records say so later, and then they count."""
    peer.answers["run.start"] = lambda _: None
    asked = asyncio.create_task(run(server, wait_s=10))
    body = await peer.wanted("run.start")
    await peer.close()
    (told,) = (await asked)["runs"]
    assert (told["status"], told["finished"] is not None) == ("lost", True)
    await peer.connect()
    await peer.send_records(1, [end(Chain(), body["run_id"], result=7)])
    told = await server.get(f"/runs/{body['run_id']}")
    assert (told["status"], told["result"]) == ("ok", 7)


async def test_an_agent_that_does_not_answer_in_time(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.01)
    peer.answers["run.start"] = lambda _: None
    (told,) = (await run(server, wait_s=10))["runs"]
    assert told["status"] == "lost"
    assert "did not answer run.start" in told["reason"]


async def restarted(server: Headquarters, peer: Peer, known: Callable[[Message], Any]) -> dict[str, Any]:
    """Return a run that a server left when it ended, as the next one shows it once the agent was asked about it."""
    (told,) = (await run(server))["runs"]
    await peer.close()
    async with headquarters(server.directory, server.world, server.clock) as again:
        again.tokens = server.tokens
        assert (await again.get(f"/runs/{told['id']}"))["status"] == "queued", "nobody knows yet"
        back = Peer(again, peer.agent, peer.key)
        back.answers["run.known"] = known
        await back.connect()
        assert await back.wanted("run.known") == {"run_ids": [told["id"]]}
        await back.wanted("schedules.set")
        await again.core.database.write(lambda _: None)
        shown = dict(await again.get(f"/runs/{told['id']}"))
        await back.close()
    return shown


async def test_a_server_that_ended_leaves_no_run_without_its_end(server: Headquarters, peer: Peer) -> None:
    told = await restarted(server, peer, lambda _: {"known": []})
    assert (told["status"], told["reason"]) == ("lost", "the server ended before the agent had taken it up")
    assert told["finished"] is not None


async def test_a_run_that_its_agent_knows_is_not_lost_with_the_server(server: Headquarters, peer: Peer) -> None:
    """It goes on, or has ended; the agent's records tell which."""
    told = await restarted(server, peer, lambda body: {"known": body["run_ids"]})
    assert (told["status"], told["reason"], told["finished"]) == ("queued", None, None)


@pytest.mark.parametrize(
    "answer", [("invalid_argument", "this agent does not know the request"), {}, {"known": "all"}, {"known": [7]}]
)
async def test_an_agent_that_does_not_tell_which_runs_it_knows(server: Headquarters, peer: Peer, answer: Any) -> None:
    """An older one. What its records tell later counts all the same."""
    assert (await restarted(server, peer, lambda _: answer))["status"] == "lost"


async def test_the_record_of_a_refusal_ends_a_run_of_which_nobody_heard(server: Headquarters, peer: Peer) -> None:
    """The answer was for a server that is gone."""
    (told,) = (await run(server))["runs"]
    refused = Chain().append(
        kind="refusal", time_us=9, mono_us=9, run=told["id"], outcome="denied", verdict="deny",
        data={"reason": "denied", "message": "the host is frozen"},
    )[1]  # fmt: skip
    await peer.send_records(1, [refused])
    told = await server.get(f"/runs/{told['id']}")
    assert (told["status"], told["reason"], told["code"]) == ("refused", "the host is frozen", "denied")
    assert told["finished"] == "1970-01-01T00:00:00.000009Z"


async def test_the_record_of_a_refusal_changes_no_run_that_began(server: Headquarters, peer: Peer) -> None:
    """Somebody asked for its id again."""
    (told,) = (await run(server))["runs"]
    chain = Chain()
    began = chain.append(kind="run.start", time_us=8, mono_us=8, run=told["id"], data={})[1]
    refused = chain.append(kind="refusal", time_us=9, mono_us=9, run=told["id"], outcome="denied", data={})[1]
    await peer.send_records(1, [began, refused])
    assert (await server.get(f"/runs/{told['id']}"))["status"] == "running"


# refusing -------------------------------------------------------------------------------------------------------------


async def nothing_began(server: Headquarters) -> None:
    assert await server.pages("/runs") == []


async def test_an_agent_that_is_away_is_told_at_once(server: Headquarters, peer: Peer) -> None:
    await peer.close()
    told = refused(await server.ask("POST", "/runs", RUN), 409, "not_connected")
    assert told["detail"].startswith("web-1 is not connected (last seen 2026-11-23T12:00:")
    await nothing_began(server)
    await server.add_agent("web-2")
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "web-2"}), 409, "not_connected")
    assert "never seen" in told["detail"]


async def test_of_many_those_that_are_away_are_shown_as_such(server: Headquarters, peer: Peer) -> None:
    """A fleet is never all there; the others run."""
    await server.add_agent("web-2")
    told = (await run(server, target="web-*"))["runs"]
    assert [(item["agent"], item["status"]) for item in told] == [("web-1", "queued"), ("web-2", "refused")]
    assert (told[1]["reason"], told[1]["code"]) == ("the agent is not connected", "not_connected")
    assert told[0]["code"] is None


async def test_an_unknown_agent(server: Headquarters, peer: Peer) -> None:
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "db-1"}), 404, "not_found")
    assert told["detail"] == "there is no agent 'db-1'"
    for target in ("db-*", "env=test", "env!=prod"):
        refused(await server.ask("POST", "/runs", RUN | {"target": target}), 409, "conflict")
    await nothing_began(server)


async def test_a_removed_agent_is_not_meant(server: Headquarters, peer: Peer) -> None:
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    for target in ("web-1", peer.agent):
        refused(await server.ask("POST", "/runs", RUN | {"target": target}), 404, "not_found")
    refused(await server.ask("POST", "/runs", RUN | {"target": "*"}), 409, "conflict")


async def test_every_way_to_mean_an_agent(server: Headquarters, peer: Peer) -> None:
    for target in ("web-1", peer.agent, "*", "web-?", "env=prod", "env!=test", "-l env=prod", "web-[0-9]"):
        assert [item["agent"] for item in (await run(server, target=target))["runs"]] == ["web-1"], target


async def test_wrong_targets_name_what_is_wrong(server: Headquarters, peer: Peer) -> None:
    for target in ("a b", "env=", "=x", "env=a,,b=c", "-l ", "x" * 1_001, "a/b", "$(id)"):
        refused(
            await server.ask("POST", "/runs", RUN | {"target": target}), 422, "invalid_argument", parameter="target"
        )
    await nothing_began(server)


async def test_a_withdrawn_script(server: Headquarters, peer: Peer) -> None:
    expect(await server.withdraw(DISK), 200)
    refused(await server.ask("POST", "/runs", RUN), 403, "untrusted", reason="withdrawn")
    refused(await server.ask("POST", "/runs", RUN | {"version": "1.2.0"}), 403, "untrusted", reason="withdrawn")
    record = (await server.records(kind="refusal"))[-1]
    assert record["arguments"] == {"script": "checks/disk", "target": "web-1"}
    await nothing_began(server)


async def test_a_script_that_was_not_approved(server: Headquarters, peer: Peer) -> None:
    expect(await server.publish(script(name="checks/cpu")), 201)
    body = RUN | {"script": "checks/cpu"}
    refused(await server.ask("POST", "/runs", body), 403, "untrusted", reason="not_approved")
    await nothing_began(server)


async def test_a_script_whose_approval_has_ended(server: Headquarters, peer: Peer) -> None:
    server.clock.advance(days=8)
    refused(await server.ask("POST", "/runs", RUN), 403, "untrusted", reason="expired")


async def test_a_script_that_is_not_there(server: Headquarters, peer: Peer) -> None:
    refused(await server.ask("POST", "/runs", RUN | {"script": "checks/none"}), 404, "not_found")
    refused(await server.ask("POST", "/runs", RUN | {"version": "9.9.9"}), 404, "not_found")
    refused(await server.ask("GET", "/runs/none"), 404, "not_found")


async def test_the_newest_version_that_may_run_is_run(server: Headquarters, peer: Peer) -> None:
    """A newer one that waits for its review, or was withdrawn, is no reason to run nothing."""
    newer = await server.bring_in(script("return 2\n", version="2.0.0"))
    expect(await server.publish(script("return 3\n", version="2.1.0")), 201)
    assert (await run(server))["runs"][0]["version"] == "2.0.0"
    expect(await server.withdraw(newer), 200)
    assert (await run(server))["runs"][0]["version"] == "1.2.0"
    assert (await run(server, version="1.2.0"))["runs"][0]["digest"] == DISK.digest


async def test_wrong_parameters_are_named(server: Headquarters, peer: Peer) -> None:
    for parameters, name in (({"devise": "sda"}, "devise"), ({"device": 7}, "device"), ({"device": "SDA"}, "device")):
        answer = await server.ask("POST", "/runs", RUN | {"parameters": parameters})
        refused(answer, 422, "invalid_argument", parameter=name)
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    answer = await server.ask("POST", "/runs", RUN | {"parameters": {"device": deep}})
    refused(answer, 422, "invalid_argument", parameter="parameters")
    await nothing_began(server)


async def test_a_repository_that_somebody_changed(server: Headquarters, peer: Peer) -> None:
    server.core.repository._cache.clear()
    server.core.repository._git.references.delete("refs/tags/checks/disk@1.2.0")
    refused(await server.ask("POST", "/runs", RUN), 404, "not_found")
    await nothing_began(server)


async def test_too_many_at_once(server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TARGETS", 1)
    await server.add_agent("web-2")
    told = refused(await server.ask("POST", "/runs", RUN | {"target": "*"}), 409, "conflict")
    assert told["detail"] == "* means 2 agents (1 can run at once)"


# cancelling -----------------------------------------------------------------------------------------------------------


async def test_a_run_is_cancelled_on_its_agent(server: Headquarters, peer: Peer) -> None:
    (told,) = (await run(server))["runs"]
    await server.post(f"/runs/{told['id']}/cancel", None)
    assert peer.asked[-1] == ("run.cancel", {"run_id": told["id"]})
    assert "run.cancel" in [item["call"] for item in await server.records()]
    await peer.send_records(1, [end(Chain(), told["id"], "killed")])
    refused(await server.ask("POST", f"/runs/{told['id']}/cancel"), 409, "conflict")
    refused(await server.ask("POST", "/runs/none/cancel"), 404, "not_found")


async def test_a_run_of_an_agent_that_is_away_cannot_be_cancelled(server: Headquarters, peer: Peer) -> None:
    (told,) = (await run(server))["runs"]
    await peer.close()
    refused(await server.ask("POST", f"/runs/{told['id']}/cancel"), 409, "not_connected")


# what agents get ------------------------------------------------------------------------------------------------------


async def test_an_agent_gets_all_that_is_wanted_when_it_connects(server: Headquarters, peer: Peer) -> None:
    await server.post("/schedules", {"script": "checks/disk", "on": "web-*", "every": "1h"}, 201)
    await server.post("/agents/web-1/freeze", {"frozen": True, "reason": "moving"})
    await peer.close()
    peer.asked.clear()
    await peer.connect()
    await peer.wanted("schedules.set")
    asked = [method for method, _ in peer.asked]
    assert asked == ["roster.set", "withdrawals.set", "freeze.set", "secrets.set", "schedules.set"]
    wanted = dict(peer.asked)
    assert wanted["freeze.set"] == {"frozen": True, "reason": "moving"}
    (schedule,) = wanted["schedules.set"]["schedules"]
    assert (schedule["digest"], schedule["every_s"]) == (DISK.digest, 3600.0)


async def test_what_one_agent_refuses_keeps_nothing_else_from_it(server: Headquarters, peer: Peer) -> None:
    await peer.close()
    peer.asked.clear()
    peer.answers["roster.set"] = lambda _: ("untrusted", "rollback")
    await peer.connect()
    await peer.wanted("schedules.set")


async def test_an_older_wish_never_arrives_after_a_newer_one(server: Headquarters, peer: Peer) -> None:
    """Freezing must not be undone by a push that was begun before it and is slow."""
    told: list[bool] = []
    held: list[asyncio.Event] = []

    class Slow:
        """A link whose first answer takes its time."""

        async def request(
            self, method: str, body: dict[str, Any], timeout_s: float, *, whose: str | None = None
        ) -> dict[str, Any]:
            told.extend([body["frozen"]] if method == "freeze.set" else [])
            if not held:
                held.append(asyncio.Event())
                await held[0].wait()
            return {}

        async def is_alive(self, timeout_s: float) -> bool:
            return True

        async def close(self, code: int, reason: str) -> None:
            return

    slow = Slow()
    first = asyncio.create_task(desired.push(server.core, peer.agent, slow))
    while not held:
        await asyncio.sleep(0)
    await server.core.database.write(lambda connection: agents.freeze(connection, "web-1", True, "now"))
    second = asyncio.create_task(desired.push(server.core, peer.agent, slow))
    third = asyncio.create_task(desired.push(server.core, peer.agent, slow))
    await server.core.database.read(lambda _: None)
    held[0].set()
    await asyncio.gather(first, second, third)
    assert told == [False, True], "in order, and what nobody has begun to send yet is sent once"


async def test_more_withdrawals_than_a_frame_holds_arrive_in_parts(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet that is old has withdrawn much, and an agent that cannot be told all of it would run the rest."""
    monkeypatch.setattr(desired, "WITHDRAWALS_PART_BYTES", 2500)
    gone = [script(name=f"checks/old_{number}") for number in range(7)]
    for bundle in gone:
        expect(await server.publish(bundle), 201)
        expect(await server.withdraw(bundle), 200)
    core = server.core
    wanted = await core.database.read(lambda connection: desired.everything(core, connection, peer.agent))
    parts = [body["envelopes"] for method, body in wanted if method == "withdrawals.set"]
    assert len(parts) > 1
    assert sum(map(len, parts)) == len(gone)
    assert all(sum(len(json.dumps(each)) for each in part) < 3000 for part in parts)
    await peer.until(
        lambda: [body["envelopes"] for method, body in peer.asked if method == "withdrawals.set"][-1:] == parts[-1:]
    )


def test_one_envelope_that_is_larger_than_a_part_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desired, "WITHDRAWALS_PART_BYTES", 10)
    assert desired._parts(["x" * 6, "y" * 4, "z" * 30, "u"]) == [["x" * 6, "y" * 4], ["z" * 30], ["u"]]
    assert desired._parts([]) == [[]]


async def test_an_agent_that_was_away_over_changes_of_the_roots_is_led_to_the_newest_roster(
    server: Headquarters, peer: Peer
) -> None:
    """It trusts the roots of version 1; version 3 is signed by those of version 2 and its own."""
    world = server.world
    for version, signers in ((2, ("root", "r2")), (3, ("r2", "r3"))):
        roots = {"threshold": 1, "keys": [world.key(signers[-1]).public.to_text()]}
        body = world.roster_body(version, roots=roots)
        envelope = sign("roster", body, *[world.key(name) for name in signers]).to_plain()
        expect(await server.ask("PUT", "/roster", {"envelope": envelope}), 200)
    held = TrustedRoster({world.key("root").public.key_id: world.key("root").public}, 1)

    def take(body: dict[str, Any]) -> dict[str, Any] | tuple[str, str]:
        try:
            return {"version": held.update(Envelope.from_json(body["envelope"]), clock.now()).version}
        except TrustError as error:
            return "untrusted", error.message

    await peer.close()
    peer.asked.clear()
    peer.answers["roster.set"] = take
    await peer.connect()
    await peer.wanted("schedules.set")
    assert held.current is not None
    assert held.current.version == 3
    assert len([method for method, _ in peer.asked if method == "roster.set"]) == 4, "3, then 2, 3, and 3 as the newest"
