"""What is open in a worker: null three times and its channel. Not a wall that a kernel can lack, so it has no name."""

from __future__ import annotations

import os
from typing import Final

import kernel

CHANNEL: Final = 3
RULESET: Final = 4  # of landlock, until the worker is restricted by it; see ``landlock.calls``

_CLOSE_ON_EXEC: Final = os.O_CLOEXEC
_ALL_ABOVE: Final = 0xFFFFFFFF


def calls(channel: int, null: int, ruleset: int | None = None) -> list[kernel.Call]:
    """Return the calls that put ``null`` on 0, 1 and 2, ``channel`` on 3, and close every other descriptor.

    A kernel before 5.9 cannot do the last; :func:`close_others` does it then.

    Args:
        channel: This worker's end of the socketpair.
        null: A descriptor of null.
        ruleset: If given, it is put on 4 and stays open.

    Raises:
        OSError: A copy would overwrite what the next one needs; or the processor is unknown.
    """
    kept = CHANNEL if ruleset is None else RULESET
    if channel < CHANNEL or null <= kept or (ruleset is not None and ruleset <= kept):
        raise OSError("the channel must arrive above the descriptors that are replaced")
    copies = [(null, standard) for standard in (0, 1, 2)]
    if channel != CHANNEL:  # dup3(2) refuses to copy a descriptor onto itself
        copies.append((channel, CHANNEL))
    if ruleset is not None:
        copies.append((ruleset, RULESET))
    made = [kernel.ready("dup3", source, target, _CLOSE_ON_EXEC) for source, target in copies]
    return [*made, kernel.ready("close_range", kept + 1, _ALL_ABOVE)] if has_close_range() else made


def has_close_range() -> bool:
    """Return whether this kernel closes a range of descriptors with one call."""
    try:
        kernel.syscall("close_range", _ALL_ABOVE, _ALL_ABOVE)
    except OSError:
        return False
    return True


def close_others() -> None:
    """Close, one by one, every descriptor that a worker must not have. Only where :func:`has_close_range` is false."""
    os.closerange(RULESET + 1, os.sysconf("SC_OPEN_MAX"))
