"""How much of something others may make us do in a second: a token bucket."""

from __future__ import annotations

import time

from server.limits import REFUSALS_RECORDED_PER_S


class Allowance:
    """A token bucket; as it is made without arguments, one second's worth of refusals by strangers.

    Args:
        per_s: How much comes back in a second.
        most: How much there is at first, and ever; None: one second's worth.
    """

    def __init__(self, per_s: float = REFUSALS_RECORDED_PER_S, most: float | None = None) -> None:
        self._per_s = per_s
        self._most = per_s if most is None else most
        self._left = self._most
        self._looked_at = time.monotonic()

    def take(self, now: float | None = None) -> bool:
        """Tell whether there is one more now, and take it."""
        present = time.monotonic() if now is None else now
        self._left = min(self._most, self._left + (present - self._looked_at) * self._per_s)
        self._looked_at = present
        if self._left < 1:
            return False
        self._left -= 1
        return True
