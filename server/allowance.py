"""How much of something strangers may make us do in a second."""

from __future__ import annotations

import time

from server.limits import REFUSALS_RECORDED_PER_S


class Allowance:
    """A token bucket of one second's worth of refusals by strangers."""

    def __init__(self, per_s: float = REFUSALS_RECORDED_PER_S) -> None:
        self._per_s = per_s
        self._left = per_s
        self._looked_at = time.monotonic()

    def take(self, now: float | None = None) -> bool:
        """Tell whether one more may be recorded now."""
        present = time.monotonic() if now is None else now
        self._left = min(self._per_s, self._left + (present - self._looked_at) * self._per_s)
        self._looked_at = present
        if self._left < 1:
            return False
        self._left -= 1
        return True
