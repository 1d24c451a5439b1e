"""A program that was started, as the agent holds it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from protocol.errors import BudgetError, UnavailableError
from stdlib.processes.line import LOST, Line
from stdlib.processes.messages import Ended, Signal
from stdlib.processes.minder import AGENT_GONE, SPAWNER_GONE, TOO_MANY
from stdlib.processes.pipes import Reader, Writer


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended."""

    code: int | None  # None if a signal ended it
    signal: int | None
    cpu_s: float  # user and system time of the whole tree, as far as it was waited for
    peak_bytes: int  # of the largest process
    stragglers: int  # processes other than the program that had to be ended
    left: int  # that did not end although they were killed


class Process:
    """One program and all that comes of it. Made by ``Processes.start`` only.

    ``close`` must be called; a program that still runs then is killed with its whole tree.
    """

    def __init__(
        self, line: Line, pid: int, pidfd: int, ended: asyncio.Future[Ended], ours: tuple[int | None, ...]
    ) -> None:
        self.pid = pid
        self.stdin = Writer(ours[0]) if ours[0] is not None else None
        self.stdout = Reader(ours[1]) if ours[1] is not None else None
        self.stderr = Reader(ours[2]) if ours[2] is not None else None
        self._line = line
        self._pidfd = pidfd
        self._ended = ended
        ended.add_done_callback(self._on_end)

    @property
    def has_ended(self) -> bool:
        """Whether the program and its tree are gone, as far as is known here."""
        return self._ended.done()

    async def wait(self) -> Exit:
        """Return how it ended, once nothing is left of its tree.

        Raises:
            BudgetError: It had more processes than it may, and was killed.
            UnavailableError: What looks after programs has ended, or did not answer and was killed; so has the program,
                unless the text says that it may still run.

        Cancellation:
            Safe; the program goes on.
        """
        ended = await asyncio.shield(self._ended)
        if ended.why == TOO_MANY:
            raise BudgetError("processes: the command had more at once than it may, and was killed", budget="processes")
        if ended.why in (AGENT_GONE, SPAWNER_GONE):
            raise UnavailableError(LOST)
        code = os.waitstatus_to_exitcode(ended.status)
        return Exit(
            code if code >= 0 else None, -code if code < 0 else None, ended.cpu_us / 1e6, ended.peak_bytes,
            ended.stragglers, ended.left,
        )  # fmt: skip

    def signal(self, number: int, *, to_group: bool = False) -> bool:
        """Send a signal to the program, or to its process group; return whether it still ran, as far as is known."""
        if self._pidfd < 0:
            return False
        if to_group:
            self._line.say(Signal(int(number), True))
            return True
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # it has other rights than the agent; its minder may have more luck
            self._line.say(Signal(int(number), False))
        return True

    def kill_tree(self, grace_s: float = 0.0) -> None:
        """End the program and all that came of it: SIGTERM, and after the grace SIGKILL."""
        if not self._ended.done():
            self._line.kill(grace_s)

    @property
    def unheard(self) -> str:
        """Why it is not known in the ordinary way that it ended; empty if it is, or if it has not."""
        error = self._ended.exception() if self._ended.done() else None
        return str(error) if error is not None and str(error) != LOST else ""

    async def close(self) -> None:
        """Give it up: kill the tree if it is still there, wait until it is gone, close the pipes. Idempotent.

        The wait is bounded: what looks after it, and does not answer in time, is killed, and ``unheard`` tells.

        Cancellation:
            The tree is killed all the same.
        """
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()
        self.kill_tree()
        try:
            with suppress(UnavailableError):
                await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            self._line.close()
            raise

    def _on_end(self, _: asyncio.Future[Ended]) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
