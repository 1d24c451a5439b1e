"""Who edits which file in a session right now, for those who watch it. In memory alone: the record has what came of it.

Each editor has one state, the newest; a watcher that is slow misses what was in between and nothing else. There is room
for so many editors of a session and for so much text of all: of more the oldest goes, so that nobody who edits much
keeps others from being seen, and no session that ended with nobody there takes the room for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from server import clock
from server.signals import Bell

MAX_EDITORS: Final = 1_000  # of all sessions
MAX_OF_SESSION: Final = 16  # editors of one session
MAX_TEXT_CHARACTERS: Final = 256 << 10  # of what is shown of a file
MAX_CHARACTERS: Final = 16 << 20  # of all of them; four bytes each at most
Key = tuple[str, str, str]  # session, principal, path


@dataclass
class Editing:
    """The editors of all sessions."""

    bell: Bell = field(default_factory=Bell)  # rung at each change
    _states: dict[Key, dict[str, Any]] = field(default_factory=dict)  # oldest first
    _newest: int = 0
    _characters: int = 0

    def tell(self, session: str, principal: str, path: str, state: dict[str, Any] | None) -> None:
        """Somebody edits; None: not any more."""
        key = (session, principal, path)
        is_known = key in self._states
        self._drop([key])
        if state is None and not is_known:
            return
        self._newest += 1
        told = {"principal": principal, "path": path, "time": clock.text(clock.now_us()), "number": self._newest}
        self._states[key] = {**told, "is_open": state is not None, **(state or {})}
        self._characters += _size(self._states[key])
        here = [each for each in self._states if each[0] == session]
        self._drop(here[:-MAX_OF_SESSION])
        while len(self._states) > MAX_EDITORS or self._characters > MAX_CHARACTERS:
            self._drop([next(iter(self._states))])
        self.bell.ring()

    def after(self, session: str, number: int) -> list[dict[str, Any]]:
        """Return the states of a session that are newer than ``number``, oldest first."""
        return [state for key, state in self._states.items() if key[0] == session and state["number"] > number]

    def forget(self, session: str) -> None:
        """A session is over."""
        self._drop([key for key in self._states if key[0] == session])

    def _drop(self, keys: Iterable[Key]) -> None:
        for key in keys:
            state = self._states.pop(key, None)
            if state is not None:
                self._characters -= _size(state)


def _size(state: dict[str, Any]) -> int:
    return len(state["path"]) + len(state.get("text") or "")
