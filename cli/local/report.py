"""How a local run is told: the exact JSON form that programs rely on, and a few lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.nouns.run import metrics_columns
from cli.output import Column, Output, counted, encodable
from cli.output import field as column


@dataclass(frozen=True)
class CallMade:
    """One call of the script, as the gate decided it."""

    call: str
    verdict: str  # allow | deny | dry: allowed, and not carried out in a dry run
    rule: str
    ms: float


@dataclass(frozen=True)
class Ran:
    """How one local run ended."""

    status: str  # ok | error | denied | killed
    reason: str | None = None
    result: Any = None
    output: str = ""
    output_truncated: bool = False
    metrics: Sequence[dict[str, Any]] = ()
    state: str | None = None
    status_text: str | None = None
    timestamp_ms: int | None = None  # when the metrics were taken, since 1970 UTC; None: while it ran
    rows: Sequence[dict[str, Any]] = ()
    progress: dict[str, Any] | None = None
    calls: Sequence[CallMade] = ()
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_bytes: int = 0
    walls_missing: Sequence[str] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """Return the documented JSON form: these keys, and ``rows``, ``progress``, ``timestamp_ms`` if told."""
        taken = {} if self.timestamp_ms is None else {"timestamp_ms": self.timestamp_ms}
        told = {"rows": [encodable(row) for row in self.rows], "progress": self.progress}
        return {
            "status": self.status,
            "reason": self.reason,
            "result": encodable(self.result),
            "output": self.output,
            "metrics": [dict(metric) for metric in self.metrics],
            "calls": [
                {"call": made.call, "verdict": made.verdict, "rule": made.rule, "ms": round(made.ms, 3)}
                for made in self.calls
            ],
            "usage": {
                "wall_ms": round(self.wall_ms, 3),
                "cpu_ms": round(self.cpu_ms, 3),
                "peak_bytes": self.peak_bytes,
            },
            **taken,
            **{name: value for name, value in told.items() if value},
        }


CALLS = (
    column("call", "call"),
    column("verdict", "verdict"),
    column("rule", "rule"),
    Column("ms", lambda made: f"{made['ms']:.3f}", is_number=True),
)


def show(output: Output, ran: Ran, *, verbose: bool) -> None:
    """Write a run: what it printed, its metrics and its result on stdout; how it went on stderr."""
    if output.as_json:
        output.data(ran.to_plain())
        return
    if ran.output:
        output.raw(ran.output if ran.output.endswith("\n") else ran.output + "\n")
    if ran.metrics:
        output.table(ran.metrics, metrics_columns(ran.timestamp_ms))
    for row in ran.rows:
        output.row(row)
    if ran.result is not None:
        output.data(ran.result)
    if verbose:
        output.table(ran.to_plain()["calls"], CALLS, empty="no calls")
    _talk(output, ran, verbose=verbose)


def _talk(output: Output, ran: Ran, *, verbose: bool) -> None:
    if ran.output_truncated:
        output.say("the output was cut at its limit")
    if ran.walls_missing:
        output.say(f"missing walls on this machine: {', '.join(ran.walls_missing)}  (outrider doctor)")
    dry = sum(made.verdict == "dry" for made in ran.calls)
    if dry:
        output.say(f"dry run: {counted(dry, 'call')} not carried out{'' if verbose else ' (--verbose shows them)'}")
    cost = f"{ran.wall_ms:.1f} ms  {ran.cpu_ms:.1f} ms cpu  {counted(len(ran.calls), 'call')}"
    text = ran.reason or ran.status_text or ""
    output.say(f"{ran.status:<6}  {text}  {cost}" if text else f"{ran.status:<6}  {cost}")
