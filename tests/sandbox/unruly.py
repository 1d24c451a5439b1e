"""The worker of the product, and beside it the language ``native`` of :mod:`native`: for tests that need both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import native

from sandbox import worker

preload = worker.preload
prepare = worker.prepare
quieten = worker.quieten


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    """Be a worker."""
    work = native.main if language == "native" else worker.main
    work(channel, language=language, bindings=bindings, memory_bytes=memory_bytes, lock=lock)
