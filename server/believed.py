"""What time the server believes it is: never before what it has believed for long, however the clock is set. Pure.

- The host's clock is believed, unless it is more than ``SLACK_S`` behind a mark: what it said when it had gone on for
  ``STEADY_S`` without a step, and what has passed since, by a clock that nobody sets. So what has expired by a mark
  stays expired.
- A clock that leaps ahead is believed, too, but makes no mark before it is steady: set right within that time, nothing
  is lost. After that only a person takes it back, by removing what is kept (:meth:`Believed.look`).
- The mark is kept on disk by whoever asks to look; what passes between two looks is what a sudden end costs.
"""

from __future__ import annotations

from typing import Final

STEADY_S: Final = 3600.0  # that the clock went on without a step before it is a mark. Not measured.
STEP_S: Final = 60.0  # between two looks; time servers correct by less
SLACK_S: Final = 60.0  # that the host may be behind the mark: corrections of a clock that was a little ahead


class Believed:
    """The belief of one server. Reading is safe from any thread."""

    def __init__(self) -> None:
        self._mark: tuple[int, int] | None = None  # what time it was, and the time lived then, in us
        self._was_kept = False  # whether the last look found something on disk
        self._ahead_us: int | None = None  # the host's clock, of the time lived, at the last look
        self._steady_since_us = 0  # time lived; no step was seen since then

    def at(self, host_us: int, lived_us: int) -> int:
        """Return the present in microseconds since 1970 UTC.

        Args:
            host_us: What the host's clock says.
            lived_us: Of a clock that is never set, from any beginning.
        """
        mark = self._mark
        if mark is None:
            return host_us
        least_us = mark[0] + lived_us - mark[1]
        return host_us if host_us >= least_us - SLACK_S * 1_000_000 else least_us

    def begin(self, kept_us: int | None, lived_us: int) -> None:
        """Begin anew with what was kept when the server ended; None: nothing."""
        self._mark = None if kept_us is None else (kept_us, lived_us)
        self._was_kept = kept_us is not None
        self._ahead_us = None

    def look(self, kept_us: int | None, host_us: int, lived_us: int) -> int | None:
        """Look at the clocks, about once a minute.

        Args:
            kept_us: What is on disk; None: nothing, which a person may have removed: then the host is believed anew.
            host_us: As :meth:`at`.
            lived_us: As :meth:`at`.

        Returns:
            What is to be kept from now on; None while there is nothing to keep.
        """
        if kept_us is None and self._was_kept:
            self.begin(None, lived_us)
        self._was_kept = kept_us is not None
        ahead_us = host_us - lived_us
        if self._ahead_us is None or abs(ahead_us - self._ahead_us) > STEP_S * 1_000_000:
            self._steady_since_us = lived_us
        self._ahead_us = ahead_us
        known = [] if self._mark is None else [self._mark[0] + lived_us - self._mark[1]]
        if lived_us - self._steady_since_us >= STEADY_S * 1_000_000:
            known.append(host_us)
        if not known:
            return None
        self._mark = max(known), lived_us
        return self._mark[0]

    def behind_us(self, host_us: int, lived_us: int) -> int:
        """Return by how much the host's clock is behind what is believed; 0 if it is believed."""
        return self.at(host_us, lived_us) - host_us
