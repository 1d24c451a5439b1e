"""A one-off run through API, server, agent and jail, recorded; and the idle memory of the agent, on the same demo."""

from __future__ import annotations

import json
import os
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import peers
from bench.measure import Measure, spread
from bench.memory import children, name, pss_bytes
from cli.demo.bringup import AGENT, Demo, Rhythm
from cli.demo.place import Place, free_port
from cli.demo.processes import Daemons

RUNS = 300
WARM_RUNS = 30
CHECK = "checks/memory"  # three metrics of one call: little work, so that the path is what is measured
SETTLE_S = 3.0  # after the last run, so that what a run held is given back
TARGET_MS = 15.0
TARGET_PSS_MB = 60.0


def measure() -> list[Measure]:
    """Bring a demo up, run one check many times, then look at the idle agent."""
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as directory:
        place = Place(Path(directory), free_port())
        with Daemons() as daemons:
            demo = Demo(place, daemons, lambda _what, _text: None)
            demo.bring_up(Rhythm(every_s=86_400.0, splay_s=0.0))
            caller = Caller(demo, place.port)
            samples = [caller.once() for _ in range(WARM_RUNS + RUNS)][WARM_RUNS:]
            time.sleep(SETTLE_S)
            agent = next(daemon.process for daemon in daemons.started if daemon.name == "agent" and daemon.process)
            return [_run(samples), _memory(agent.pid)]


class Caller:
    """A client of the API that does nothing else, on one connection: what is measured is the service."""

    def __init__(self, demo: Demo, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {demo.api.context.token}", "Content-Type": "application/json"}

    def once(self) -> float:
        """Return the time of one run through the API, in ms, until its result is here."""
        body = {"target": AGENT, "script": CHECK, "parameters": {}, "reason": "benchmark", "wait_s": 10}
        began = time.perf_counter()
        self._connection.request("POST", "/api/v1/runs", json.dumps(body), self._headers)
        told: Any = json.loads(self._connection.getresponse().read())
        elapsed_ms = (time.perf_counter() - began) * 1000
        (run,) = told["runs"]
        if run["status"] != "ok":
            raise RuntimeError(f"{CHECK} ended {run['status']}: {run.get('reason')}")
        return elapsed_ms


def _run(samples: list[float]) -> Measure:
    found = spread(samples)
    note = f"{CHECK}, from request to result, p50 (p99 {found['p99']:.1f} ms)"
    return Measure(
        "one-off run through the API",
        found["p50"],
        "ms",
        TARGET_MS,
        spread=found,
        peers=(peers.salt(), peers.ssh()),
        note=note,
    )


def _memory(pid: int) -> Measure:
    """Return the PSS of the agent and all below it."""
    parts = {part: pss_bytes(part) for part in (pid, *children(pid))}
    told = ", ".join(
        f"{name(part).split()[-1] if part != pid else 'agent'} {size / 1e6:.0f}" for part, size in parts.items()
    )
    return Measure(
        "agent and zygote, idle PSS", sum(parts.values()) / 1e6, "MB", TARGET_PSS_MB,
        spread={f"process {number}": size / 1e6 for number, size in enumerate(parts.values())},
        note=f"{len(parts)} processes: {told}; {os.cpu_count()} processors",
    )  # fmt: skip
