"""Sessions of people at the server: who may, what the agent is told, and what every answer of it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, refused, script
from peer import Peer, join

from protocol import limits as wire
from protocol.ledger import Chain
from server import limits
from server.services import live, runs
from server.sessions.recording import Recording
from server.sessions.terminal import LiveTerminal

NEW = {"agent": "web-1", "kind": "files", "tier": "inspect", "reason": "T-1"}


@pytest.fixture
async def peer(server: Headquarters) -> AsyncIterator[Peer]:
    made = await join(server)
    await made.connect()
    await made.wanted("schedules.set")
    yield made
    await made.close()


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def opened(server: Headquarters, role: str = "admin", **more: Any) -> dict[str, Any]:
    return dict(await server.post("/sessions", NEW | more, 201, role=role))


def told(chain: Chain, kind: str, session: str, **more: Any) -> bytes:
    data = {"kind": "files", "tier": "inspect", "longest_s": 60.0, "idle_s": 6.0, **more.pop("data", {})}
    fields: dict[str, Any] = {"kind": kind, "session": session, "principal": "admin", "data": data, **more}
    return chain.append(time_us=1_700_000_000_000_000, mono_us=1, **fields)[1]


async def test_a_session_is_written_down_before_the_agent_hears_of_it(server: Headquarters, peer: Peer) -> None:
    session = await opened(server, grant={"deny": [{"call": "fs.read"}]}, idle_s=5.0)
    method, body = peer.asked[-1]
    assert method == "session.open"
    assert body == {
        "session": session["id"], "kind": "files", "tier": "inspect", "principal": "admin", "reason": "T-1",
        "grant": {"deny": [{"call": "fs.read"}]}, "idle_s": 5.0, "longest_s": None, "order": None,
        "access": None, "users": None,
    }  # fmt: skip
    assert (session["status"], session["purpose"], session["agent"]) == ("open", "T-1", "web-1")
    (record,) = [item for item in await server.records() if item["call"] == "session.open"]
    assert (record["principal"], record["arguments"]["session"]) == ("admin", session["id"])


async def test_the_agents_records_say_when_it_began_and_ended(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    chain = Chain()
    await peer.send_records(1, [told(chain, "session.open", session["id"])])
    shown = await server.get(f"/sessions/{session['id']}")
    assert (shown["status"], shown["longest_s"], shown["idle_s"]) == ("open", 60.0, 6.0)
    end = told(chain, "session.close", session["id"], outcome="killed", data={"reason": "idle", "calls": 7})
    await peer.send_records(2, [end])
    shown = await server.get(f"/sessions/{session['id']}")
    assert (shown["status"], shown["reason"], shown["calls"]) == ("killed", "idle", 7)


async def test_another_agents_record_changes_nothing(server: Headquarters, peer: Peer) -> None:
    """An agent that was taken over must not end what goes on elsewhere."""
    session = await opened(server)
    other = await join(server, "web-2")
    await other.connect()
    await other.send_records(1, [told(Chain(), "session.close", session["id"], outcome="ok")])
    assert (await server.get(f"/sessions/{session['id']}"))["status"] == "open"
    await other.close()


@pytest.mark.parametrize("wrong", ["abc", -1, 1e308, 1 << 63, None, [1], {"s": 1}, True])
async def test_what_an_agent_tells_that_can_be_no_time_is_none(server: Headquarters, peer: Peer, wrong: Any) -> None:
    """It is reckoned with when somebody joins, and stands in lists that all read."""
    session, chain = await opened(server), Chain()
    said = {"longest_s": wrong, "idle_s": wrong, "calls": wrong, "consented": [wrong]}
    await peer.send_records(1, [told(chain, "session.open", session["id"], data=said)])
    (shown,) = (await server.get("/sessions"))["items"]
    assert (shown["status"], shown["longest_s"], shown["idle_s"], shown["consented"]) == ("open", None, None, None)
    assert shown["calls"] is None or shown["calls"] == 1 << 63


async def test_what_the_agent_refuses_is_refused_with_its_reason(server: Headquarters, peer: Peer) -> None:
    peer.answers["session.open"] = lambda _: ("untrusted", "an operator must sign the order")
    answer = refused(await server.ask("POST", "/sessions", NEW), 403, "untrusted")
    assert answer["detail"] == "an operator must sign the order"
    (session,) = await server.pages("/sessions")
    assert (session["status"], session["reason"]) == ("refused", "an operator must sign the order")


async def test_an_agent_that_is_away_is_told_at_once(server: Headquarters, peer: Peer) -> None:
    await peer.close()
    refused(await server.ask("POST", "/sessions", NEW), 409, "not_connected")
    assert await server.pages("/sessions") == []


async def test_if_nobody_knows_it_is_lost_until_the_records_say_more(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.01)
    peer.answers["session.open"] = lambda _: None
    assert (await server.ask("POST", "/sessions", NEW)).status_code == 504
    (session,) = await server.pages("/sessions")
    assert session["status"] == "lost"


async def test_a_server_that_ended_leaves_no_session_in_between(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    async with headquarters(server.directory, server.world, server.clock) as again:
        again.tokens = server.tokens
        assert (await again.get(f"/sessions/{session['id']}"))["status"] == "open", "the agent still has it"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [({"tier": "root"}, "tier"), ({"kind": "shell"}, "kind"), ({"idle_s": 0.0}, "idle_s"), ({"agent": ""}, "agent")],
)
async def test_bad_input_is_named(server: Headquarters, peer: Peer, wrong: dict[str, Any], where: str) -> None:
    answer = refused(await server.ask("POST", "/sessions", NEW | wrong), 422, "invalid_argument")
    assert where in str(answer)


# calls ---------------------------------------------------------------------------------------------------------------


async def test_a_call_carries_bytes_both_ways(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    peer.answers["session.call"] = lambda body: {"value": {"got": body["arguments"]["data"], "n": [1, b"\xff"]}}
    body = {"call": "fs.write", "arguments": {"data": {"$bytes": "AP8="}}}
    answer = await server.post(f"/sessions/{session['id']}/calls", body)
    assert peer.asked[-1] == (
        "session.call", {"session": session["id"], "call": "fs.write", "arguments": {"data": b"\x00\xff"}},
    )  # fmt: skip
    assert answer == {"value": {"got": {"$bytes": "AP8="}, "n": [1, {"$bytes": "/w=="}]}}


@pytest.mark.parametrize(
    ("code", "status"),
    [("denied", 403), ("not_found", 404), ("invalid_argument", 422), ("conflict", 409), ("unavailable", 503)],
)
async def test_what_a_call_came_to_is_the_answer(server: Headquarters, peer: Peer, code: str, status: int) -> None:
    session = await opened(server)
    peer.answers["session.call"] = lambda _: (code, "because")
    answer = refused(await server.ask("POST", f"/sessions/{session['id']}/calls", {"call": "fs.stat"}), status, code)
    assert "because" in answer["detail"]


async def test_only_who_opened_a_session_uses_it(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    path, body = f"/sessions/{session['id']}/calls", {"call": "fs.stat"}
    refused(await server.ask("POST", path, body, role="support"), 403, "denied")
    assert peer.asked[-1][0] == "session.open"


@pytest.mark.parametrize("value", [{"$bytes": "?"}, {"$bytes": 1}, nested(20)])
async def test_values_that_cannot_be_sent_are_refused_here(server: Headquarters, peer: Peer, value: Any) -> None:
    session = await opened(server)
    body = {"call": "fs.write", "arguments": {"data": value}}
    refused(await server.ask("POST", f"/sessions/{session['id']}/calls", body), 422, "invalid_argument")
    assert peer.asked[-1][0] == "session.open"


async def test_a_session_that_is_over_makes_no_calls(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    await peer.send_records(1, [told(Chain(), "session.close", session["id"], outcome="ok")])
    refused(await server.ask("POST", f"/sessions/{session['id']}/calls", {"call": "fs.stat"}), 409, "conflict")
    closed = await server.post(f"/sessions/{session['id']}/close", {})
    assert closed["status"] == "ended"
    assert peer.asked[-1][0] == "session.open", "there is nothing to close"


async def test_closing_tells_the_agent_and_is_on_record(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    await server.post(f"/sessions/{session['id']}/close", {"reason": "done"})
    assert peer.asked[-1] == ("session.close", {"session": session["id"], "reason": "done"})
    assert [item for item in await server.records() if item["call"] == "session.close"]


async def test_a_terminal_that_has_ended_keeps_nobody_from_editing(
    server: Headquarters, peer: Peer, tmp_path: Path
) -> None:
    """Its recording is sealed after its end, and until then the server knows of it: it was no terminal of theirs."""
    session = await opened(server, kind="terminal")
    row = await server.core.database.read(lambda connection: live.find(connection, session["id"]))
    terminal = LiveTerminal(row, Recording(tmp_path / "recorded", {}), None, keeps_input=False, moderators=0)
    server.core.terminals[session["id"]] = terminal
    refused = await server.post("/sessions", NEW | {"beside": session["id"]}, 422)
    assert "you are in no terminal" in refused["detail"]
    terminal.exit = {"code": 0}
    await opened(server, beside=session["id"])


async def test_only_its_owner_or_a_moderator_closes_a_session(server: Headquarters, peer: Peer) -> None:
    session = await opened(server)
    path = f"/sessions/{session['id']}/close"
    for role in ("support", "operator"):
        refused(await server.ask("POST", path, {"reason": "no"}, role=role), 403, "denied")
    assert peer.asked[-1][0] == "session.open"
    mine = await server.post("/sessions", NEW, 201, role="support")
    await server.post(f"/sessions/{mine['id']}/close", {}, role="support")
    assert peer.asked[-1] == ("session.close", {"session": mine["id"], "reason": "closed by support"})
    await server.post(path, {}, role="moderator")
    assert peer.asked[-1] == ("session.close", {"session": session["id"], "reason": "closed by moderator"})


# what many calls cost others --------------------------------------------------------------------------------------


def asked_at_once(server: Headquarters, session: str, role: str, count: int) -> list[asyncio.Task[Any]]:
    """Begin calls that their host does not answer."""
    body = {"call": "proc.wait_for", "arguments": {}}
    path = f"/sessions/{session}/calls"
    return [asyncio.create_task(server.ask("POST", path, body, role=role)) for _ in range(count)]


async def test_whoever_has_many_calls_under_way_keeps_no_freeze_from_their_host(
    server: Headquarters, peer: Peer
) -> None:
    """A call is answered when it is done. With as many as a link has room for, nothing else would reach the host."""
    peer.answers["session.call"] = lambda _: None
    sessions = {role: await opened(server, role=role) for role in ("support", "operator")}
    tasks = []
    for role, session in sessions.items():
        tasks += asked_at_once(server, session["id"], role, wire.MAX_REQUESTS)
    refusals = 2 * wire.MAX_REQUESTS - limits.MAX_ASKED_OF_PEOPLE
    async with asyncio.timeout(60):
        while sum(task.done() for task in tasks) < refusals:
            await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    assert {task.result().status_code for task in tasks if task.done()} <= {429, 503}
    await peer.until(lambda: [method for method, _ in peer.asked].count("session.call") == limits.MAX_ASKED_OF_PEOPLE)
    await server.post("/agents/web-1/freeze", {"frozen": True, "reason": "now"})
    await peer.until(lambda: ("freeze.set", {"frozen": True, "reason": "now"}) in peer.asked)
    grants = {(await server.get(f"/sessions/{each['id']}"))["access"] for each in sessions.values()}
    for grant in grants:
        expect(await server.ask("DELETE", f"/access/{grant}"), 200)
    wanted = {each["id"] for each in sessions.values()}
    await peer.until(lambda: {body["session"] for method, body in peer.asked if method == "session.close"} == wanted)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_goes_on_at_a_host_that_is_removed_is_over(server: Headquarters, peer: Peer) -> None:
    """It tells of no end any more: sessions stood open for ever, and their terminals were looked for every 5 s."""
    await server.bring_in(script())
    session = await opened(server)
    run = (await server.post("/runs", {"script": "checks/disk", "target": "web-1"}, 201))["runs"][0]
    other = await join(server, "web-2")
    await other.connect()
    kept = await opened(server, agent="web-2")
    assert (await server.get("/status"))["runs_under_way"] == 1
    waiting = asyncio.create_task(runs.again(server.core, [run["id"]], 60))
    expect(await server.ask("DELETE", "/agents/web-1"), 204)
    async with asyncio.timeout(60):
        (ended,) = await waiting
    assert (ended["status"], ended["reason"]) == ("lost", "its host was removed")
    shown = await server.get(f"/sessions/{session['id']}")
    assert (shown["status"], shown["reason"], shown["ended"] is None) == ("lost", "its host was removed", False)
    assert (await server.get(f"/sessions/{kept['id']}"))["status"] == "open"
    assert (await server.get("/status"))["runs_under_way"] == 0
    await other.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "uploads", {"path": "/a"}), ("GET", "uploads/1", None), ("POST", "uploads/1/finish", {}),
        ("POST", "commands/1/signal", {"signal": "INT"}), ("GET", "file?path=/a", None),
    ],
)  # fmt: skip
async def test_a_host_that_answers_nothing_holds_no_request_for_ever(
    server: Headquarters, peer: Peer, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    """Each counts among those that one person may have: five hundred, and they may ask nothing any more."""
    monkeypatch.setattr(limits, "ACT_TIMEOUT_S", 0.01)
    session = await opened(server)
    async with asyncio.timeout(60):
        answer = await server.ask(method, f"/sessions/{session['id']}/{path}", body)
    assert "did not answer" in refused(answer, 504, "deadline")["detail"]
