"""How long a copy goes on trying when the way to the host is broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cli.api import UnreachableError
from cli.sessions import RemoteSession
from cli.wire import BrokenStreamError
from protocol.errors import ConflictError, NotConnectedError, NotFoundError, OutriderError

FIRST_S: Final = 0.2  # before the second try; doubled each time
LONGEST_S: Final = 5.0
#: What a broken way looks like. A host that refuses or whose disk is full is asked once.
BROKEN: Final = (NotConnectedError, UnreachableError, BrokenStreamError)


class Patience:
    """Waits between tries, for so long without any progress.

    Args:
        session: Opened again when it is over.
        total_s: Seconds without a byte, after which the error counts.
        say: Tells a person.
        sleep: Waits.
    """

    def __init__(
        self, session: RemoteSession, total_s: float, say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._session = session
        self._total_s = total_s
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._broken_since_s: float | None = None
        self._pause_s = FIRST_S

    def progressed(self) -> None:
        """Something came through."""
        self._broken_since_s, self._pause_s = None, FIRST_S

    def wait(self, error: OutriderError) -> None:
        """Return when there is a session to go on with.

        Raises:
            OutriderError: ``error``, once the time is over; or what the host has against a new session.
        """
        if self._broken_since_s is None:
            self._broken_since_s = self._clock()
            if self._total_s > 0:
                self._say(f"{error}; trying again for {self._total_s:.0f} s")
        while True:
            if self._clock() - self._broken_since_s + self._pause_s > self._total_s:
                raise error
            self._sleep(self._pause_s)
            self._pause_s = min(LONGEST_S, self._pause_s * 2)
            try:
                self._renew()
            except BROKEN as still:
                error = still
                continue
            return

    def _renew(self) -> None:
        """See to it that the host answers in the session, or in a new one if that is over."""
        try:
            self._session.call("fs.exists", path="/")
        except (ConflictError, NotFoundError):  # it is over; the host may know that before the server does
            self._session.open()
