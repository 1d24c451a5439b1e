"""Temporary files and directories of runs and sessions: nobody reaches them but who made them.

They lie in one directory of the host, where tier ``operate`` may change what it finds. A run that is taken over could
write into what another one, of a higher tier, is about to believe or to hand to a program. So a rule of the agent's own
denies all of them, those of an earlier agent and of another one too, and each run and session is decided on without
that rule where it reaches for what it made itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from policies.decide import Effective, decide_below, decide_effective
from policies.model import Effect, Facts, Rule, Verdict
from policies.paths import PathPattern, literal
from stdlib.host import TEMPORARY_PREFIX, RunContext

ORIGIN: Final = "temporary files of others:"


def place() -> str:
    """Return the real path of the directory in which they lie."""
    return os.path.realpath(tempfile.gettempdir())


def rule(others: Sequence[str] = ()) -> Rule:
    """Return the rule that denies them all, also below the other paths where mounts show that directory."""
    tops = [literal(top.rstrip("/")) for top in (place(), *others)]
    return Rule(
        Effect.DENY, "*", ORIGIN, paths=tuple(PathPattern.parse(f"{top}/{TEMPORARY_PREFIX}*/**") for top in tops)
    )


class Decided:
    """What one run or session may do, with what it made itself.

    Args:
        effective: Of which one layer has :func:`rule`.
        context: Of the run or session; knows what it made.
    """

    def __init__(self, effective: Effective, context: RunContext) -> None:
        self._effective = effective
        self._context = context
        self._own: Effective | None = None  # the same without the rule; made when it is first asked for

    def decide(self, call: str, facts: Facts) -> Verdict:
        """Return the verdict on a call. What is made later has a name that nobody could have asked about before."""
        return decide_effective(self._for(facts.path), call, facts)

    def below(self, call: str, directory: str) -> bool | None:
        """Tell of all below a real directory, as :func:`policies.decide.decide_below`."""
        return decide_below(self._for(directory), call, directory)

    def _for(self, path: str | None) -> Effective:
        made = self._context.temporaries
        if not made or path is None or not any(path == own or path.startswith(f"{own}/") for own in made):
            return self._effective
        if self._own is None:
            layers = tuple(
                replace(layer, rules=tuple(rule for rule in layer.rules if rule.origin != ORIGIN))
                for layer in self._effective.layers
            )
            self._own = replace(self._effective, layers=layers)
        return self._own
