"""What is asked of a host when a script shall run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fire:
    """The fire time of a schedule that a run is for."""

    schedule: str
    fire_us: int  # microseconds since 1970, UTC: the intended instant
    was_queued: bool  # marked before, waited behind another run
    spec: Mapping[str, Any]  # the schedule as it stands; what an operator's order must have signed


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One wish to run a script, from the server or from a schedule. Nothing in it is believed yet."""

    run_id: str
    digest: str
    parameters: Mapping[str, Any]
    principal: str  # who asked, as the server says, or ``schedule:<id>``
    reason: str
    timeout_s: float | None = None
    order: Any = None  # the operator's signed order as it arrived, or None
    dry_run: bool = False  # changes are decided and recorded, and not carried out
    fire: Fire | None = None  # of a schedule
    parent: str | None = None  # the run that called it; None if nobody did
    depth: int = 1  # of a chain of scripts that call each other, itself included
    first: str | None = None  # the run that the chain began with; None if this one

    @property
    def chain(self) -> str:
        """The run that somebody or a schedule wanted, and on whose account this one is."""
        return self.first or self.run_id

    @property
    def action(self) -> str:
        """What an order must allow: ``schedule`` for a fire time, else ``run``."""
        return "run" if self.fire is None else "schedule"
