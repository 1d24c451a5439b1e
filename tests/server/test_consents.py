"""Questions of hosts at the server: seen by those who may, answered by approvers, never one's own, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from headquarters import Headquarters, refused, script
from peer import Peer, join

from protocol import link as events
from protocol.ledger import Chain
from server import questions
from server.services.discretion import PLACEHOLDER

NEW = {"agent": "web-1", "kind": "files", "tier": "inspect", "reason": "T-1"}


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


def question(server: Headquarters, **changes: Any) -> dict[str, Any]:
    now_us = server.clock.now_us()
    return {
        "id": "q_1", "text": "oli wants in", "about": "session", "session": "s_1", "run": "", "principal": "operator",
        "asked_us": now_us, "expires_us": now_us + 60_000_000, "may_server": True,
    } | changes  # fmt: skip


async def waiting(server: Headquarters) -> list[str]:
    return [item["id"] for item in await server.pages("/consents")]


async def test_a_question_is_seen_and_an_approvers_answer_reaches_the_host(server: Headquarters, peer: Peer) -> None:
    await peer.ask("consent.ask", question(server))
    (shown,) = await server.pages("/consents", role="approver")
    assert (shown["agent"], shown["text"], shown["may_grant"]) == ("web-1", "oli wants in", True)
    answer = await server.post("/consents/q_1", {"granted": True, "reason": "T-1"}, role="approver")
    assert answer["granted"] is True
    assert peer.asked[-1] == ("consent.answer", {"question": "q_1", "granted": True, "by": "approver"})
    (record,) = [item for item in await server.records() if item["call"] == "consent.answer"]
    assert (record["principal"], record["arguments"]["granted"]) == ("approver", True)
    refused(await server.ask("POST", "/consents/q_1", {"granted": True}), 404, "not_found")


async def test_a_question_of_a_private_script_does_not_name_it(server: Headquarters, peer: Peer) -> None:
    """Hosts say whose question it is, to people who may not know of the script."""
    await server.bring_in(script(name="checks/unspoken", more="visibility: private\n"))
    text = "the script checks/unspoken of oli: fs.write /etc/motd"
    await peer.ask("consent.ask", question(server, text=text))
    for role, told in (("approver", text.replace("checks/unspoken", PLACEHOLDER)), ("admin", text)):
        assert [each["text"] for each in await server.pages("/consents", role=role)] == [told]
    answered = await server.post("/consents/q_1", {"granted": False}, role="approver")
    assert "unspoken" not in answered["text"]


async def test_nobody_answers_his_own_question(server: Headquarters, peer: Peer) -> None:
    await peer.ask("consent.ask", question(server, principal="admin"))
    refused(await server.ask("POST", "/consents/q_1", {"granted": True}), 403, "denied")
    assert peer.asked[-1][0] != "consent.answer"
    roles = ("admin", "approver", "support")
    may = {role: [each["may_answer"] for each in await server.pages("/consents", role=role)] for role in roles}
    assert may == {"admin": [False], "approver": [True], "support": [False]}, "which is told before they try"


async def test_where_the_owner_alone_may_say_yes_an_approver_may_say_no(server: Headquarters, peer: Peer) -> None:
    await peer.ask("consent.ask", question(server, may_server=False))
    told = refused(await server.ask("POST", "/consents/q_1", {"granted": True}), 403, "denied")
    assert "outrider-agent consent grant q_1" in told["detail"]
    await server.post("/consents/q_1", {"granted": False})
    assert peer.asked[-1][1]["granted"] is False


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator", "support", "author", "reviewer"])
async def test_only_approvers_answer(server: Headquarters, peer: Peer, role: str) -> None:
    await peer.ask("consent.ask", question(server, principal="somebody"))
    refused(await server.ask("POST", "/consents/q_1", {"granted": False}, role=role), 403, "denied")


async def test_what_the_host_refuses_is_told(server: Headquarters, peer: Peer) -> None:
    await peer.ask("consent.ask", question(server))
    peer.answers["consent.answer"] = lambda _: ("denied", "only this host's owner may say yes here")
    refused(await server.ask("POST", "/consents/q_1", {"granted": True}), 403, "denied")
    assert await waiting(server) == ["q_1"]


async def test_a_question_ends_with_its_answer_its_time_or_its_link(server: Headquarters, peer: Peer) -> None:
    for number in (1, 2, 3):
        await peer.ask("consent.ask", question(server, id=f"q_{number}"))
    await peer.ask("consent.settled", {"id": "q_1", "outcome": "granted", "by": "root (on the host)"})
    assert await waiting(server) == ["q_2", "q_3"]
    server.clock.advance(seconds=61)
    assert await waiting(server) == []
    await peer.ask("consent.ask", question(server))
    await peer.close()
    assert await waiting(server) == []


async def test_a_host_cannot_fill_the_memory_nor_speak_for_another(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MAX_PER_AGENT", 2)
    answers = [await peer.ask("consent.ask", question(server, id=f"q_{number}")) for number in range(3)]
    assert [type(answer) for answer in answers] == [events.ResponseReceived] * 2 + [events.RequestFailed]
    assert isinstance(await peer.ask("consent.ask", question(server, id="q_1")), events.ResponseReceived)
    other = await join(server, "web-2")
    await other.connect()
    await other.ask("consent.settled", {"id": "q_1", "outcome": "denied", "by": ""})
    assert await waiting(server) == ["q_0", "q_1"]
    await other.close()


async def test_times_that_cannot_be_are_refused(server: Headquarters, peer: Peer) -> None:
    for changes in ({"expires_us": 0}, {"asked_us": 1 << 52}):
        answer = await peer.ask("consent.ask", question(server, **changes))
        assert isinstance(answer, events.RequestFailed)
    assert await waiting(server) == []


# sessions that wait --------------------------------------------------------------------------------------------------


async def asking(server: Headquarters, peer: Peer, wait_s: float) -> tuple[asyncio.Task[Any], str]:
    peer.answers["session.open"] = lambda _: {"asking": True}
    peer.asked.clear()
    task = asyncio.ensure_future(server.ask("POST", "/sessions", NEW | {"wait_s": wait_s}))
    await peer.until(lambda: peer.asked)
    return task, str(peer.asked[-1][1]["session"])


async def test_whoever_does_not_wait_sees_that_the_owner_is_asked(server: Headquarters, peer: Peer) -> None:
    task, session = await asking(server, peer, 0.0)
    shown = (await task).json()
    assert (shown["id"], shown["status"]) == (session, "asking")
    refused(await server.ask("POST", f"/sessions/{session}/calls", {"call": "fs.stat"}), 409, "conflict")


async def test_whoever_waits_hears_yes_or_no(server: Headquarters, peer: Peer) -> None:
    chain = Chain()
    about = {"time_us": 1_700_000_000_000_000, "mono_us": 1, "principal": "admin"}
    task, session = await asking(server, peer, 60.0)
    data = {"kind": "files", "longest_s": 60.0, "idle_s": 6.0}
    await peer.send_records(1, [chain.append(kind="session.open", session=session, data=data, **about)[1]])
    assert (await task).json()["status"] == "open"
    task, session = await asking(server, peer, 60.0)
    refusal = {"kind": "refusal", "outcome": "denied", "data": {"message": "root said no"}}
    await peer.send_records(2, [chain.append(session=session, **refusal, **about)[1]])
    assert "root said no" in refused(await task, 403, "denied")["detail"]
    assert (await server.get(f"/sessions/{session}"))["status"] == "refused"


async def test_a_refusal_of_another_agent_changes_nothing(server: Headquarters, peer: Peer) -> None:
    task, session = await asking(server, peer, 0.0)
    await task
    other = await join(server, "web-2")
    await other.connect()
    fields = {"kind": "refusal", "session": session, "time_us": 1_700_000_000_000_000, "mono_us": 1}
    await other.send_records(1, [Chain().append(**fields)[1]])  # type: ignore[arg-type]  # of different types
    assert (await server.get(f"/sessions/{session}"))["status"] == "asking"
    await other.close()
