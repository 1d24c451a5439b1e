"""Where the terminal of a session is kept, for those who must not load terminals to find that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.live import LiveSession

if TYPE_CHECKING:
    from agent.seat import Seat

SEAT: Final = "terminal"  # in the things of a session


def seat_of(session: LiveSession) -> Seat | None:
    """Return the terminal of a session, if it has one."""
    found: Seat | None = session.things.get(SEAT)
    return found
