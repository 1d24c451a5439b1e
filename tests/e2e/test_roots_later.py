"""A host that was enrolled before there was a roster: nothing signed runs there until its owner pins the roots."""

from __future__ import annotations

import json
from pathlib import Path

from fleet import Fleet, expect, script_bundle


def test_a_host_that_was_enrolled_too_early_is_given_roots(tmp_path: Path) -> None:
    made = Fleet(tmp_path)
    try:
        made.start_server()
        agent = made.add_agent("host-1")
        expect(made.put_roster(), 200)
        made.publish_and_approve(script_bundle("checks/short", "return 7\n"))
        refused = made.run("checks/short")
        assert refused["status"] == "refused"
        assert "outrider-agent pin" in agent.tail()

        roster = tmp_path / "roster.json"
        roster.write_text(json.dumps(expect(made.api.get("/api/v1/roster"), 200)["envelope"]))
        where = tmp_path / "host-1"
        running = made.run_tool("agent", "pin", "--roots", str(roster), "--dir", str(where), check=False)
        assert "another agent is running" in running.stderr
        agent.stop()
        done = made.run_tool("agent", "pin", "--roots", str(roster), "--dir", str(where))
        assert done.stderr == "1 of 1 roots pinned\n"
        agent.start()
        made.wait_for("the agent to connect", lambda: made.connected("host-1"))
        made.wait_for("a run that goes well", lambda: made.run("checks/short")["status"] == "ok")
    finally:
        made.close()
