"""Sessions of people as calls of scripts see them: who is here, and a word to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.clock import Clock, lived_s
from agent.live import LiveSession, LiveSessions
from agent.terminal_seats import seat_of
from protocol.errors import NotFoundError

if TYPE_CHECKING:
    from agent.seat import Seat


class People:
    """What ``stdlib.host.PeopleHere`` asks for.

    Args:
        clock: For the moments at which sessions began.
    """

    def __init__(self, clock: Clock) -> None:
        self.live: LiveSessions | None = None  # set once it is there: it needs the host that this is part of
        self._clock = clock

    def sessions(self) -> list[dict[str, Any]]:
        """Return those that are open, oldest first."""
        return [] if self.live is None else [self._shown(session) for session in self.live.open_sessions]

    def notice(self, session: str, text: str) -> None:
        """Show a line to who watches a terminal; NotFoundError if there is none."""
        seat = self._seat(session)
        seat.tell(["notice", seat.now_us(), text])

    def client(self, session: str, action: str, path: str) -> None:
        """Propose to who watches a terminal to open a path; NotFoundError if there is none."""
        seat = self._seat(session)
        seat.tell(["event", seat.now_us(), {"what": "client", "action": action, "path": path}])

    def _seat(self, session: str) -> Seat:
        seat = None if self.live is None else seat_of(self.live.find(session))
        if seat is None:
            raise NotFoundError(f"session {session[:40]} has no terminal")
        return seat

    def _shown(self, session: LiveSession) -> dict[str, Any]:
        seat = seat_of(session)
        began_s = self._clock.time_us() / 1e6 - (lived_s() - session.opened_s)
        return {
            "id": session.id, "kind": session.opening.wish.kind, "user": session.opening.wish.principal,
            "started": round(began_s, 3),
            "size": None if seat is None else {"cols": seat.size[0], "rows": seat.size[1]},
            "watchers": 0 if seat is None else seat.watchers, "recording": seat is not None,
        }  # fmt: skip
