"""What two readings of a counter say about its speed: a number per second, or why there is none. Pure.

A rate is never guessed. What happened between two readings must be one uninterrupted count:

- Within one boot the time between them is the kernel's (CLOCK_BOOTTIME): steps of the wall clock do not matter, and
  time that the host slept counts.
- After a reboot most counters began anew, and nobody can tell which did not.
- A counter that went down was reset, or ran over its 32 or 64 bits; what it counted in between is lost either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

FIRST: Final = "first"
TOO_SOON: Final = "too_soon"
REBOOT: Final = "reboot"
CLOCK: Final = "clock"
RESET: Final = "reset"
WRAPPED: Final = "wrapped"

_WIDTHS: Final = (1 << 32, 1 << 64)  # of the kernel's counters
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of one host."""

    boot: str  # the kernel's id of this boot; empty where it gives none
    since_boot_us: int  # CLOCK_BOOTTIME in microseconds
    wall_us: int  # since 1970 UTC; may step


@dataclass(frozen=True, slots=True)
class Reading:
    """What a counter said, and when."""

    value: float
    moment: Moment


def elapsed_us(before: Moment, now: Moment) -> int | None:
    """Return the microseconds between two moments; None if nobody can tell, as the wall clock was set back.

    Over a reboot, and where there is no boot id, only the wall clock is left to tell.
    """
    if before.boot and before.boot == now.boot and now.since_boot_us >= before.since_boot_us:
        return now.since_boot_us - before.since_boot_us
    passed = now.wall_us - before.wall_us
    return passed if passed >= 0 else None


def rate_between(before: Reading | None, now: Reading) -> dict[str, Any]:
    """Return ``per_second``, ``delta`` and ``seconds``, and in ``reason`` why the first two are None, if they are."""
    if before is None:
        return _nothing(FIRST)
    if before.moment.boot != now.moment.boot:
        return _nothing(REBOOT)
    passed_us = elapsed_us(before.moment, now.moment)
    if passed_us is None:
        return _nothing(CLOCK)
    seconds = passed_us / _SECOND_US
    if now.value < before.value:
        return _nothing(WRAPPED if _has_wrapped(before.value, now.value) else RESET, seconds)
    if not passed_us:
        return _nothing(TOO_SOON, seconds)
    delta = now.value - before.value
    return {"per_second": delta / seconds, "delta": delta, "seconds": seconds, "reason": None}


def _nothing(reason: str, seconds: float | None = None) -> dict[str, Any]:
    return {"per_second": None, "delta": None, "seconds": seconds, "reason": reason}


def _has_wrapped(before: float, now: float) -> bool:
    """Tell whether a counter more likely ran over than began anew: from its last quarter into its first."""
    return any(width * 3 // 4 <= before < width and now < width // 4 for width in _WIDTHS)
