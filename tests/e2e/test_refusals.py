"""Everything that must be refused is refused with a clear error *and* leaves a record, on real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from fleet import Fleet, as_json, expect, script_bundle, stamp
from protocol.enrolment import make_token, parse_token
from protocol.signing import Envelope, PrivateKey, sign


def refused(answer: httpx2.Response, reason: str) -> dict[str, Any]:
    problem = dict(answer.json())
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem.get("reason") == reason, problem
    assert len(problem["detail"]) > 10, "an error names what and where"
    return problem


def on_record(fleet: Fleet, agent: str, reason: str, *, containing: str = "") -> dict[str, Any]:
    """The newest refusal for ``reason`` in the ledger of ``agent``."""

    def look() -> dict[str, Any] | None:
        for record in reversed(fleet.records(agent, kind="refusal")):
            text = json.dumps(record)
            if reason in text and containing in text:
                return record
        return None

    found = fleet.wait_for(f"a refusal {reason!r} in the record of {agent}", look)
    return dict(found)


def test_unsigned_bundle(running: Fleet) -> None:
    bundle = script_bundle("checks/unsigned")
    signed = running.publication(bundle)
    unsigned = Envelope(signed.payload_type, signed.payload, ())
    refused(running.publish(bundle, unsigned), "unsigned")
    on_record(running, "server", "unsigned", containing="checks/unsigned")


def test_wrong_digest(running: Fleet) -> None:
    bundle = script_bundle("checks/wrong-digest")
    refused(running.publish(bundle, running.publication(bundle, digest="sha256:" + "0" * 64)), "wrong_digest")
    on_record(running, "server", "wrong_digest", containing="checks/wrong-digest")


def test_author_outside_his_namespace(running: Fleet) -> None:
    refused(running.publish(script_bundle("infra/outside")), "wrong_namespace")
    on_record(running, "server", "wrong_namespace", containing="infra/outside")


def test_namespace_is_whole_segments(running: Fleet) -> None:
    """``checks`` does not cover ``checksums``."""
    refused(running.publish(script_bundle("checksums/outside")), "wrong_namespace")


def test_signature_of_a_stranger(running: Fleet) -> None:
    bundle = script_bundle("checks/stranger")
    refused(running.publish(bundle, running.publication(bundle, author="stranger")), "unknown_key")
    on_record(running, "server", "unknown_key", containing="checks/stranger")


def test_self_approval(running: Fleet) -> None:
    """The person called ``both`` may write and may review, but not the same script."""
    bundle = script_bundle("checks/self")
    published = expect(running.publish(bundle, running.publication(bundle, author="both")), 201)
    answer = running.approve(published["review"], running.approval(bundle, reviewer="both"))
    refused(answer, "self_approval")
    on_record(running, "server", "self_approval", containing="checks/self")


def test_approval_by_somebody_who_may_not_review(running: Fleet) -> None:
    bundle = script_bundle("checks/not-a-reviewer")
    published = expect(running.publish(bundle), 201)
    answer = running.approve(published["review"], running.approval(bundle, reviewer="operator"))
    assert answer.status_code == 403, answer.text


def test_rolled_back_roster(running: Fleet) -> None:
    expect(running.put_roster(), 200)
    refused(running.put_roster(running.roster_body(version=running.roster_version - 1)), "rollback")
    on_record(running, "server", "rollback")


def test_expired_roster(running: Fleet) -> None:
    body = running.roster_body(version=running.roster_version + 1, lifetime=timedelta(minutes=-1))
    refused(running.put_roster(body), "expired")
    on_record(running, "server", "expired")


def test_roster_signed_by_other_roots(running: Fleet) -> None:
    body = running.roster_body(version=running.roster_version + 1)
    envelope = sign("roster", body, PrivateKey.generate())
    answer = running.api.put("/api/v1/roster", json={"envelope": as_json(envelope)})
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "untrusted"


def test_unapproved_script_does_not_run(running: Fleet) -> None:
    expect(running.publish(script_bundle("checks/unapproved")), 201)
    body = {"target": "host-1", "script": "checks/unapproved", "parameters": {}, "reason": "test", "wait_s": 10}
    answer = running.api.post("/api/v1/runs", json=body)
    refused(answer, "not_approved")
    on_record(running, "server", "not_approved", containing="checks/unapproved")


def test_tier_above_the_ceiling(running: Fleet) -> None:
    """The server may think what it likes: the host's own file decides."""
    bundle = script_bundle("checks/too-high", tier="inspect")
    running.publish_and_approve(bundle)
    run = running.run("checks/too-high")
    assert run["status"] == "refused", run
    assert "ceiling" in run["reason"], run
    on_record(running, "host-1", "above_ceiling", containing=bundle.digest)


def test_unknown_call(running: Fleet) -> None:
    bundle = script_bundle("checks/unknown-call", 'return fs.shred("/etc/hostname")\n')
    running.publish_and_approve(bundle)
    run = running.run("checks/unknown-call")
    assert run["status"] in {"denied", "error"}, run
    assert "fs.shred" in run["reason"], run
    records = running.records("host-1", run=run["id"])
    assert any(record["call"] == "fs.shred" and record["verdict"] == "deny" for record in records), records


def test_call_outside_the_policy(running: Fleet) -> None:
    bundle = script_bundle("checks/outside-policy", '\nreturn fs.read("/etc/shadow")\n')
    running.publish_and_approve(bundle)
    run = running.run("checks/outside-policy")
    assert run["status"] == "denied", run
    assert "fs.read" in run["reason"], run
    assert "main.lua:2" in run["reason"], run
    (record,) = [r for r in running.records("host-1", run=run["id"]) if r["call"] == "fs.read"]
    assert record["verdict"] == "deny"
    assert record["rule"], "the record names the rule that decided"


def test_withdrawn_script(running: Fleet) -> None:
    bundle = script_bundle("checks/withdrawn")
    running.publish_and_approve(bundle)
    assert running.run("checks/withdrawn")["status"] == "ok"
    body = {
        "type": "withdrawal", "name": "checks/withdrawn", "version": "1.0.0", "digest": bundle.digest,
        "reason": "it lies", "issued": stamp(datetime.now(UTC)),
    }  # fmt: skip
    envelope = sign("withdrawal", body, running.key("author"))
    expect(running.api.post("/api/v1/scripts/withdraw", json={"envelope": as_json(envelope)}), 200)
    again = {"target": "host-1", "script": "checks/withdrawn", "parameters": {}, "reason": "test", "wait_s": 10}
    refused(running.api.post("/api/v1/runs", json=again), "withdrawn")
    on_record(running, "server", "withdrawn", containing="checks/withdrawn")


def test_replayed_join_token(running: Fleet) -> None:
    token = running.invite()
    assert running.enroll("first", token).returncode == 0
    done = running.enroll("second", token, check=False)
    assert done.returncode != 0
    assert "token" in done.stderr
    on_record(running, "server", "replayed_token")


def test_foreign_join_token(running: Fleet) -> None:
    """A token of another server: the agent finds that this server cannot prove the pinned identity."""
    mine = parse_token(running.invite())
    foreign = make_token(mine.token_id, mine.secret, PrivateKey.generate().public.key_id)
    done = running.enroll("foreign", foreign, check=False)
    assert done.returncode != 0
    assert "server" in done.stderr
    assert not (running.directory / "foreign" / "agent.json").exists(), "nothing half-done stays behind"


def test_second_agent_with_the_same_key(running: Fleet) -> None:
    """A copied state directory must not become a second host."""
    copy = running.directory / "copied"
    pid = running.agents["host-1"].pid
    os.kill(pid, signal.SIGSTOP)  # nothing changes or goes while it is copied
    try:
        shutil.copytree(running.directory / "host-1", copy, ignore=shutil.ignore_patterns("*.sock"))
    finally:
        os.kill(pid, signal.SIGCONT)
    done = running.run_tool("agent", "run", "--dir", str(copy), "--once-refused", check=False)
    assert done.returncode != 0
    assert "already connected" in done.stderr or "duplicate" in done.stderr, done.stderr
    on_record(running, "server", "duplicate_agent")
    assert running.run("checks/unknown-call")["status"], "the first agent did not notice"
