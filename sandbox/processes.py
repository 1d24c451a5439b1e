"""A worker's process as the agent sees it: how it is killed, what it has used, how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import kernel
from protocol.errors import ProtocolError
from sandbox.outcome import Ended

_KILL: Final = int(signal.SIGKILL)  # a plain number: the enumeration's is looked into at each use


class Worker:
    """One worker, as seen from the agent.

    Args:
        loop: Ours.
        hear: Takes what the zygote has told so far.
        ask: Has it tell which process this worker is, which comes later and ends with :meth:`born`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable[[], None], ask: Callable[[], None]) -> None:
        self.ended: asyncio.Future[Ended | None] = loop.create_future()  # None: lost with its zygote
        self.not_started: str | None = None  # why there is no process; then ``ended`` is done
        self._hear = hear
        self._ask = ask
        self._pidfd = -1  # until it is told, and after the end
        self._cpu_clock = 0  # 0 as long as the pidfd is not there, or if it had ended by then
        self._is_wanted = False
        self._is_doomed = False  # to be killed as soon as there is a process
        self._is_killed = False

    @property
    def is_born(self) -> bool:
        """Whether its process is known and has not ended."""
        return self._pidfd >= 0

    @property
    def is_awaited(self) -> bool:
        """Whether somebody wants its process and does not know it yet."""
        return self._is_wanted and self._pidfd < 0 and not self.ended.done()

    def kill(self) -> None:
        """Send SIGKILL, now or as soon as there is a process. Idempotent."""
        self._is_doomed = True
        if self._is_killed or self.ended.done():
            return
        if not self._is_known():
            return  # :meth:`born` comes back here
        self._is_killed = True
        with suppress(ProcessLookupError):  # it has just ended by itself
            signal.pidfd_send_signal(self._pidfd, _KILL)

    def cpu_s(self) -> float | None:
        """Return the CPU seconds it has used; None if there is no process, or its zygote has first to tell which."""
        if not self._is_known() or not self._cpu_clock:
            return None
        try:
            used_s = time.clock_gettime(self._cpu_clock)
            signal.pidfd_send_signal(self._pidfd, 0)  # or it is reaped, and its number may mean another process
        except OSError:
            return None
        return used_s

    def _is_known(self) -> bool:
        """Tell whether its process is; if not, ask for it."""
        if self._pidfd >= 0:
            return True
        if self.ended.done():
            return False
        self._is_wanted = True
        self._hear()
        if self.is_awaited:
            self._ask()
        return self._pidfd >= 0

    def born(self, pidfd: int) -> None:
        """Take the pidfd of the process.

        Raises:
            ProtocolError: There is a process already, or it is no pidfd of a worker. Nothing was taken.
        """
        if self._pidfd >= 0:
            raise ProtocolError("a worker is said to exist twice")
        pid = _pid_of_other(pidfd)
        self._pidfd = pidfd
        if self._is_doomed:
            self.kill()
        elif pid is not None:
            self._cpu_clock = _cpu_clock(pid)

    def gone(self, ended: Ended | None) -> None:
        """Note the end."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._cpu_clock = 0
        if not self.ended.done():
            self.ended.set_result(ended)


def _pid_of_other(pidfd: int) -> int | None:
    """Return the process behind what the zygote says is a pidfd; None if it has ended.

    Raises:
        ProtocolError: It is no pidfd, or ours: what is born is killed one day.
    """
    try:
        pid = kernel.pid_of(pidfd)
    except ProcessLookupError:
        return None
    except OSError:
        raise ProtocolError("what came beside a control packet is no pidfd") from None
    if pid == os.getpid():
        raise ProtocolError("the zygote says that we are its worker")
    return pid


def _cpu_clock(pid: int) -> int:
    """Return the id of the CPU clock of a whole process; include/linux/posix-timers_types.h, CPUCLOCK_SCHED."""
    return (~pid << 3) | 2
