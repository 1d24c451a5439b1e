"""Temporary files and directories of runs and sessions: nobody reaches them but who made them.

They lie in one directory of the host, where tier ``operate`` may change what it finds. A run that is taken over could
write into what another one, of a higher tier, is about to believe or to hand to a program. So a rule of the agent's own
denies all of them, those of an earlier agent and of another one too, and each run and session is decided on without
that rule where it reaches for what it made itself (:mod:`stdlib.own_temporaries`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from policies.model import Effect, Rule
from policies.paths import PathPattern, literal
from stdlib.host import TEMPORARY_PREFIX
from stdlib.own_temporaries import OTHERS


def place() -> str:
    """Return the real path of the directory in which they lie."""
    return os.path.realpath(tempfile.gettempdir())


def rule(others: Sequence[str] = ()) -> Rule:
    """Return the rule that denies them all, also below the other paths where mounts show that directory."""
    tops = [literal(top.rstrip("/")) for top in (place(), *others)]
    return Rule(
        Effect.DENY, "*", OTHERS, paths=tuple(PathPattern.parse(f"{top}/{TEMPORARY_PREFIX}*/**") for top in tops)
    )
