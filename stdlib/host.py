"""What implementations of calls see: the host, and the run they work for. Both are injected, so tests fake them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_METRICS = 1000  # of one run
MAX_STATUS_CHARACTERS = 256  # checks.md: status text cut at 256
MAX_LOG_CHARACTERS = 4096  # of one line


@dataclass(frozen=True)
class Host:
    """One host as calls reach it."""

    proc: str = "/proc"  # tests put a tree of their own here
    clock: Callable[[], float] = time.time  # seconds since 1970 UTC
    monotonic: Callable[[], float] = time.monotonic  # seconds
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what the manifest declares: name -> argv


@dataclass
class RunContext:
    """What one run reports through ``check.*`` and ``log.*``."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    state: str = "available"
    status_text: str = ""
    timestamp_ms: int | None = None
    logs: list[dict[str, str]] = field(default_factory=list)
