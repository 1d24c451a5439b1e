"""Kill -9 of agent, zygote, worker or server at any moment loses nothing that was acknowledged and runs nothing twice.

The test runs three schedules a second on a real fleet and kills one process after the other at a random point, each of
them as often, in an order by chance. The seed is printed, so that a failure can be repeated (as far as a race can).
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from fleet import Fleet, descendants, expect, fleet, script_bundle

ROUNDS = int(os.environ.get("OUTRIDER_KILL_ROUNDS", "16"))
VICTIMS = ("agent", "zygote", "worker", "server")
SCRIPT = """
local total = 0
for _, process in ipairs(proc.list()) do total = total + (process.rss or 0) end
check.metric("rss", "uint64", total, "bytes")
log.info("counted")
return total
"""


def kill(fleet: Fleet, victim: str) -> None:
    """Kill one process of the fleet; start again what an init system would start again."""
    agent = fleet.agents["host-1"]
    if victim == "server":
        fleet.server.kill()
        fleet.start_server()
    elif victim == "agent":
        agent.kill()
        agent.start()
    else:
        below = descendants(agent.pid)
        # The zygote is the agent's child, workers are the zygote's; a worker lives for milliseconds.
        chosen = below[:1] if victim == "zygote" else below[1:][-1:]
        for pid in chosen:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # the worker ended by itself at this very moment
                continue


def seen(fleet: Fleet) -> dict[int, str]:
    return {record["sequence"]: record["hash"] for record in fleet.records("host-1")}


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_runs_twice(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    dice = random.Random(seed)
    acknowledged: dict[int, str] = {}
    victims = [VICTIMS[at % len(VICTIMS)] for at in range(ROUNDS)]
    dice.shuffle(victims)
    with fleet(tmp_path) as made:
        made.add_agent("host-1")
        made.publish_and_approve(script_bundle("checks/rss", SCRIPT))
        for _ in range(3):
            body = {"script": "checks/rss", "on": "host-1", "every": "1s", "splay": "0s", "parameters": {}}
            expect(made.api.post("/api/v1/schedules", json=body), 201)
        made.wait_for("first results", lambda: len(list(made.pages("/api/v1/runs", status="ok"))) >= 3)
        for victim in victims:
            # A random point in time is the very thing under test here, not a wait for something.
            threading.Event().wait(dice.uniform(0.0, 0.6))
            acknowledged |= seen(made)
            kill(made, victim)
        made.wait_for("the agent to be back", lambda: made.connected("host-1"), 60)
        before = len(list(made.pages("/api/v1/runs", status="ok")))
        made.wait_for("results after it all", lambda: len(list(made.pages("/api/v1/runs", status="ok"))) >= before + 3)

        now = seen(made)
        missing = {seq for seq, digest in acknowledged.items() if now.get(seq) != digest}
        assert not missing, f"acknowledged records changed or gone: {sorted(missing)[:10]}"
        assert sorted(now) == list(range(1, len(now) + 1)), "the sequence has no hole"

        fires = Counter(
            (record["data"]["schedule"], record["data"]["fire_us"])
            for record in made.records("host-1", kind="run.start")
            if record["data"].get("schedule")
        )
        assert len(fires) >= 6
        assert not [fire for fire, count in fires.items() if count > 1], "a fire time ran twice"

        verified = expect(made.api.get("/api/v1/records/verify", params={"agent": "host-1"}), 200)
        assert verified["ok"], verified

        started = Counter(record["run"] for record in made.records("host-1", kind="run.start"))
        ended = Counter(record["run"] for record in made.records("host-1", kind="run.end"))
        open_runs = {run for run in started if run not in ended}
        assert max(started.values()) == 1
        assert max(ended.values()) == 1
        assert len(open_runs) <= 3, f"only what runs at this moment may be open: {open_runs}"
