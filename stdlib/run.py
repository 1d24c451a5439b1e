"""What a run tells while it works (``emit``, ``progress``) and what it may know of itself (``ctx.*``)."""

from __future__ import annotations

import re
from typing import Annotated, Any

from protocol.errors import ArgumentError, BudgetError
from protocol.frames import encode
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import MAX_ROWS_BYTES, Host, RunContext, check_room
from stdlib.parameters import Bounds, Length

MAX_ROW_DEPTH = 8
# C0, DEL, C1 and the characters that turn the direction of text: they could make a reader see what is not there.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@call("emit", tier=Tier.COMPUTE, lua='emit({path = "/var", bytes = 12})', python='emit({"path": "/var", "bytes": 12})')
async def emit(run: RunContext, row: dict[str, Any]) -> None:
    """Add one row to what the run found; rows are kept whatever way the run ends.

    A row holds texts, numbers, booleans, and lists and maps of them. A run emits rows of at most 32 KiB together, and
    no more of them than its limit ``rows`` says (1,000 unless a policy says less).
    """
    found = row or {}
    _check(found, 1)
    size = len(encode(found, max_bytes=1 << 20))
    check_room("rows", len(run.rows), run.limits.rows)
    if run.rows_bytes + size > MAX_ROWS_BYTES:
        raise BudgetError(f"a run emits rows of at most {MAX_ROWS_BYTES >> 10} KiB together", budget="rows")
    run.rows.append(found)
    run.rows_bytes += size


def _check(value: Any, depth: int) -> None:
    if isinstance(value, bytes):
        raise ArgumentError("row: holds bytes that are not valid UTF-8", parameter="row")
    if not isinstance(value, dict | list):
        return
    if depth > MAX_ROW_DEPTH:
        raise ArgumentError(f"row: is nested more than {MAX_ROW_DEPTH} deep", parameter="row")
    for item in value.values() if isinstance(value, dict) else value:
        _check(item, depth + 1)


def printable(text: str) -> str:
    """Return ``text`` with control and bidirectional characters written out."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


@call("progress", tier=Tier.COMPUTE, lua='progress(40, "half of the disks")')
async def progress(
    run: RunContext, pct: Annotated[float, Bounds(0, 100, "percent")], text: Annotated[str, Length(256)] = ""
) -> None:
    """Say how far the run is. The newest is kept and part of the run's end."""
    run.progress = {"pct": float(pct), "text": printable(text)}


@call("ctx.deadline", tier=Tier.COMPUTE, lua="local seconds = ctx.deadline()", python="seconds = ctx.deadline()")
async def deadline(host: Host, run: RunContext) -> float | None:
    """Return how many seconds are left until the run is ended; nothing if nothing ends it."""
    return None if run.ends_s is None else max(0.0, run.ends_s - host.monotonic())


@call("ctx.budget", tier=Tier.COMPUTE, lua="local calls = ctx.budget().calls", python='calls = ctx.budget()["calls"]')
async def budget(run: RunContext) -> dict[str, int]:
    """Return what is left of the run's limits.

    ``calls``, ``output_bytes``, ``log_lines``, ``open_files``, ``processes``, ``metrics`` and ``rows``.
    """
    own = {"metrics": run.limits.metrics - len(run.metrics), "rows": run.limits.rows - len(run.rows)}
    return {**run.left(), **own}


@call("ctx.caller", tier=Tier.COMPUTE, lua="local who = ctx.caller()", python="who = ctx.caller()")
async def caller(run: RunContext) -> str:
    """Return in whose name the script runs, as it stands in the records."""
    return run.principal


@call("ctx.reason", tier=Tier.COMPUTE, lua="local why = ctx.reason()", python="why = ctx.reason()")
async def reason(run: RunContext) -> str:
    """Return why the script runs, as who started it said; an empty text if nothing was said."""
    return run.reason


@call("ctx.dry_run", tier=Tier.COMPUTE, lua="local is_dry = ctx.dry_run()", python="is_dry = ctx.dry_run()")
async def dry_run(run: RunContext) -> bool:
    """Tell whether this is a dry run: what changes anything is decided and recorded, and not carried out.

    Calls that only read are carried out, declared commands and ``net.http`` among them as far as tier ``inspect``
    allows them. Every other gives what has the form of its result: a map has ``dry_run`` set, a handle stands for
    nothing, other values are 0, true or empty. What scripts remember begins empty, and is forgotten at the end.
    """
    return run.is_dry
