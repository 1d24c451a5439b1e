"""Who edits which file in a session right now, for those who watch it. In memory alone: the record has what came of it.

Each editor has one state, the newest; a watcher that is slow misses what was in between and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from protocol.errors import RateError
from server import clock
from server.signals import Bell

MAX_EDITORS: Final = 1_000  # of all sessions
MAX_TEXT_CHARACTERS: Final = 256 << 10  # of what is shown of a file


@dataclass
class Editing:
    """The editors of all sessions."""

    bell: Bell = field(default_factory=Bell)  # rung at each change
    _states: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)  # session, principal, path
    _newest: int = 0

    def tell(self, session: str, principal: str, path: str, state: dict[str, Any] | None) -> None:
        """Somebody edits; None: not any more.

        Raises:
            RateError: Too many edit at the same time.
        """
        key = (session, principal, path)
        known = self._states.pop(key, None)
        if state is None and known is None:
            return
        if len(self._states) >= MAX_EDITORS:
            raise RateError(f"{MAX_EDITORS} files are edited through this server already")
        self._newest += 1
        told = {"principal": principal, "path": path, "time": clock.text(clock.now_us()), "number": self._newest}
        self._states[key] = {**told, "is_open": state is not None, **(state or {})}
        self.bell.ring()

    def after(self, session: str, number: int) -> list[dict[str, Any]]:
        """Return the states of a session that are newer than ``number``, oldest first."""
        return [state for key, state in self._states.items() if key[0] == session and state["number"] > number]

    def forget(self, session: str) -> None:
        """A session is over."""
        self._states = {key: state for key, state in self._states.items() if key[0] != session}
