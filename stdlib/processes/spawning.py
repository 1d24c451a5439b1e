"""The agent's side of its spawner: starts it, asks it for minders, and ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kernel import offspring
from protocol.errors import UnavailableError
from stdlib.processes.line import Line
from stdlib.processes.messages import Drop, Mind, pack

STOP_TIMEOUT_S: Final = 5.0  # for an orderly end, before the spawner is killed
DEATH_S: Final = 2.0  # from SIGKILL to its end

_log = logging.getLogger("outrider.processes")


class Spawning:
    """One spawner process, from its start to its end.

    Raises:
        UnavailableError: It cannot be started.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, python: str) -> None:
        self._loop = loop
        self._process: subprocess.Popen[bytes]
        try:
            self._process, self._control = offspring.start(python, "stdlib.processes.spawner")
        except OSError as error:
            raise UnavailableError(f"no program can be started: {error}") from None
        self.is_alive = True
        self.reaped: asyncio.Future[None] = loop.create_future()
        self._asked = 0  # minders
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def line(self, patience_s: float, overdue: Callable[[Line], None]) -> Line:
        """Ask for a minder; the arguments are those of :class:`Line`.

        Raises:
            UnavailableError: The spawner is gone or far behind.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked += 1
        with theirs:
            try:
                socket.send_fds(self._control, [pack(Mind(self._asked))], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise UnavailableError(f"no program can be started now: {error.strerror}") from None
        return Line(self._loop, ours, self._asked, patience_s, overdue)

    def drop(self, number: int) -> None:
        """Have a minder killed that does not answer, and then what it minded."""
        with suppress(OSError):  # it is gone, and so are its minders; or far behind, which is seen by what stays
            self._control.send(pack(Drop(number)))

    async def stop(self) -> None:
        """End it, and wait until it is gone."""
        self.release()
        await asyncio.wait([self.reaped], timeout=STOP_TIMEOUT_S)
        if not self.reaped.done():
            self.kill()
            await asyncio.wait([self.reaped], timeout=DEATH_S)
        if not self.reaped.done():
            _log.error("the spawner, process %d, does not end although it was killed", self.pid)

    def release(self) -> None:
        """Close the control socket, which ends it in order. Idempotent."""
        self.is_alive = False
        self._control.close()

    def kill(self) -> None:
        """Kill it. Its minders end what they mind; one that was stopped goes on, by a signal from the kernel."""
        self.is_alive = False
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._process.wait()  # it has ended: this only reaps
        self.release()
        self.reaped.set_result(None)
