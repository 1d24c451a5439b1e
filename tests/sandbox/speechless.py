"""An entry of a zygote that is born and never says that it is ready."""

from __future__ import annotations

import signal


def preload() -> None:
    """Nothing."""


def quieten() -> None:
    """Wait for ever."""
    while True:
        signal.pause()
