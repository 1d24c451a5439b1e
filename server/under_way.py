"""Requests that are being answered, counted for each person: streams that go on, waits, answers that nobody reads.

Each holds a descriptor and some hundred kilobytes for as long as who asked likes. So a token that opens no more than
looking could use up what the server may have open, and then no host and nobody else comes in. No I/O.
"""

from __future__ import annotations

from protocol.errors import RateError
from server import limits


class UnderWay:
    """Those of one server."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}  # by principal

    def enter(self, principal: str) -> None:
        """One more of a person's begins.

        Raises:
            RateError: They have as many as they may; nothing is counted then.
        """
        count = self._of.get(principal, 0)
        if count >= limits.MAX_REQUESTS_OF_ONE:
            raise RateError(f"{count} requests of {principal} are under way; end some of them, such as record tail")
        self._of[principal] = count + 1

    def leave(self, principal: str) -> None:
        """One of theirs is over."""
        count = self._of.pop(principal) - 1
        if count:
            self._of[principal] = count
