"""``python -m bench``: measure, print a table with targets and peers, write JSON."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from agent.loop import loop_factory
from bench.measure import Better, Measure

OUT = Path(__file__).parent / "out"
BOUND = {Better.LOWER: "at most", Better.HIGHER: "at least"}

#: Name on the command line -> (module, function). A function returns measures, or is a coroutine that does.
MEASURES: dict[str, tuple[str, str]] = {
    "worker": ("bench.workers", "measure_cold"),
    "calls": ("bench.workers", "measure_calls"),
    "throughput": ("bench.throughput", "measure"),
    "records": ("bench.records", "measure"),
    "ingest": ("bench.ingest", "measure"),
    "files": ("bench.files", "measure"),
    "transfers": ("bench.transfers", "measure"),
    "run": ("bench.oneoff", "measure"),
    "terminals": ("bench.terminals", "measure"),
    "commands": ("bench.commands", "measure"),
    "forwards": ("bench.forwards", "measure"),
    "repository": ("bench.listing", "measure"),
    "seeking": ("bench.seeking", "measure"),
    "verification": ("bench.verification", "measure"),
}


def take(name: str) -> list[Measure]:
    """Take the measures of one name."""
    module, function = MEASURES[name]
    made: Any = getattr(import_module(module), function)()
    if inspect.iscoroutine(made):
        with asyncio.Runner(loop_factory=loop_factory()) as runner:  # as the agent's
            made = runner.run(made)
    return list(made)


def lines(measures: Sequence[Measure]) -> list[str]:
    """Return the table: each measure, its target, and below it its peers as ratios."""
    rows = [("", "measured", "target", "")]
    for made in measures:
        target = "-" if made.target is None else f"{BOUND[made.better]} {made.target:,g} {made.unit}"
        met = {True: "met", False: "NOT MET", None: ""}[made.met]
        rows.append((made.name, f"{made.value:,.2f} {made.unit}", target, met))
        if made.note:
            rows.append((f"    {made.note}", "", "", ""))
        for peer in made.peers:
            ratio = made.ratio(peer)
            value = f"{peer.value:,.2f} {made.unit}" if peer.value is not None else "absent"
            told = f"{ratio:.2f} x" if ratio is not None else str(peer.absent)
            rows.append((f"    against {peer.name}", value, told, ""))
    short = [row for row in rows if row[1]]
    widths = [max(len(row[column]) for row in short) for column in range(3)]
    return [
        "  ".join((row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3])).rstrip()
        for row in rows
    ]


def report(measures: Sequence[Measure], failed: dict[str, str], elapsed_s: float) -> dict[str, Any]:
    """Return what the JSON file holds."""
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "elapsed_s": round(elapsed_s, 1),
        "machine": {
            "kernel": platform.release(), "machine": platform.machine(), "processors": os.cpu_count(),
            "python": platform.python_version(), "load": os.getloadavg()[0],
        },
        "measures": [made.to_plain() for made in measures],
        "failed": failed,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure; 0 unless something could not be measured. A target that is not met is told, not an error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the JSON here")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="only these measures")
    chosen = parser.parse_args(arguments)
    began = time.perf_counter()
    measures: list[Measure] = []
    failed: dict[str, str] = {}
    for name in chosen.only or MEASURES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            measures += take(name)
        except Exception as error:  # noqa: BLE001 - the other measures are worth having
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
    print("\n".join(lines(measures)))
    for name, why in failed.items():
        print(f"could not measure {name}: {why}")
    text = json.dumps(report(measures, failed, time.perf_counter() - began), indent=2) + "\n"
    OUT.mkdir(exist_ok=True)
    for path in filter(None, (OUT / "latest.json", chosen.json)):
        path.write_text(text, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
