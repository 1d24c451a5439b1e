"""``check.*``: what a monitoring check reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from protocol.errors import ArgumentError, BudgetError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import MAX_METRICS_CHARACTERS, MAX_STATUS_CHARACTERS, RunContext, check_room
from stdlib.parameters import Bounds, Length

Type = Literal["string", "gauge", "int32", "uint32", "int64", "uint64", "double"]
_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1), "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1),
}  # fmt: skip


@call("check.metric", tier=Tier.COMPUTE, lua='check.metric("free", "int64", 12, "kilobytes")')
async def metric(
    run: RunContext,
    name: Annotated[str, Length(200)],
    type: Type,
    value: object,
    unit: Annotated[str, Length(64)] = "",
    dimension: Annotated[str, Length(200)] | None = None,
) -> None:
    """Report one metric. ``gauge`` and ``double`` take any number, the others what their name says.

    A run reports no more than its limit ``metrics`` says (1,000 unless a policy says less), with texts of 1 MiB
    together.
    """
    check_room("metrics", len(run.metrics), run.limits.metrics)
    fitted = _fitted(type, value)
    size = sum(len(text) for text in (name, unit, dimension or "", fitted if isinstance(fitted, str) else ""))
    if run.metrics_characters + size > MAX_METRICS_CHARACTERS:
        told = f"the metrics of a run have texts of at most {MAX_METRICS_CHARACTERS >> 20} MiB together"
        raise BudgetError(told, budget="metrics")
    run.metrics_characters += size
    run.metrics.append({"name": name, "type": type, "value": fitted, "unit": unit, "dimension": dimension})


def _fitted(kind: str, value: Any) -> Any:
    if kind == "string":
        if not isinstance(value, str):
            raise ArgumentError("value: must be text for the type string", parameter="value")
        return value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ArgumentError(f"value: must be a number for the type {kind}", parameter="value")
    if kind == "double":
        return float(value)
    if kind == "gauge":
        return value
    if isinstance(value, float) and not value.is_integer():
        raise ArgumentError(f"value: must be a whole number for the type {kind}", parameter="value")
    low, high = _RANGES[kind]
    if not low <= value <= high:
        raise ArgumentError(f"value: {value} is out of the range of {kind}", parameter="value")
    return int(value)


@call("check.state", tier=Tier.COMPUTE, lua='check.state("unavailable")')
async def state(run: RunContext, state: Literal["available", "unavailable"]) -> None:
    """Say whether what is checked is there."""
    run.state = state


@call("check.status", tier=Tier.COMPUTE, lua='check.status("41 % used")')
async def status(run: RunContext, text: str) -> None:
    """Say in one line how things are; cut at 256 characters."""
    run.status_text = text[:MAX_STATUS_CHARACTERS]


@call("check.timestamp", tier=Tier.COMPUTE, lua="check.timestamp(1700000000000)")
async def timestamp(run: RunContext, ms: Annotated[int, Bounds(0, 1 << 53, "ms")]) -> None:
    """Say when the values were taken, in milliseconds since 1970 UTC, if not now."""
    run.timestamp_ms = int(ms)
