"""When to try the server again: exponential, capped, with full jitter.

Full jitter (a uniform draw between nothing and the bound) spreads a thousand agents that lost the same server over the
whole interval; "equal jitter" would leave half of it empty.

Source:
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Callable

from agent import limits

_MAX_EXPONENT = 32  # so that a month of failures does not build a huge number


class Backoff:
    """Delays between attempts; pure but for the injected randomness.

    Args:
        random: Returns a float in [0, 1); injected.
        base_s: Bound of the first delay, in seconds.
        cap_s: Bound of every delay, in seconds.
        stable_s: A connection that lived this long, in seconds, counts as a success.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        base_s: float = limits.BACKOFF_BASE_S,
        cap_s: float = limits.BACKOFF_CAP_S,
        stable_s: float = limits.STABLE_LINK_S,
    ) -> None:
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self._stable_s = stable_s
        self._failures = 0  # in a row

    @property
    def bound_s(self) -> float:
        """Longest delay that the next call of :meth:`after` can return, in seconds."""
        return min(self._cap_s, self._base_s * 2.0 ** min(self._failures, _MAX_EXPONENT))

    def slow_down(self) -> None:
        """What is wrong will hardly go away by itself: the next delays are drawn up to the cap at once."""
        self._failures = max(self._failures, _MAX_EXPONENT)

    def after(self, connected_s: float = 0.0) -> float:
        """Return how long to wait, in seconds, after an attempt that was connected for ``connected_s`` seconds.

        A server that accepts and at once drops us gets growing delays like one that does not answer.
        """
        if connected_s >= self._stable_s:
            self._failures = 0
        delay_s = self._random() * self.bound_s
        self._failures += 1
        return delay_s
