"""How much of the processor something may take that others bring about, such as hearing of their processes. Pure."""

from __future__ import annotations


class Allotment:
    """A share of one processor, which may be taken in bursts.

    Args:
        share: Above 0, below 1.
        burst_s: Seconds of work that may be taken at once after a time of rest; above 0.
        rest_s: Seconds to rest at least when it is used up, so that what comes meanwhile is taken together.
    """

    def __init__(self, share: float, burst_s: float, rest_s: float) -> None:
        self._share = share
        self._burst_s = burst_s
        self._rest_s = rest_s
        self._left_s = burst_s  # of work; below 0 where more was taken
        self._seen_s: float | None = None  # the time of the last work

    def took(self, work_s: float, now_s: float) -> float:
        """Take note of work that was done.

        Args:
            work_s: How long it took, in seconds.
            now_s: The time, in seconds of a clock that never steps.

        Returns:
            For how many seconds to rest; 0 if it may go on.
        """
        since_s = 0.0 if self._seen_s is None else max(0.0, now_s - self._seen_s)
        self._seen_s = now_s
        self._left_s = min(self._burst_s, self._left_s + since_s * self._share) - work_s
        if self._left_s > 0:
            return 0.0
        return max(self._rest_s, -self._left_s / self._share)
