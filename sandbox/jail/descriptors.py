"""What is open in a worker: null three times and its channel. Not a wall that a kernel can lack, so it has no name."""

from __future__ import annotations

import os
from typing import Final

CHANNEL: Final = 3


def keep_only(channel: int, null: int) -> None:
    """Put ``null`` on the three standard descriptors, ``channel`` on 3, and close every other one.

    Raises:
        OSError: The kernel refuses, or a copy would overwrite what the next one needs.
    """
    if channel < CHANNEL or null <= CHANNEL:
        raise OSError("the channel must arrive above the descriptors that are replaced")
    for standard in (0, 1, 2):
        os.dup2(null, standard, inheritable=False)
    if channel != CHANNEL:  # dup3(2) refuses to copy a descriptor onto itself
        os.dup2(channel, CHANNEL, inheritable=False)
    os.closerange(CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))  # one close_range(2) where the kernel has it
