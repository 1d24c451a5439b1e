"""Looks that are on record, for each person: so many at once, and so many in the long run.

Whoever may look at something that is noted each time could fill the disk by looking, and the records with nothing else,
as refusals could (:mod:`server.refused`). No I/O.
"""

from __future__ import annotations

from protocol.errors import RateError
from server import limits
from server.allowance import Allowance


class Paced:
    """Those of one server."""

    def __init__(self) -> None:
        self._of: dict[str, Allowance] = {}  # by principal: as many as have tokens

    def take(self, principal: str) -> None:
        """Return if a person may look once more now.

        Raises:
            RateError: They have looked too often.
        """
        allowance = self._of.get(principal)
        if allowance is None:
            allowance = self._of[principal] = Allowance(limits.NOTED_LOOKS_OF_ONE_PER_S, limits.NOTED_LOOKS_OF_ONE)
        if not allowance.take():
            raise RateError(
                f"{principal} has looked at too much that is noted each time (blobs, recordings); try again in a moment"
            )
