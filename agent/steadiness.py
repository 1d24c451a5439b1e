"""Whether the host's wall clock can be believed when something is to be forgotten for good because of its age.

A clock that stands years ahead for a minute, as after a start without a battery, or because somebody set it or answers
in the place of a time server, makes everything old. What was forgotten then does not come back with the right time: a
fire time that was taken would run again, an order that was used would be good again.
"""

from __future__ import annotations

from agent import limits
from agent.clock import Clock


class Steadiness:
    """Notices steps of the wall clock by the monotonic one. Ask often: a step between two looks is noticed at the next.

    Args:
        clock: The host's clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_us = clock.mono_us()  # no step was seen since then
        self._ahead_us = clock.time_us() - clock.mono_us()  # the wall clock, of the monotonic one, at the last look

    def is_steady(self) -> bool:
        """Tell whether the wall clock went on as the monotonic one for :data:`limits.STEADY_S`, as far as was seen.

        A host that slept is one whose clock was stepped.
        """
        mono_us = self._clock.mono_us()
        ahead_us = self._clock.time_us() - mono_us
        if abs(ahead_us - self._ahead_us) > limits.MAX_STEADY_STEP_S * 1_000_000:
            self._since_us = mono_us
        self._ahead_us = ahead_us
        return mono_us - self._since_us >= limits.STEADY_S * 1_000_000
