"""One command on one host: what it prints as it comes, what it reads, signals on their way, how it ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cli.sessions import RemoteSession
from protocol.errors import OutriderError, ProtocolError

STDIN_BYTES: Final = 64 << 10  # read at once
TIMED_OUT: Final = 124  # as timeout(1) has it
SIGNALLED: Final = 128  # and the number of the signal, as shells have it


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int | None
    signal: int | None
    timed_out: bool
    told: Mapping[str, Any]  # all that the host says of it

    @property
    def status(self) -> int:
        """The exit status that stands for it here."""
        if self.timed_out:
            return TIMED_OUT
        return self.code if self.code is not None else SIGNALLED + (self.signal or 0)


class RemoteCommand:
    """One command, from its start to its end.

    Args:
        session: Open.
        asked: ``argv`` and what else the API takes.
    """

    def __init__(self, session: RemoteSession, asked: Mapping[str, Any]) -> None:
        self._session = session
        self._asked = dict(asked)
        self._number: int | None = None  # once it has started
        self._lock = threading.Lock()
        self._waiting_signals: list[str] = []  # sent before it had a number

    def run(self, printed: Callable[[str, bytes], None], stdin: int | None = None) -> Ended:
        """Run it to its end.

        Args:
            printed: Gets ``stdout`` or ``stderr`` and what was printed.
            stdin: A descriptor that the command is to read from; None for nothing.

        Raises:
            OutriderError: It could not be started, or the way to the host broke.
        """
        body = {**self._asked, "stdin": stdin is not None}
        with self._session.messages("POST", "command", body=body, silent_s=None) as coming:
            for message in coming:
                match message:
                    case ["started", {"command": int() as number}]:
                        self._begin(number, stdin)
                    case ["stdout" | "stderr" as name, bytes() as data]:
                        printed(name, data)
                    case ["exit", dict() as told]:
                        return Ended(told.get("code"), told.get("signal"), bool(told.get("timed_out")), told)
                    case _:
                        raise ProtocolError("the server's answer is no command's")
        raise ProtocolError("the server's answer is no command's")

    def signal(self, name: str) -> None:
        """Send a signal to it and its process group; one that is not there any more needs none."""
        with self._lock:
            if self._number is None:
                self._waiting_signals.append(name)
                return
        where = f"sessions/{self._session.id}/commands/{self._number}/signal"
        with suppress(OutriderError):
            self._session.api.post(where, {"signal": name, "to_group": name != "KILL"})

    def _begin(self, number: int, stdin: int | None) -> None:
        with self._lock:
            self._number = number
            waiting, self._waiting_signals = self._waiting_signals, []
        for name in waiting:
            self.signal(name)
        if stdin is not None:
            # Daemonic: it may wait for a keyboard that nobody touches when the command has long ended.
            threading.Thread(target=self._feed, args=(stdin,), daemon=True).start()

    def _feed(self, stdin: int) -> None:
        where = self._session.path(f"commands/{self._number}/stdin")
        with suppress(OutriderError):  # the command has closed its input, or is over; its own end says what counts
            self._session.api.sent("PUT", where, _pieces(stdin), {}, silent_s=None)


def _pieces(fd: int) -> Iterator[bytes]:
    with suppress(OSError):
        while data := os.read(fd, STDIN_BYTES):
            yield data
