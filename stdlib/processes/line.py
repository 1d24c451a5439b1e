"""The agent's line to one minder: what it was asked, what it said, and that it is gone.

A minder may be stopped, by a program of the same user that it minds. So whatever it is to end, or its own end, is
waited for so long and no longer; then whoever made the line hears of it, and has the minder killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from protocol.errors import OutriderError, ProtocolError, UnavailableError
from protocol.packets import MAX_PACKET_BYTES
from stdlib.processes.messages import Ended, Kill, Message, NotStarted, Run, Started, pack, unpack

LOST: Final = "what looks after programs has ended, and with it what it had started"
SILENT: Final = "what looks after programs did not answer and was killed, and with it what it had started"
STUCK: Final = "what looks after programs does not answer and cannot be ended; what it had started may still run"

_log = logging.getLogger("outrider.processes")


class NotStartedError(Exception):
    """The kernel refused a step on the way to the program."""

    def __init__(self, errno: int, step: str) -> None:
        self.errno = errno
        self.step = step
        super().__init__(f"{step}: {os.strerror(errno)}")


class Line:
    """One minder, as seen from the agent. Serves one command at a time.

    Args:
        loop: Where it is heard.
        ours: Our end of its socket; taken over.
        number: What it is called to the spawner.
        patience_s: How long it may take to end what it runs, over the grace, and to be gone once it is given up; above
            what a minder that is well takes.
        overdue: Called when it took longer.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ours: socket.socket,
        number: int,
        patience_s: float,
        overdue: Callable[[Line], None],
    ) -> None:
        ours.setblocking(False)
        self.is_open = True
        self.commands = 0  # that it was asked to run
        self.number = number
        self.why = LOST  # what whoever waits is told when it is gone
        self.gone: asyncio.Future[None] = loop.create_future()  # once it has ended, or nobody looks for that any more
        self._loop = loop
        self._socket = ours
        self._patience_s = patience_s
        self._on_overdue = overdue
        self._due: asyncio.TimerHandle | None = None  # when it is overdue; None while nothing is expected of it
        self._started: asyncio.Future[tuple[int, int]] | None = None  # of the command that is being started
        self._ended: asyncio.Future[Ended] | None = None  # of the command that runs
        loop.add_reader(ours.fileno(), self._on_packet)

    async def run(self, run: Run, standard: list[int]) -> tuple[int, int, asyncio.Future[Ended]]:
        """Start a command; return its pid, its pidfd, and how it will have ended.

        Raises:
            NotStartedError: The kernel refused.
            UnavailableError: The minder is gone.

        Cancellation:
            Closes the line, which ends what may have been started.
        """
        self.commands += 1
        started = self._started = self._loop.create_future()
        ended = self._ended = self._loop.create_future()
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody waits for it
        try:
            socket.send_fds(self._socket, [pack(run)], standard)
            pid, pidfd = await started
        except NotStartedError:
            raise
        except OSError as error:
            self.close()
            raise UnavailableError(f"no program can be started now: {error.strerror}") from None
        except BaseException:
            if started.done() and not started.cancelled() and started.exception() is None:
                os.close(started.result()[1])
            self.close()
            raise
        return pid, pidfd, ended

    def say(self, message: Message) -> None:
        """Tell the minder something about the command that runs."""
        if self.is_open:
            with suppress(OSError):  # it is gone, which is about to be noticed
                self._socket.send(pack(message))

    def kill(self, grace_s: float) -> None:
        """Have the tree of the command that runs ended: SIGTERM, and after the grace SIGKILL."""
        if self.is_open and self._ended is not None:
            self.say(Kill(round(grace_s * 1000)))
            self._expect(grace_s + self._patience_s)

    def close(self) -> None:
        """Give the minder up, which kills what it runs. Idempotent. ``gone`` tells when it has ended."""
        if not self.is_open:
            return
        self.is_open = False
        with suppress(OSError):  # it is gone
            self._socket.shutdown(socket.SHUT_WR)  # its end of the socket is still heard of
        self._fail()
        self._expect(self._patience_s)

    def abandon(self) -> None:
        """Look for its end no more. Idempotent."""
        self.is_open = False
        self._expect(None)
        if not self.gone.done():
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self.gone.set_result(None)
        self._fail()

    def _fail(self) -> None:
        for future in (self._started, self._ended):
            if future is not None and not future.done():
                future.set_exception(UnavailableError(self.why))
                future.exception()  # seen; whoever waits hears it all the same

    def _expect(self, within_s: float | None) -> None:
        """Be overdue then, if nothing comes before; an earlier time that was given before counts. None: be never."""
        due = None if within_s is None else self._loop.time() + within_s
        if self._due is not None:
            if due is not None and self._due.when() <= due:
                return
            self._due.cancel()
        self._due = None if due is None else self._loop.call_at(due, self._be_overdue)

    def _be_overdue(self) -> None:
        self._due = None
        self.why = SILENT
        self._on_overdue(self)

    def _on_packet(self) -> None:
        try:
            packet, received, _, _ = socket.recv_fds(self._socket, MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            packet, received = b"", []
        if not packet:
            self.abandon()
            return
        try:
            if not self.is_open:  # the last words of one that was given up
                _close_all(received)
                return
            self._take(unpack(packet), received)
        except OutriderError as error:
            _log.error("a minder speaks nonsense: %s", error)
            _close_all(received)
            self.close()

    def _take(self, message: Message, received: list[int]) -> None:
        if len(received) != isinstance(message, Started):
            raise ProtocolError("a packet came with the wrong number of descriptors")
        started, ended = self._started, self._ended
        if isinstance(message, Started) and started is not None and not started.done():
            started.set_result((message.pid, received[0]))
        elif isinstance(message, NotStarted) and started is not None and not started.done():
            self._started = self._ended = None
            started.set_exception(NotStartedError(message.errno, message.step))
        elif isinstance(message, Ended) and ended is not None and started is not None and started.done():
            self._started = self._ended = None
            self._expect(None)
            if message.left:
                _log.error("%d processes of a command did not end although they were killed", message.left)
            if not ended.done():
                ended.set_result(message)
            if message.why or message.left:
                self.close()
        else:
            raise ProtocolError("a packet at the wrong time")


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
