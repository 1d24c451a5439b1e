"""The tour of ``outrider demo --once``: real scheduled results, one run in each language, the ledger verified."""

from __future__ import annotations

import time
from typing import Any

from cli.demo.bringup import AGENT, Demo
from cli.demo.results import Results, line
from cli.nouns.record import verified
from cli.output import Output
from protocol.errors import DeadlineError, LedgerError, OutriderError

RESULTS_DEADLINE_S = 20.0
RUN_WAIT_S = 15
POLL_S = 0.05


class TourError(OutriderError):
    """The tour saw something that must not be; shown like any failure."""

    code = "unavailable"


def tour(demo: Demo, output: Output) -> dict[str, Any]:
    """Look at everything once and return the summary.

    Raises:
        DeadlineError: A check had no scheduled result in time.
        TourError: A run did not end well.
        LedgerError: The records do not verify.
    """
    results = _scheduled(demo, output)
    runs = [_run(demo, language, output) for language in ("lua", "python")]
    verify = _verify(demo)
    output.say("")
    for agent in verify["agents"]:
        output.say(f"  verified   {verified(agent)}")
    up = [wall["name"] for wall in demo.walls if wall.get("state") == "up"]
    return {
        "ok": True,
        "elapsed_s": round(time.monotonic() - demo.started, 3),
        "server": demo.place.url,
        "walls": {"up": len(up), "of": len(demo.walls), "list": demo.walls},
        "scripts": [_script(demo, check.name) for check in demo.checks],
        "schedules": [{"id": identity, "script": name} for name, identity in sorted(demo.schedules.items())],
        "results": [_brief(results[name]) for name in sorted(results)],
        "runs": [_brief(run) for run in runs],
        "verify": verify,
    }


def _scheduled(demo: Demo, output: Output) -> dict[str, dict[str, Any]]:
    """Wait for one scheduled result of each check."""
    wanted = {check.name for check in demo.checks}
    found: dict[str, dict[str, Any]] = {}
    results = Results(demo.api)

    def look() -> bool:
        for run in results.new():
            if run.get("schedule") and run["script"] in wanted and run["script"] not in found:
                output.say(line(run))
                found[run["script"]] = run
                _must_be_ok(run)
        return wanted <= found.keys()

    try:
        demo.daemons.wait_for("a scheduled result of each check", look, RESULTS_DEADLINE_S)
    except DeadlineError:
        missing = ", ".join(sorted(wanted - found.keys()))
        raise DeadlineError(f"no scheduled result within {RESULTS_DEADLINE_S:g} s of: {missing}") from None
    return found


def _must_be_ok(run: dict[str, Any]) -> None:
    if run.get("status") != "ok":
        raise TourError(f"{run.get('script')} ended {run.get('status')}: {run.get('reason')}")


def _run(demo: Demo, language: str, output: Output) -> dict[str, Any]:
    """Run the quickest check of a language once, through the whole path."""
    check = min(
        (check for check in demo.checks if check.bundle.manifest.language == language),
        key=lambda check: (check.name == "checks/cpu", check.name),  # the check of the processor samples for a while
    )
    body = {
        "target": AGENT, "script": check.name, "parameters": dict(check.parameters), "reason": "tour of the demo",
        "wait_s": RUN_WAIT_S,
    }  # fmt: skip
    (run,) = demo.api.post("runs", body)["runs"]
    _must_be_ok(run)
    output.say(f"{line(run)}   (one-off, {language})")
    return {**run, "language": language}


def _verify(demo: Demo) -> dict[str, Any]:
    verify = dict(demo.api.get("records/verify"))
    if not verify.get("ok"):
        broken: dict[str, Any] = next((agent for agent in verify.get("agents", []) if agent.get("error")), {})
        raise LedgerError(f"the ledger of {broken.get('agent')} does not verify: {broken.get('error')}", sequence=0)
    return verify


def _script(demo: Demo, name: str) -> dict[str, Any]:
    shown = demo.api.get("scripts/show", name=name)
    return {key: shown.get(key) for key in ("name", "version", "digest", "status", "tier")}


def _brief(run: dict[str, Any]) -> dict[str, Any]:
    names = (
        "id", "script", "version", "language", "agent", "status", "state", "status_text", "result", "metrics", "usage",
        "schedule", "fire_time",
    )  # fmt: skip
    return {name: run[name] for name in names if name in run}
