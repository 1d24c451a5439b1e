"""The agent's line to one minder: what it was asked, what it said, and that it is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import Final

from protocol.errors import OutriderError, ProtocolError, UnavailableError
from protocol.packets import MAX_PACKET_BYTES
from stdlib.processes.messages import Ended, Message, NotStarted, Run, Started, pack, unpack

LOST: Final = "what looks after programs has ended, and with it what it had started"

_log = logging.getLogger("outrider.processes")


class NotStartedError(Exception):
    """The kernel refused a step on the way to the program."""

    def __init__(self, errno: int, step: str) -> None:
        self.errno = errno
        self.step = step
        super().__init__(f"{step}: {os.strerror(errno)}")


class Line:
    """One minder, as seen from the agent. Serves one command at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ours: socket.socket) -> None:
        ours.setblocking(False)
        self.is_open = True
        self.commands = 0  # that it was asked to run
        self._loop = loop
        self._socket = ours
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

    def close(self) -> None:
        """Give the minder up, which kills what it runs. Idempotent."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for future in (self._started, self._ended):
            if future is not None and not future.done():
                future.set_exception(UnavailableError(LOST))
                future.exception()  # seen; whoever waits hears it all the same

    def _on_packet(self) -> None:
        try:
            packet, received, _, _ = socket.recv_fds(self._socket, MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            packet, received = b"", []
        if not packet:
            self.close()
            return
        try:
            self._take(unpack(packet), received)
        except OutriderError as error:
            _log.error("a minder speaks nonsense: %s", error)
            for descriptor in received:
                os.close(descriptor)
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
            if message.left:
                _log.error("%d processes of a command did not end although they were killed", message.left)
            if not ended.done():
                ended.set_result(message)
            if message.why or message.left:
                self.close()
        else:
            raise ProtocolError("a packet at the wrong time")
