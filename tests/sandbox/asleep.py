"""An entry of a zygote that never gets ready, as on a disk that does not answer."""

from __future__ import annotations

import signal


def preload() -> None:
    """Wait for ever."""
    while True:
        signal.pause()
