"""An error says what to do next, and whose fault it may be; what a host says of itself passes for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import answer, loopback, of_json

from cli.failures import LISTS

Outrider = Callable[..., Any]


def problem(status: int, **told: Any) -> bytes:
    return answer(status, json.dumps(told).encode(), content_type="application/problem+json")


@pytest.mark.parametrize("what", sorted(LISTS))
def test_what_is_not_there_is_followed_by_how_to_list_what_is(outrider: Outrider, what: str) -> None:
    told = problem(404, code="not_found", detail=f"there is no {what} 'x'")
    with loopback(lambda _asked: told) as server:
        called = outrider("--server", server.url, "runs", "show", "0123456789abcdef")
        assert (called.status, called.err) == (1, f"there is no {what} 'x'  (see: outrider {LISTS[what]})\n")
        as_json = outrider("--server", server.url, "runs", "show", "0123456789abcdef", "--json")
    assert json.loads(as_json.err)["error"]["message"] == f"there is no {what} 'x'"
    assert outrider(*LISTS[what].split(), "--help").status == 0


def test_what_nobody_approved_is_followed_by_where_it_waits(outrider: Outrider) -> None:
    told = problem(403, code="untrusted", detail="checks/a 1.0.0 has 0 of 1 approvals it needs", reason="not_approved")
    with loopback(lambda _asked: told) as server:
        assert "outrider review ls" in outrider("--server", server.url, "run", "web-3", "checks/a").err


def test_what_wants_a_signature_is_followed_by_how_to_give_one(outrider: Outrider) -> None:
    detail = "this host opens no session on the server's word alone: an operator must sign the order"
    told = problem(403, code="untrusted", detail=detail, reason="refused_by_agent")
    with loopback(lambda _asked: told) as server:
        called = outrider("--server", server.url, "session", "ls")
    assert called.status == 3
    assert called.err.startswith(f"refused: {detail}  (with a key that the roster lets order: --key FILE;")


@pytest.mark.parametrize("items", [[1], [{"facts": [1]}]])
def test_an_answer_that_is_not_as_it_should_be_is_not_called_ours_alone(outrider: Outrider, items: list[Any]) -> None:
    with loopback(lambda _asked: of_json({"items": items, "next": None})) as server:
        called = outrider("--server", server.url, "agent", "ls")
    assert called.status == 1
    assert called.err.startswith("the answer to GET /api/v1/agents is not as it should be (another version?")
    assert "Traceback" not in called.err


def test_what_a_host_says_of_itself_takes_the_place_of_nothing_that_the_server_says(outrider: Outrider) -> None:
    facts = {"kernel": "6.1", "name": "db-1", "state": "connected", "labels": "role=db", "key": "ed25519:other"}
    attestation = {"payload": "e30=", "payloadType": "x", "signatures": []}
    told = {
        "id": "a1", "name": "web-9", "connected": False, "labels": {}, "key": "ed25519:its", "facts": facts,
        "sealing_key": attestation,
    }  # fmt: skip
    with loopback(lambda _asked: of_json(told)) as server:
        shown = outrider("--server", server.url, "agent", "show", "web-9")
    assert shown.status == 0, shown.err
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert (lines["name"], lines["state"], lines["key"], lines["kernel"]) == ("web-9", "away", "ed25519:its", "6.1")
    assert "db" not in shown.out
    assert "payload" not in shown.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("request", "create", "--on", "a", "--kind", "files", "--tier", "inspect", "--for", "1s", "--reason", "x"),
         "--for: 1s is out of range (1m to 30d)"),
        (("session", "search", "a"), "'TEXT': has 2 to 200 characters"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_in_the_words_of_the_command(
    outrider: Outrider, words: tuple[str, ...], named: str
) -> None:
    called = outrider("--server", "http://127.0.0.1:9", *words)
    assert called.status == 2
    assert named in called.err


def test_a_secret_that_cannot_be_read_makes_no_host_known(outrider: Outrider, home: Path) -> None:
    host = {"id": "a" * 32, "name": "web-1", "key": "ed25519:x", "sealing_key": {}}
    with loopback(lambda _asked: of_json({"items": [host], "next": None})) as server:
        called = outrider(
            "--server", server.url, "secret", "set", "token", "--on", "web-1", "--for", "checks/a", "--from-file", "no"
        )
    assert (called.status, called.err) == (2, "no: cannot be read: No such file or directory\n")
    assert not list(home.rglob("known-agents.json"))


def test_a_server_that_is_not_there_is_told_with_who_named_it(
    outrider: Outrider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = home / "work" / ".demo"
    demo.mkdir()
    (demo / "context.yaml").write_text("server: http://127.0.0.1:9\ntoken: ort_x\n")
    (demo / "context.yaml").chmod(0o600)
    ended = outrider("agent", "ls")
    assert "the demo of this folder has ended (outrider demo --port 9 goes on with it)" in ended.err
    monkeypatch.setenv("OUTRIDER_SERVER", "http://127.0.0.1:9")
    assert outrider("agent", "ls").err == "no server answers at http://127.0.0.1:9, which OUTRIDER_SERVER names\n"
    named = outrider("--server", "http://127.0.0.1:9", "agent", "ls")
    assert named.err == "no server answers at http://127.0.0.1:9\n"


def test_a_target_that_means_nobody_is_followed_by_where_to_look(outrider: Outrider) -> None:
    told = problem(409, code="conflict", detail="no host is meant by w*")
    with loopback(lambda _asked: told) as server:
        called = outrider("--server", server.url, "run", "w*", "checks/a")
    assert called.err == "no host is meant by w*  (see: outrider agent ls)\n"
