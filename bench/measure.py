"""What a measurement is: a value with a unit, how it was spread, what it should reach, and the peer beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Better(StrEnum):
    """Which direction is good."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True)
class Peer:
    """The same work done by something else in the same run of the benchmark."""

    name: str
    value: float | None = None  # in the unit of its measure; None if it could not be measured
    absent: str | None = None  # why not


@dataclass(frozen=True)
class Measure:
    """One measured number."""

    name: str
    value: float
    unit: str
    target: float | None = None  # to reach, in ``unit``; None where there is none
    better: Better = Better.LOWER
    spread: dict[str, float] = field(default_factory=dict)  # p50, p90, p99, samples ...
    peers: tuple[Peer, ...] = ()
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better is Better.LOWER else self.value >= self.target

    def ratio(self, peer: Peer) -> float | None:
        """Return how many times better this is than the peer; above 1 is better. None without a value."""
        if not peer.value or not self.value:
            return None
        return peer.value / self.value if self.better is Better.LOWER else self.value / peer.value

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        plain = asdict(self)
        plain["met"] = self.met
        plain["peers"] = [{**asdict(peer), "ratio": self.ratio(peer)} for peer in self.peers]
        return plain


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the sample at ``share`` (0 to 1) of the sorted samples, the nearest rank.

    Raises:
        ValueError: There are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return the quantiles that a table of times shows."""
    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    return {**{name: quantile(samples, share) for name, share in shares.items()}, "samples": float(len(samples))}
