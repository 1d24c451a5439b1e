"""Access over the whole way: asked, approved, used, revoked; and how fast what stands on it ends."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from forwarded import echo, forwarding, serving
from shell import Shell

from fleet import Fleet, expect, in_time

FILES = {"agent": "host-1", "kind": "files", "tier": "observe"}


def person(host: Fleet, home: Path, name: str, role: str) -> Shell:
    (home / name).mkdir()
    shell = Shell(home / name, host)
    body = {"principal": name, "roles": [role], "ttl_s": 600}
    shell.environment["OUTRIDER_TOKEN"] = expect(host.api.post("/api/v1/tokens", json=body), 201)["token"]
    return shell


def ended(fleet: Fleet, session: str) -> dict[str, Any]:
    fleet.wait_for("the end", lambda: _shown(fleet, session)["status"] == "ended")
    return _shown(fleet, session)


def _shown(fleet: Fleet, session: str) -> dict[str, Any]:
    return dict(expect(fleet.api.get(f"/api/v1/sessions/{session}"), 200))


def test_loopback_is_asked_for_approved_used_and_taken_away(host: Fleet, tmp_path: Path) -> None:
    tom, ana = person(host, tmp_path, "tom", "support"), person(host, tmp_path, "ana", "approver")
    with serving(echo) as port:
        target = f"localhost:{port}"
        denied = tom("forward", "host-1", f"0:{target}", "--reason", "T-1")
        assert denied.status == 3
        assert f"--targets {target}" in denied.err
        words = ("--on", "host-1", "--kind", "forward", "--tier", "admin", "--targets", target)
        asked = tom("request", "create", *words, "--for", "1h", "--reason", "T-1", "--json").data
        assert tom("request", "review", asked["id"], "--approve", "--reason", "me").status == 3
        assert [row["id"] for row in ana("request", "ls", "--reviewable", "--json").data] == [asked["id"]]
        made = ana("request", "review", asked["id"], "--approve", "--reason", "known", "--json").data

        def ends_after_s() -> float:
            nonlocal asked, made
            if asked is None:  # the first was taken away
                asked = tom("request", "create", *words, "--for", "1h", "--reason", "T-1", "--json").data
                made = ana("request", "review", asked["id"], "--approve", "--reason", "known", "--json").data
            asked = None
            with forwarding(tom, "host-1", f"0:{target}") as forward, forward.connect() as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                began = time.monotonic()
                expect(host.api.delete(f"/api/v1/access/{made['grant']}"), 200)
                with suppress(ConnectionResetError):
                    assert sock.recv(1) == b""
                took_s = time.monotonic() - began
            assert made["grant"] in ended(host, forward.session)["reason"]
            assert tom("forward", "host-1", f"0:{target}", "--reason", "T-1").status == 3
            return took_s

        in_time(ends_after_s, 1.0)


def test_a_grant_that_runs_out_ends_its_sessions_within_a_second(host: Fleet, tmp_path: Path) -> None:
    mia = person(host, tmp_path, "mia", "support")
    admin = Shell(tmp_path, host)
    assert admin("access", "rm", "default-support", "--yes").status == 0
    words = ("--on", "host-1", "--kind", "files", "--tier", "observe", "--ttl", "6s", "--json")
    headers = {"Authorization": f"Bearer {mia.environment['OUTRIDER_TOKEN']}"}

    def ends_after_s() -> float:
        made = admin("access", "create", "mia", *words).data
        session = expect(host.api.post("/api/v1/sessions", json=FILES, headers=headers), 201)
        assert session["access"] == made["id"]
        host.wait_for("the end", lambda: _shown(host, session["id"])["status"] in ("ended", "killed"))
        shown = _shown(host, session["id"])
        assert [row["id"] for row in admin("access", "ls", "--all", "--json").data].count(made["id"]) == 1
        assert made["id"] not in [row["id"] for row in admin("access", "ls", "--json").data]
        late_s = _seconds(shown["ended"]) - _seconds(made["expires"])
        assert late_s > -0.5, f"{-late_s:.2f} s before the grant"
        return late_s

    in_time(ends_after_s, 1.0)


def test_paths_of_a_grant_hold_on_the_host(host: Fleet, tmp_path: Path) -> None:
    eva = person(host, tmp_path, "eva", "operator")
    admin = Shell(tmp_path, host)
    assert admin("access", "rm", "default-operator", "--yes").status == 0
    words = ("--on", "host-1", "--kind", "files", "--tier", "inspect", "--paths", "/etc/passwd")
    assert admin("access", "create", "eva", *words).status == 0
    headers = {"Authorization": f"Bearer {eva.environment['OUTRIDER_TOKEN']}"}
    body = FILES | {"tier": "inspect"}
    session = expect(host.api.post("/api/v1/sessions", json=body, headers=headers), 201)["id"]
    for path, status in (("/etc/passwd", 200), ("/etc/hostname", 403)):
        call = {"call": "fs.read", "arguments": {"path": path}}
        answer = host.api.post(f"/api/v1/sessions/{session}/calls", json=call, headers=headers)
        assert answer.status_code == status, answer.text


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    "words", [["access", "create", "eva", "--kind", "files", "--tier", "inspect"], ["grant", "create", "eva", "fix/**"]]
)
def test_a_target_that_nobody_matches_is_told(host: Fleet, tmp_path: Path, words: list[str]) -> None:
    """It may be meant for hosts to come, or mistyped; either way it is made."""
    admin = Shell(tmp_path, host)
    told = admin(*words, "--on", "role=nobody")
    assert told.status == 0
    assert "no host matches role=nobody now; it counts on those that come to match" in told.err
    assert "no host matches" not in admin(*words, "--on", "*").err
