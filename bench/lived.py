"""The sandbox's own worker, whose zygote notes how long each lived: from just before its fork until it was reaped.

That is what a worker costs beside the agent's own steps around it. A script asks for the notes by a call that never
leaves the worker, which has a copy of what its zygote knew when it was forked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from kernel import reap
from kernel.births import fork
from sandbox import worker, zygote
from sandbox.pure import PURE

CALL: Final = "hex.encode"  # the one that tells the notes, whatever it is given
SCRIPT: Final = "return hex.encode('')"

prepare, quieten, ready = worker.prepare, worker.quieten, worker.ready  # as sandbox.zygote takes them of an entry

_began_ns: dict[int, int] = {}  # pid -> when
_lived_ns: list[int] = []

Reap = Callable[[], tuple[int, int, int, int] | None]


def preload() -> None:
    """Do as the worker, and put the notes in the place of the call."""
    worker.preload()
    PURE[CALL] = _notes
    vars(zygote).update(fork=_noting_births(fork), reap=_noting_ends(reap))  # the names by which it calls them


def _notes(*_given: Any) -> list[int]:
    return _lived_ns


def _noting_births(fork: Callable[[], int]) -> Callable[[], int]:
    def noting() -> int:
        began_ns = time.perf_counter_ns()
        pid = fork()
        if pid:
            _began_ns[pid] = began_ns
        return pid

    return noting


def _noting_ends(reap: Reap) -> Reap:
    def noting() -> tuple[int, int, int, int] | None:
        reaped = reap()
        if reaped is not None:
            _lived_ns.append(time.perf_counter_ns() - _began_ns.pop(reaped[0]))
        return reaped

    return noting
