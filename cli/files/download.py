"""One file from a host: in pieces, each break gone on from, what came held against the hash of what was sent."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cli.files.local import Incoming, local_failure, mode_for
from cli.files.patience import BROKEN, Patience
from cli.files.progress import Progress
from cli.sessions import RemoteSession
from protocol.errors import NotFoundError, ProtocolError

MAX_TIME_S: Final = 253_402_300_799  # the end of the year 9999
_MODE: Final = re.compile(r"[0-7]{1,7}")


class Sink(Protocol):
    """Where bytes go."""

    size: int  # bytes that are there

    def write(self, data: bytes | memoryview) -> None:
        """Append."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came."""

    about: dict[str, Any]  # as fs.stat says
    bytes: int  # in all
    resumed_at: int  # bytes of these that were here already
    changed: bool  # the file was written to while it was read


class Downloads:
    """Downloads of one session.

    Args:
        session: Open.
        patience: With broken ways.
        progress: Is told of each piece.
        say: Tells a person.
    """

    def __init__(
        self, session: RemoteSession, patience: Patience, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self.session = session
        self._patience = patience
        self._progress = progress
        self._say = say

    def into(self, path: str, directory: int, name: str, told: str, *, keeps: bool = False) -> Fetched:
        """Copy a file to a place here; ``keeps`` its mode and time.

        Raises:
            OutriderError: It did not come, or not whole; what is here of it stays for the next time.
        """
        incoming = Incoming(directory, name, told)
        try:
            found = self.fetch(path, incoming, told)
            theirs, mtime = _kept(found.about)
            incoming.finish(mode_for(directory, name, theirs, keeps=keeps), mtime if keeps else None)
            return found
        finally:
            incoming.close()

    def fetch(self, path: str, incoming: Incoming, told: str) -> Fetched:
        """Bring all of a file, from what is there of it on."""
        resumed_at = self._checked(path, incoming)
        while True:
            try:
                about, changed = self.receive(path, incoming, told, offset=incoming.size)
            except BROKEN as error:
                self._progress.clear()
                self._patience.wait(error)
                self._checked(path, incoming)
                continue
            return Fetched(about, incoming.size, resumed_at, changed)

    def _checked(self, path: str, incoming: Incoming) -> int:
        """Return how much of what is there is what the host has; what is not is dropped."""
        if incoming.size:
            there = self._hash(path, incoming.size)
            if there != incoming.hash():
                incoming.empty()
        return incoming.size

    def _hash(self, path: str, size: int) -> str | None:
        while True:
            try:
                found = self.session.call("fs.stat", path=path)
                if found is None or found["size"] < size:
                    return None
                return str(self.session.call("fs.hash", path=path, length=size))
            except NotFoundError:
                return None
            except BROKEN as error:
                self._patience.wait(error)

    def receive(
        self, path: str, sink: Sink, told: str, *, offset: int = 0, asked: str | None = None
    ) -> tuple[dict[str, Any], bool]:
        """Bring a part of a file once; return what stands about it, and whether it changed meanwhile.

        Args:
            path: On the host.
            sink: Gets the bytes.
            told: Its name for people.
            offset: Where the part begins, if ``asked`` does not say.
            asked: A Range header.

        Raises:
            OutriderError: What the host has against it, what became of the way, or that what came is not what was sent.
        """
        range_asked = asked or (f"bytes={offset}-" if offset else None)
        headers = {"Range": range_asked} if range_asked else {}
        about: dict[str, Any] = {}
        made = hashlib.sha256()
        with self.session.messages("GET", "file", query={"path": path}, headers=headers, in_parts=True) as coming:
            for message in coming:
                match message:
                    case ["file", dict() as about]:
                        self._progress.begin(told, about.get("size") or None, about.get("offset", 0))
                    case ["bytes", bytes() | memoryview() as data]:
                        sink.write(data)
                        made.update(data)
                        self._progress.add(len(data))
                        self._patience.progressed()
                    case ["end", dict() as end]:
                        if end.get("sha256") != made.hexdigest():
                            raise ProtocolError(f"what came of {told} is not what was sent")
                        if end.get("changed"):
                            self._progress.clear()
                            self._say(f"{told} was written to while it was read")
                        return about, bool(end.get("changed"))
                    case _:
                        raise ProtocolError("the server's answer is no file")
        raise ProtocolError("the server's answer is no file")


def _kept(about: dict[str, Any]) -> tuple[int, float]:
    """Return mode and time of a file as its host tells them.

    Raises:
        ProtocolError: They are none.
    """
    mode, mtime = about.get("mode"), about.get("mtime")
    is_time = isinstance(mtime, int | float) and abs(mtime) <= MAX_TIME_S
    if not isinstance(mode, str) or _MODE.fullmatch(mode) is None or not is_time:
        raise ProtocolError("what the host says about the file does not have its form")
    return int(mode, 8), float(mtime)  # type: ignore[arg-type]  # looked at above


class Descriptor:
    """A sink that is an open descriptor, such as standard output; nothing on it can be taken back."""

    def __init__(self, fd: int, told: str) -> None:
        self.size = 0
        self._fd = fd
        self._told = told

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it; a reader that went away is a BrokenPipeError."""
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._fd, view)
                view, self.size = view[done:], self.size + done
        except BrokenPipeError:
            raise
        except OSError as error:
            raise local_failure(error, self._told) from None
