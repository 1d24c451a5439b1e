"""Restricted Python for scripts."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.runtimes import Binding, ChannelLike, Runtime, RuntimeLimits


def preload() -> None:
    """Import what a locked worker could not."""
    import RestrictedPython  # noqa: F401 - imported for its effect


def create(bindings: Sequence[Binding], channel: ChannelLike, limits: RuntimeLimits) -> Runtime:
    """Return a Python runtime."""
    raise NotImplementedError
