"""Sessions of people over the whole way: HTTP API, server, link, agent, gate, host, and back as records."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet import Fleet, expect, fleet

CEILING = (
    "highest_tier: operate\naccept_server_word: [run, schedule, session]\ndeny: [{call: fs.list, paths: [/sys]}]\n"
)


@pytest.fixture(scope="module")
def open_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("live")) as made:
        made.add_agent("host-1", ceiling=CEILING)
        yield made


def opened(fleet: Fleet, tier: str = "operate", **more: Any) -> str:
    body = {"agent": "host-1", "kind": "files", "tier": tier, "reason": "T-7", **more}
    return str(expect(fleet.api.post("/api/v1/sessions", json=body), 201)["id"])


def call(fleet: Fleet, session: str, name: str, status: int = 200, **arguments: Any) -> Any:
    answer = fleet.api.post(f"/api/v1/sessions/{session}/calls", json={"call": name, "arguments": arguments})
    return expect(answer, status)


def test_a_session_reads_and_writes_files_and_all_of_it_is_on_record(open_host: Fleet, tmp_path: Path) -> None:
    """The one idea: what a person does is calls through the gate, as a script's are."""
    rules = [{"call": "fs.*", "paths": [f"{tmp_path}/**", "/etc/passwd"]}]
    session = opened(open_host, grant={"allow": rules})
    data = bytes(range(256))
    call(open_host, session, "fs.write", path=f"{tmp_path}/x", data={"$bytes": base64.b64encode(data).decode()})
    assert (tmp_path / "x").read_bytes() == data
    read = call(open_host, session, "fs.read", path="/etc/passwd", encoding="bytes")["value"]
    assert base64.b64decode(read["$bytes"]) == Path("/etc/passwd").read_bytes()
    assert "the session" in call(open_host, session, "fs.read", 403, path="/etc/hostname")["detail"]
    closed = expect(open_host.api.post(f"/api/v1/sessions/{session}/close", json={"reason": "done"}), 200)
    assert closed["status"] in {"open", "ended"}
    open_host.wait_for("the end", lambda: shown(open_host, session)["status"] == "ended")
    assert shown(open_host, session)["calls"] == 3
    kinds = [(record["kind"], record["call"]) for record in open_host.records("host-1") if record["session"] == session]
    assert kinds == [
        ("session.open", ""), ("intent", "fs.write"), ("call", "fs.write"), ("call", "fs.read"), ("call", "fs.read"),
        ("session.close", ""),
    ]  # fmt: skip


def shown(fleet: Fleet, session: str) -> dict[str, Any]:
    return dict(expect(fleet.api.get(f"/api/v1/sessions/{session}"), 200))


@pytest.mark.parametrize(
    ("name", "arguments", "status", "words"),
    [
        ("fs.read", {"path": "/etc/shadow"}, 403, "deny"),
        ("fs.list", {"path": "/sys"}, 403, "ceiling"),
        ("fs.stat", {"path": "etc"}, 422, "path"),
        ("fs.stat", {}, 422, "path"),
        ("no.such", {}, 404, "no.such"),
        ("fs.walk", {"root": "/etc"}, 422, "pipe"),
        ("proc.exec", {"argv": ["/bin/true"]}, 403, "proc.exec"),
    ],
)
def test_what_a_session_may_not_do_is_refused_with_its_reason(
    open_host: Fleet, name: str, arguments: dict[str, Any], status: int, words: str
) -> None:
    session = opened(open_host)
    assert words in call(open_host, session, name, status, **arguments)["detail"]
    assert call(open_host, session, "fs.stat", path="/etc")["value"]["type"] == "directory", "the session goes on"


def test_a_tier_above_the_ceiling_opens_nothing(open_host: Fleet) -> None:
    body = {"agent": "host-1", "kind": "terminal", "tier": "admin", "reason": "T-7"}
    problem = expect(open_host.api.post("/api/v1/sessions", json=body), 403)
    assert "ceiling" in problem["detail"]
    newest = expect(open_host.api.get("/api/v1/sessions", params={"limit": 1}), 200)["items"][0]
    assert (newest["status"], newest["kind"]) == ("refused", "terminal")


def test_a_freeze_ends_sessions_at_once(open_host: Fleet) -> None:
    """The last word on a host that behaves strangely must not wait for anybody."""
    session = opened(open_host)
    expect(open_host.api.post("/api/v1/agents/host-1/freeze", json={"frozen": True, "reason": "odd"}), 200)
    try:
        open_host.wait_for("the end", lambda: shown(open_host, session)["status"] == "killed")
        assert "odd" in shown(open_host, session)["reason"]
        body = {"agent": "host-1", "kind": "files", "tier": "observe"}
        expect(open_host.api.post("/api/v1/sessions", json=body), 403)
    finally:
        expect(open_host.api.post("/api/v1/agents/host-1/freeze", json={"frozen": False}), 200)


def test_sessions_when_the_server_or_the_agent_is_killed(own_fleet: Fleet) -> None:
    """A restarted server finds a session again; a restarted agent has none, and says so on record."""
    agent = own_fleet.add_agent(ceiling=CEILING)
    session = opened(own_fleet)
    own_fleet.server.kill()
    own_fleet.start_server()
    own_fleet.wait_for("host-1 to connect", lambda: own_fleet.connected("host-1"))
    assert call(own_fleet, session, "fs.stat", path="/etc")["value"]["type"] == "directory"
    agent.kill()
    agent.start()
    own_fleet.wait_for("the end", lambda: shown(own_fleet, session)["status"] == "lost")
    assert call(own_fleet, session, "fs.stat", 409, path="/etc")["code"] == "conflict"
