"""A host's owner over the whole way: asked before a session opens, and with a freeze that nobody else lifts."""

from __future__ import annotations

import gc
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from shell import ROOT, Shell

from fleet import Fleet, expect, fleet, in_time, script_bundle

CEILING = "highest_tier: operate\naccept_server_word: [run, session{more}]\nsessions: {{consent: {consent}}}\n"
NEW = {"agent": "host-1", "kind": "files", "tier": "observe"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("consent")) as made:
        with ThreadPoolExecutor() as both:
            one = both.submit(made.add_agent, "host-1", ceiling=CEILING.format(more="", consent="ask"))
            made.add_agent("host-2", ceiling=CEILING.format(more=", consent", consent="ask"))
            one.result()
        yield made


def on_host(fleet: Fleet, host: str, *words: str, status: int = 0) -> Any:
    done = fleet.run_tool("agent", *words, "--dir", str(fleet.directory / host), "--json", check=False)
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def opening(fleet: Fleet, host: str = "host-1") -> dict[str, Any]:
    return expect(fleet.api.post("/api/v1/sessions", json=asked(host)), 201)


def asked(host: str) -> dict[str, Any]:
    return {"agent": host, "kind": "files", "tier": "observe", "reason": "T-7", "wait_s": 0}


def shown(fleet: Fleet, session: str) -> dict[str, Any]:
    return dict(expect(fleet.api.get(f"/api/v1/sessions/{session}"), 200))


def ended_as(fleet: Fleet, session: str, status: str) -> dict[str, Any]:
    fleet.wait_for(f"{session} to be {status}", lambda: shown(fleet, session)["status"] == status)
    return shown(fleet, session)


def granted(fleet: Fleet, host: str) -> str:
    """Open a session to which the owner says yes, and return its id."""

    def opened() -> str | None:  # a host that was frozen a moment ago may not have heard yet that it is not
        answer = fleet.api.post("/api/v1/sessions", json=asked(host))
        return str(answer.json()["id"]) if answer.status_code == 201 else None

    session = str(fleet.wait_for("a session", opened))
    fleet.wait_for("the question", lambda: on_host(fleet, host, "consent", "ls"))
    on_host(fleet, host, "consent", "grant")
    ended_as(fleet, session, "open")
    return session


def test_the_owner_on_the_host_says_yes(hosts: Fleet) -> None:
    session = opening(hosts)["id"]
    assert shown(hosts, session)["status"] == "asking"
    (question,) = hosts.wait_for("the question", lambda: on_host(hosts, "host-1", "consent", "ls"))
    assert (question["session"], question["about"]) == (session, "session")
    on_host(hosts, "host-1", "consent", "grant", question["id"])
    assert "on the host" in ended_as(hosts, session, "open")["consented"]
    opened = [each for each in hosts.records("host-1", kind="session.open") if each["session"] == session]
    assert "on the host" in opened[0]["data"]["consented"]


def test_who_opens_a_session_is_told_who_said_yes(hosts: Fleet, tmp_path: Path) -> None:
    mine = Shell(tmp_path, hosts)
    with ThreadPoolExecutor() as beside:
        listing = beside.submit(mine.program, "file", "ls", "host-1:/etc", "--tier", "observe", "--reason", "T-8")
        hosts.wait_for("the question", lambda: on_host(hosts, "host-1", "consent", "ls"))
        on_host(hosts, "host-1", "consent", "grant")
        told = listing.result()
    assert told.status == 0, told.err
    assert re.match(r"host-1 asks its owner \.\.\.\ngranted by \S+ \(on the host\)\n", told.err), told.err


def waits_for_nothing(fleet: Fleet, host: str) -> bool:
    return not on_host(fleet, host, "consent", "ls")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "words",
    [
        ("tty", "host-1", "--tier", "operate"), ("exec", "host-1", "--tier", "operate", "--", "/bin/true"),
        ("exec", "host-*", "--tier", "operate", "--", "/bin/true"),
        ("file", "edit", "--yes", "host-1:/etc/hostname"),
        ("forward", "host-1", "--tier", "operate", "0:192.0.2.1:80"),
    ],
)  # fmt: skip
def test_whoever_is_ended_while_the_owner_is_asked_opens_nothing(
    hosts: Fleet, tmp_path: Path, words: tuple[str, ...], how: signal.Signals
) -> None:
    """Killed, it can tell nobody: the server sees that the connection is gone, and the question is withdrawn."""
    mine = Shell(tmp_path, hosts)
    process = subprocess.Popen(
        # Whoever runs the tests by nohup has SIGHUP ignored, and so would what they start.
        ["env", "--default-signal=HUP", sys.executable, "-m", "cli", *words[:2], "--reason", "T-9", *words[2:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=mine.work,
        env={**mine.environment, "PYTHONPATH": str(ROOT), "EDITOR": "true"},
    )  # fmt: skip
    with process:
        (question,) = hosts.wait_for("the question", lambda: on_host(hosts, "host-1", "consent", "ls"))
        if "host-*" in words:
            hosts.wait_for("the other question", lambda: on_host(hosts, "host-2", "consent", "ls"))
        process.send_signal(how)
        process.wait(60.0)
    for host in ("host-1", "host-2"):
        hosts.wait_for("the questions' end", partial(waits_for_nothing, hosts, host))
    assert "withdrawn" in ended_as(hosts, question["session"], "refused")["reason"]
    assert question["id"] in on_host(hosts, "host-1", "consent", "grant", question["id"], status=1)
    assert not [each for each in hosts.records("host-1", kind="session.open") if each["session"] == question["session"]]


def test_the_owner_on_the_host_says_no(hosts: Fleet) -> None:
    session = opening(hosts)["id"]
    hosts.wait_for("the question", lambda: on_host(hosts, "host-1", "consent", "ls"))
    on_host(hosts, "host-1", "consent", "deny")
    assert "said no" in ended_as(hosts, session, "refused")["reason"]


def test_an_approver_says_yes_only_where_the_owner_lets_the_server(hosts: Fleet, tmp_path: Path) -> None:
    body = {"principal": "ana", "roles": ["approver"], "ttl_s": 600}
    ana = expect(hosts.api.post("/api/v1/tokens", json=body), 201)["token"]
    (tmp_path / "ana").mkdir()
    mine, hers = Shell(tmp_path, hosts), Shell(tmp_path / "ana", hosts)
    hers.environment["OUTRIDER_TOKEN"] = ana
    session = opening(hosts, "host-2")["id"]
    question = hosts.wait_for("the question", lambda: hers("consent", "ls", "--json").data)[0]
    assert question["may_grant"]
    assert mine("consent", "grant", question["id"]).status == 3, "his own"
    assert hers("consent", "grant", question["id"], "--reason", "known").status == 0
    ended_as(hosts, session, "open")
    other = opening(hosts)["id"]
    question = hosts.wait_for("the question", lambda: hers("consent", "ls", "--json").data)[0]
    refusal = hers("consent", "grant", question["id"])
    assert refusal.status == 3
    assert "outrider-agent consent grant" in refusal.err
    assert hers("consent", "deny", question["id"]).status == 0
    ended_as(hosts, other, "refused")


def test_a_script_asks_and_hears_the_answer(hosts: Fleet) -> None:
    bundle = script_bundle("checks/asks", 'return consent.ask("May I?", 20)\n', limits={"wall": "30s"})
    hosts.publish_and_approve(bundle)
    with ThreadPoolExecutor() as beside:
        run = beside.submit(hosts.run, "checks/asks")
        (question,) = hosts.wait_for("the question", lambda: on_host(hosts, "host-1", "consent", "ls"))
        assert question["text"] == "the script checks/asks of admin: May I?"
        on_host(hosts, "host-1", "consent", "grant")
        told = run.result()
    assert told["status"] == "ok"
    assert told["result"]["granted"] is True


def test_a_freeze_on_the_host_ends_all_within_a_second_and_no_server_lifts_it(hosts: Fleet) -> None:
    bundle = script_bundle("checks/long", "time.sleep(25)\n", limits={"wall": "30s"})
    hosts.publish_and_approve(bundle)

    def ends_after_s() -> float:
        session = granted(hosts, "host-1")
        with ThreadPoolExecutor() as beside:
            run = beside.submit(hosts.run, "checks/long")
            running = {"status": "running"}
            hosts.wait_for("the run", lambda: list(hosts.pages("/api/v1/runs", **running)))
            assert on_host(hosts, "host-1", "freeze", "--reason", "odd traffic")["agent"] == "knows"
            assert run.result()["status"] == "killed"
        assert "odd traffic" in ended_as(hosts, session, "killed")["reason"]
        frozen, closed = (
            [each for each in hosts.records("host-1") if holds(each)][-1]["time"]
            for holds in (
                lambda each: each["data"].get("event") == "owner_freeze" and each["outcome"] == "frozen",
                lambda each: each["kind"] == "session.close" and each["session"] == session,
            )
        )
        hosts.wait_for("the server to know", lambda: _facts(hosts)["owner_freeze"])
        assert _facts(hosts)["owner_freeze"]["reason"] == "odd traffic"
        expect(hosts.api.post("/api/v1/agents/host-1/freeze", json={"frozen": False}), 200)
        refusal = expect(hosts.api.post("/api/v1/sessions", json=NEW), 403)
        assert "frozen by its owner: odd traffic" in refusal["detail"]
        assert on_host(hosts, "host-1", "unfreeze")["was_frozen"]
        hosts.wait_for("the server to know", lambda: not _facts(hosts)["owner_freeze"])
        return abs(_seconds(closed) - _seconds(frozen))

    in_time(ends_after_s, 1.0)


def test_a_host_is_frozen_with_its_agent_down_and_stays_so(own_fleet: Fleet) -> None:
    agent = own_fleet.add_agent(ceiling="highest_tier: observe\naccept_server_word: [session]\n")
    agent.kill()
    assert on_host(own_fleet, "host-1", "freeze")["agent"] == "not running"
    agent.start()
    own_fleet.wait_for("host-1 to connect", lambda: own_fleet.connected("host-1"))
    expect(own_fleet.api.post("/api/v1/sessions", json=NEW), 403)
    assert on_host(own_fleet, "host-1", "status")["frozen_by_owner"].startswith("since 20")
    assert on_host(own_fleet, "host-1", "unfreeze")["was_frozen"]
    expect(own_fleet.api.post("/api/v1/sessions", json=NEW), 201)


def test_the_servers_freeze_ends_a_session_within_a_second(hosts: Fleet) -> None:
    def ends_after_s() -> float:
        session = granted(hosts, "host-2")
        gc.collect()  # or it may come in between, which takes as long as all that is measured
        began = time.monotonic()
        expect(hosts.api.post("/api/v1/agents/host-2/freeze", json={"frozen": True, "reason": "odd"}), 200)
        try:
            ended_as(hosts, session, "killed")
            return time.monotonic() - began
        finally:
            expect(hosts.api.post("/api/v1/agents/host-2/freeze", json={"frozen": False}), 200)

    in_time(ends_after_s, 1.0)


def test_what_an_owner_types_wrong(hosts: Fleet) -> None:
    assert "nothing waits" in on_host(hosts, "host-1", "consent", "grant", status=1)
    assert "q_nothing" in on_host(hosts, "host-1", "consent", "grant", "q_nothing", status=1)
    assert "printable" in on_host(hosts, "host-1", "freeze", "--reason", "a\nb", status=2)
    done = hosts.run_tool("agent", "consent", "ls", "--dir", str(hosts.directory / "server"), check=False)
    assert done.returncode != 0
    assert "no agent answers" in done.stderr


def _facts(fleet: Fleet) -> dict[str, Any]:
    return dict(expect(fleet.api.get("/api/v1/agents/host-1"), 200)["facts"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
