"""One command on many hosts: so many at once, an end to new ones after so many errors, one status for all. No I/O."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cli import exits
from protocol.errors import ArgumentError

_ERRORS = re.compile(r"(\d{1,6})(%?)")


def max_errors(text: str, hosts: int) -> int:
    """Return how many hosts may fail before no further one is begun, from a number or a share such as ``10%``.

    Raises:
        ArgumentError: It is neither.
    """
    match = _ERRORS.fullmatch(text)
    if match is None or (match[2] and int(match[1]) > 100):
        raise ArgumentError(f"{text!r} is neither a number nor a share (examples: 0, 3, 10%)", where="--max-errors")
    return int(match[1]) * hosts // 100 if match[2] else int(match[1])


@dataclass
class FanOut:
    """The hosts of one command.

    Args:
        at_once: Hosts that run it at the same time.
        most_errors: Failures after which no further host is begun; None for no end.
    """

    at_once: int
    most_errors: int | None
    statuses: dict[str, int] = field(default_factory=dict)  # of each host that was begun
    skipped: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_stopped: bool = False

    def run(self, hosts: Sequence[str], work: Callable[[str], int]) -> int:
        """Have ``work`` done for each host and return the status of all."""
        with ThreadPoolExecutor(self.at_once) as pool:
            for ended in [pool.submit(self._one, host, work) for host in hosts]:
                ended.result()
        return exits.of_hosts([*self.statuses.values(), *(exits.FAILURE for _ in self.skipped)])

    def stop(self) -> None:
        """Begin no further host."""
        with self._lock:
            self._is_stopped = True

    def _one(self, host: str, work: Callable[[str], int]) -> None:
        with self._lock:
            failed = sum(1 for status in self.statuses.values() if status != exits.OK)
            if self._is_stopped or (self.most_errors is not None and failed > self.most_errors):
                self.skipped.append(host)
                return
        status = work(host)
        with self._lock:
            self.statuses[host] = status
