"""When things happen in one terminal: microseconds since it was opened, which only its host has seen.

An agent's word is taken for the times of what it sends, as clocks of hosts are their own; but never for longer than its
session has been there, so that none can put the end of a recording into the far future.
"""

from __future__ import annotations

import time
from typing import Final

from server import clock
from server.sessions.recording import Recording

_LENIENCE_US: Final = 60_000_000  # that an agent's clock may be ahead of ours


class Timeline:
    """The times of one terminal.

    Args:
        recording: Whose newest event is behind everything that comes.
        created_us: When the session was made, by the server's clock.
    """

    def __init__(self, recording: Recording, created_us: int) -> None:
        self._recording = recording
        self._created_us = created_us
        self._base_s = time.monotonic() - recording.us / 1e6  # when the terminal was opened, on our clock
        #: How long the terminal may have been there at least, as was found out some time ago: up to this :meth:`at`
        #: has nothing to say.
        self.surely_us = 0

    def now_us(self) -> int:
        """Microseconds since the terminal was opened, as far as is known here."""
        return max(0, round((time.monotonic() - self._base_s) * 1_000_000))

    def opened(self, told_us: object) -> None:
        """The agent says how long the terminal has been there, in microseconds; what cannot be is not believed."""
        if type(told_us) is int and 0 <= told_us <= self._longest_us():
            self._base_s = time.monotonic() - max(told_us, self._recording.us) / 1e6

    def at(self, told_us: int) -> int:
        """Return the time of something that an agent told."""
        if told_us > self.surely_us:
            self.surely_us = self._longest_us()
        return min(told_us, self.surely_us)

    def _longest_us(self) -> int:
        """Return how long the terminal may have been there: whatever an agent says, not longer than its session."""
        return clock.now_us() - self._created_us + _LENIENCE_US
