"""A run for a host that is away, with a real agent: it runs once when that is back, whatever was killed meanwhile."""

from __future__ import annotations

from pathlib import Path

from shell import Shell

from fleet import Fleet

SIGNED = "highest_tier: observe\naccept_server_word: [schedule]\n"


def test_it_runs_once_when_the_host_is_back(own_fleet: Fleet, tmp_path: Path) -> None:
    """Server and agent are both killed in between, and the host's owner wants the operator's own signature."""
    agent = own_fleet.add_agent("host-1", ceiling=SIGNED)
    shell = Shell(tmp_path, own_fleet)
    shell.install("checks/late", "return 7\n")
    agent.kill()
    own_fleet.wait_for(
        "the host to be away", lambda: not own_fleet.api.get("/api/v1/agents/host-1").json()["connected"]
    )
    words = ("run", "host-1", "checks/late", "--when-back", "--sign", "--key", shell.key("operator"), "--json")
    queued = shell(*words)
    assert queued.status == 0, queued.err
    (told,) = queued.data["runs"]
    assert (told["status"], bool(told["waits_until"])) == ("queued", True)
    own_fleet.server.kill()
    own_fleet.start_server()
    agent.start()
    shown = shell("runs", "show", told["id"], "--wait", "60s", "--json")
    assert (shown.status, shown.data["result"], shown.data["waits_until"]) == (0, 7, None), shown
    agent.kill()
    agent.start()
    own_fleet.wait_for("the host to be back", lambda: own_fleet.connected("host-1"))
    own_fleet.wait_for("its next run", lambda: shell(*words).data["runs"][0]["status"] == "ok")
    begun = [item["run"] for item in own_fleet.records("host-1", kind="run.start")]
    assert begun.count(told["id"]) == 1
