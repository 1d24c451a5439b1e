"""The data of the record ``run.end``: the one way on which the result of a run travels. Pure.

It always fits into a record. What does not fit is cut in this order: printed output (its end goes), then metrics beyond
the first ones, then the result, then emitted rows; ``truncated`` says that something is missing and ``cut`` what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent import limits
from protocol.errors import TooLargeError
from protocol.frames import encode
from protocol.limits import MAX_RECORD_BYTES

_ROOM_BYTES: Final = 4096  # for the record around the data: ids, principal, hashes
_MOST_BYTES: Final = 64 * limits.MIB  # that are encoded to be measured
_MAX_REASON_CHARS: Final = 2000
_MAX_METRICS_KEPT: Final = 200  # when there are too many; in practice a check has under fifty


@dataclass(frozen=True, slots=True)
class About:
    """Which run it was; kept with an open run, so that its end can be told even after a crash."""

    script: str
    version: str
    digest: str
    tier: str
    principal: str
    schedule: str | None = None
    fire_us: int | None = None
    parent: str | None = None  # the run that called it

    def to_plain(self) -> dict[str, Any]:
        """Return the fields that ``run.start`` and ``run.end`` share."""
        return {
            "script": self.script,
            "version": self.version,
            "digest": self.digest,
            "tier": self.tier,
            "schedule": self.schedule,
            "fire_us": self.fire_us,
        } | ({"parent": self.parent} if self.parent is not None else {})


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, before it is made to fit."""

    status: str  # ok | error | denied | killed | lost
    reason: str | None = None
    result: Any = None
    output: bytes = b""
    output_truncated: bool = False
    metrics: Sequence[dict[str, Any]] = ()
    state: str | None = None
    status_text: str | None = None
    timestamp_ms: int | None = None  # when the metrics were taken, since 1970 UTC; None: while it ran
    rows: Sequence[dict[str, Any]] = ()
    progress: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=lambda: {"wall_ms": 0.0, "cpu_ms": 0.0, "peak_bytes": 0, "calls": 0})
    walls_missing: Sequence[str] = ()


def end_data(about: About, ending: Ending) -> dict[str, Any]:
    """Return the data of ``run.end``, within the bound of a record."""
    data: dict[str, Any] = about.to_plain() | {
        "status": ending.status,
        "reason": None if ending.reason is None else ending.reason[:_MAX_REASON_CHARS],
        "result": ending.result,
        "output": ending.output.decode("utf-8", "replace"),
        "truncated": ending.output_truncated,
        "cut": ["output"] if ending.output_truncated else [],
        "metrics": list(ending.metrics),
        "state": ending.state,
        "status_text": ending.status_text,
        "timestamp_ms": ending.timestamp_ms,
        "rows": list(ending.rows),
        "progress": ending.progress,
        "usage": ending.usage,
        "walls": list(ending.walls_missing),
    }
    return _fit(data)


def _fit(data: dict[str, Any]) -> dict[str, Any]:
    if _over(data) <= 0:  # as good as always
        return data
    if data["output"]:
        _say(data, "output")  # before it is measured: the word needs room too, or the result would have to give it
        _cut_output(data, _over(data))
    if _over(data) > 0 and len(data["metrics"]) > _MAX_METRICS_KEPT:
        data["metrics"] = data["metrics"][:_MAX_METRICS_KEPT]
        _say(data, "metrics")
    if _over(data) > 0:
        data["result"] = None
        _say(data, "result")
    if _over(data) > 0:  # only metrics can be this large
        data["metrics"] = []
        _say(data, "metrics")
    if _over(data) > 0:
        data["rows"] = []
        _say(data, "rows")
    return data


def _cut_output(data: dict[str, Any], over: int) -> None:
    whole = data["output"].encode()
    data["output"] = whole[: max(0, len(whole) - over)].decode("utf-8", "ignore")


def _say(data: dict[str, Any], what: str) -> None:
    data["truncated"] = True
    if what not in data["cut"]:
        data["cut"].append(what)


def _over(data: dict[str, Any]) -> int:
    """Return by how many bytes the data is too large for a record; 0 or less if it fits."""
    try:
        size = len(encode(data, max_bytes=_MOST_BYTES))
    except TooLargeError:  # how much larger is not told, and all that can be cut would not be too much
        size = _MOST_BYTES
    return size - (MAX_RECORD_BYTES - _ROOM_BYTES)
