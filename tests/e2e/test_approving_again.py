"""An approval beside a standing one counts on hosts that have the script already, at once or when they are back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleet import Fleet, expect, script_bundle, stamp
from protocol.bundle import Bundle
from protocol.signing import sign

PROBE = script_bundle(source='return fs.stat("/etc").type\n')


@pytest.fixture
def host(own_fleet: Fleet) -> Fleet:
    own_fleet.add_agent("host-1")
    return own_fleet


def approve(host: Fleet, bundle: Bundle, review: str, order: int, *paths: str) -> None:
    """Approve for some paths; each later than the one before, whatever the clock's seconds say."""
    now = datetime.now(UTC)
    body: dict[str, Any] = {
        "type": "approval", "digest": bundle.digest, "name": bundle.manifest.name, "version": bundle.manifest.version,
        "tier": "observe", "grant": {"allow": [{"call": "fs.stat", "paths": list(paths)}]}, "reason": "tested",
        "issued": stamp(now + timedelta(seconds=order)), "expires": stamp(now + timedelta(days=30)),
    }  # fmt: skip
    expect(host.approve(review, sign("approval", body, host.key("reviewer"))), 200)


def status(host: Fleet) -> str:
    return str(host.run("checks/probe")["status"])


def test_wider_and_narrower_and_while_the_host_is_away(host: Fleet) -> None:
    review = expect(host.publish(PROBE), 201)["review"]
    approve(host, PROBE, review, 0, "/usr/**")
    assert status(host) == "denied"
    approve(host, PROBE, review, 1, "/usr/**", "/etc")
    assert status(host) == "ok"
    approve(host, PROBE, review, 2, "/usr/**")
    assert status(host) == "denied"

    host.agents["host-1"].stop()
    approve(host, PROBE, review, 3, "/etc")
    host.agents["host-1"].start()
    host.wait_for("host-1 to be back", lambda: host.connected("host-1"))
    events = ("event", "approvals")
    host.wait_for("the host to have heard of it", lambda: len(_events(host, *events)) == 3)
    assert status(host) == "ok"
    assert {digest for record in _events(host, *events) for digest in record["data"]["digests"]} == {PROBE.digest}


def _events(host: Fleet, kind: str, event: str) -> list[dict[str, Any]]:
    found = host.records("host-1", kind=kind)
    return [record for record in found if (record.get("data") or {}).get("event") == event]


def test_a_schedule_goes_on_with_it_without_the_server(host: Fleet) -> None:
    """What was given last before the server went away is what counts while it is away."""
    bundle = script_bundle("checks/probe-later", 'return fs.stat("/etc").type\n')
    review = expect(host.publish(bundle), 201)["review"]
    approve(host, bundle, review, 0, "/usr/**")
    schedule = {"on": "host-1", "script": "checks/probe-later", "every": "1s"}
    expect(host.api.post("/api/v1/schedules", json=schedule), 201)
    host.wait_for("a run that is denied", lambda: "denied" in _statuses(host))
    approve(host, bundle, review, 1, "/etc")
    host.wait_for("a run that is not", lambda: "ok" in _statuses(host))
    host.server.kill()
    host.agents["host-1"].stop()
    host.agents["host-1"].start()
    host.start_server()
    host.wait_for("host-1 to be back", lambda: host.connected("host-1"))
    before = len(_statuses(host))
    host.wait_for("more runs", lambda: len(_statuses(host)) > before)
    assert _statuses(host)[0] == "ok", "newest first"


def _statuses(host: Fleet) -> list[str]:
    page = expect(host.api.get("/api/v1/runs", params={"script": "checks/probe-later", "limit": 200}), 200)
    return [run["status"] for run in page["items"] if run["finished"]]
