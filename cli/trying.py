"""Trying a schedule before it is made: whom it would run on, when, and what dry runs on a few of them came to.

The server checks it as if it made it, and makes nothing. The dry runs are runs like any other: they are on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cli import exits
from cli.ages import parse_time
from cli.invocation import Invocation
from cli.nouns.run import summary
from cli.output import Column, Output, counted, field
from protocol.errors import DeniedError, NotConnectedError
from protocol.units import format_duration
from protocol.wall_times import time_zone

MAX_TRIED = 2  # hosts; enough to see that a script works, few enough to disturb nobody
WAIT_S = 30.0  # for each; what the server's own bound allows twice over

COLUMNS = (
    field("host", "name"),
    Column("link", lambda host: "up" if host["connected"] else "off"),
    Column("tried", lambda host: (host["run"] or {}).get("status")),
    Column("result", lambda host: summary(host["run"]) if host["run"] else ""),
    Column("run", lambda host: (host["run"] or {}).get("id")),
)


def show_trial(invocation: Invocation, wanted: Mapping[str, Any]) -> int:
    """Show what the schedule ``wanted`` would do, and return the exit status of its dry runs.

    Raises:
        OutriderError: The server would not make this schedule.
    """
    output = invocation.output
    preview = invocation.api.post("schedules/preview", wanted)
    for warning in preview["warnings"]:
        output.say(f"warning: {warning}")
    tries = _tries(invocation, wanted, preview)
    if invocation.as_json:
        output.data({**preview, "tries": tries})
    else:
        _show(output, preview, tries)
    return exits.of_runs([(str(run["status"]), run.get("code")) for run in tries]) if tries else exits.OK


def _tries(invocation: Invocation, wanted: Mapping[str, Any], preview: Mapping[str, Any]) -> list[dict[str, Any]]:
    chosen = [host for host in preview["hosts"] if host["connected"]][:MAX_TRIED]
    body = {
        "script": preview["script"], "version": preview["version"], "parameters": wanted["parameters"],
        "reason": "trial of a schedule", "wait_s": WAIT_S, "dry_run": True,
    }  # fmt: skip
    if "timeout_s" in wanted:
        body["timeout_s"] = wanted["timeout_s"]
    tries: list[dict[str, Any]] = []
    for host in chosen:
        try:
            tries += invocation.api.post("runs", body | {"target": host["id"]})["runs"]
        except (DeniedError, NotConnectedError) as error:  # who may schedule need not be one who may run
            tries.append({
                "agent": host["name"], "agent_id": host["id"], "status": "refused", "reason": error.message,
                "code": error.code,
            })  # fmt: skip
    return tries


def _show(output: Output, preview: Mapping[str, Any], tries: Sequence[Mapping[str, Any]]) -> None:
    hosts = preview["hosts"]
    parts = [f"would run on {counted(len(hosts), 'agent')}"]
    if tries:
        parts.append(f"tried on {len(tries)}: {', '.join(str(run['status']) for run in tries)}{_cost(tries)}")
    elif hosts:
        parts.append("tried on none: no agent is connected")
    output.line("; ".join([*parts, f"next: {fire_times(preview['fires'], preview['zone'], datetime.now(UTC))}"]))
    if not hosts:
        output.say(f"no host matches {preview['on']} now; it would fire on those that come to match")
        return
    by_host = {run["agent_id"]: run for run in tries}
    output.table([{**host, "run": by_host.get(host["id"])} for host in hosts], COLUMNS)
    if preview["splay_s"]:
        output.say(f"each host fires up to {format_duration(preview['splay_s'])} later, always by the same time")


def _cost(tries: Sequence[Mapping[str, Any]]) -> str:
    """Return what the dearest of the tries cost."""
    usages = [run["usage"] for run in tries if run.get("usage")]
    if not usages:
        return ""
    cpu_ms = max(float(usage.get("cpu_ms") or 0) for usage in usages)
    return f" (cost {cpu_ms:.1f} ms cpu, {counted(max(int(usage.get('calls') or 0) for usage in usages), 'call')})"


def fire_times(fires: Sequence[str], zone: str, now: datetime) -> str:
    """Return fire times in the wall time of ``zone``: the time of day alone where it is today's, and the zone last."""
    place = time_zone(zone)
    shown = []
    for moment in filter(None, map(parse_time, fires)):
        local = moment.astimezone(place)
        is_today = local.date() == now.astimezone(place).date()
        shown.append(local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S"))
    return f"{', '.join(shown)} ({zone})" if shown else "never"
