"""What a fork of the zygote costs that does nothing: below it no worker can be, whatever is done.

Taken through the sandbox as a test's own worker is: the zygote that serves it has loaded what the real one has, stands
in the same namespaces and has laid out its memory the same way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

import kernel
from bench.measure import quantile
from sandbox import worker

FORKS: Final = 300

preload, prepare, quieten = worker.preload, worker.prepare, worker.quieten  # as sandbox.zygote takes them of an entry


def ready(channel: Any, *, lock: Callable[[], None], **_others: Any) -> Callable[[], NoReturn]:
    """Measure, in the zygote, and return a worker that tells what came of it: milliseconds, the median."""
    samples = []
    for _ in range(FORKS):
        began = time.perf_counter()
        pid, pidfd = kernel.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        samples.append((time.perf_counter() - began) * 1000)
        os.close(pidfd)
    return partial(_tell, channel, lock, quantile(samples, 0.5))


def _tell(channel: Any, lock: Callable[[], None], took_ms: float) -> NoReturn:
    lock()
    channel.receive_start()
    channel.finish(took_ms)
    os._exit(0)
