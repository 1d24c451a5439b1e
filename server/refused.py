"""Whom this server refuses, and whether one more refusal is recorded by itself or only counted. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from server import limits
from server.allowance import Allowance

UNKNOWN: Final = "unknown"  # who is refused without having proved anything


@dataclass
class Refused:
    """Whom this server refuses, and how much of it waits to be told."""

    allowances: dict[str, Allowance] = field(default_factory=dict)  # by principal: as many as have tokens
    untold: dict[str, int] = field(default_factory=dict)  # refusals that were not recorded, by principal

    def take(self, principal: str) -> bool:
        """Tell whether one more of this principal is recorded by itself; else count it."""
        allowance = self.allowances.get(principal)
        if allowance is None:
            rates = (limits.REFUSALS_OF_ONE_PER_S, limits.REFUSALS_OF_ONE) if principal != UNKNOWN else ()
            allowance = self.allowances[principal] = Allowance(*rates)
        if allowance.take():
            return True
        self.untold[principal] = self.untold.get(principal, 0) + 1
        return False
