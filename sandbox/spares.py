"""Workers that are made before anybody asks: locked in, and waiting for their one program.

A spare takes the fork and the lock out of the time that a run waits. It knows nothing of any run: it is the same worker
as one that is made on demand, and like it runs one program and ends. One is kept of each kind of worker that was used
last, as the same few kinds are asked for again and again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import NamedTuple

from protocol.errors import UnavailableError
from sandbox.ears import Ear
from sandbox.nursery import Zygote
from sandbox.processes import Worker

_log = logging.getLogger("outrider.sandbox")


class Kind(NamedTuple):
    """All that a worker is made for."""

    language: str
    memory_bytes: int
    cpu_s: float


class Started(NamedTuple):
    """A worker that waits for its program."""

    worker: Worker
    sock: socket.socket  # this side of its channel; not blocking
    ear: Ear | None = None  # of that; a spare's listens already

    def drop(self) -> None:
        """End it unused."""
        self.worker.kill()
        if self.ear is not None:
            self.ear.close()
        self.sock.close()


def start(zygote: Zygote, kind: Kind, *, ahead: bool) -> Started:
    """Ask ``zygote`` for a worker; ``ahead`` if nobody waits for it yet.

    Raises:
        UnavailableError: The zygote is gone, or takes no more requests now; or no descriptor is left here.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise UnavailableError(f"the sandbox takes no run now: {error.strerror}") from None
    ours.setblocking(False)
    with theirs:
        try:
            return Started(zygote.fork(kind.language, kind.memory_bytes, kind.cpu_s, theirs, ahead), ours)
        except BaseException:
            ours.close()
            raise


class Spares:
    """The spares of one zygote.

    Args:
        zygote: Makes them.
        most: How many there are at most, each of another kind; 0 for none.
    """

    def __init__(self, zygote: Zygote, most: int) -> None:
        self._zygote = zygote
        self._most = most
        self._waiting: dict[Kind, Started] = {}  # the kind that was used last is at the end

    def take(self, kind: Kind) -> Started:
        """Return a worker of this kind: the spare, or else a fresh one.

        Raises:
            UnavailableError: As :func:`start`.
        """
        spare = self._waiting.pop(kind, None)
        if spare is not None:
            if spare.ear is not None and spare.ear.is_silent:
                return spare
            spare.drop()
        return start(self._zygote, kind, ahead=False)

    def refill(self, kind: Kind) -> None:
        """Have a spare of this kind again, in place of the kind that was not used for longest if there are too many."""
        if self._most == 0 or kind in self._waiting:
            return
        if len(self._waiting) >= self._most:
            self._waiting.pop(next(iter(self._waiting))).drop()
        try:
            started = start(self._zygote, kind, ahead=True)
        except UnavailableError as error:  # the next run asks again, and says it if it cannot be had then
            _log.warning("no spare worker: %s", error)
            return
        ear = Ear(asyncio.get_running_loop(), started.sock)
        ear.open()
        ear.prepare()
        self._waiting[kind] = started._replace(ear=ear)

    def drop_all(self) -> list[Worker]:
        """End them; return those that have yet to be reaped. Idempotent."""
        dropped = [spare.worker for spare in self._waiting.values()]
        for spare in self._waiting.values():
            spare.drop()
        self._waiting.clear()
        return [worker for worker in dropped if not worker.ended.done()]
