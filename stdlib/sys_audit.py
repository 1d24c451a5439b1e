"""``sys.audit_events``: records of the kernel's audit log as a stream, those that are there and those that come.

What is followed is the log's name: when the log is turned over, what is left of the old file is read to its end and the
new one from its beginning. Nothing is looked at while nothing is written: the directory is watched (inotify(7)).
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from kernel import inotify
from kernel.visits import begun_apart
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib import audit_log
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Length

LOOKED_THROUGH_BYTES: Final = 8 << 20  # of what is there, from its end
READ_BYTES: Final = 1 << 20  # of what comes, at once
KEPT_ROWS: Final = 1000  # and what is in one read; the rest waits in the file
MAX_LINE_BYTES: Final = 64 << 10  # of a record: MAX_AUDIT_MESSAGE_LENGTH, linux/audit.h, is 8970
GIVEN_BYTES: Final = 256 << 10  # about, at once; a frame holds four times that
_COMES: Final = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which records are given."""

    kind: str
    key: str
    since: float

    def of(self, line: str) -> Row | None:
        """Return the record in a line if it is asked for."""
        row = audit_log.event(line)
        if row is None or (self.kind and row["type"] != self.kind):
            return None
        is_asked = (not self.key or row["fields"].get("key") == self.key) and row["time"] >= self.since
        return row if is_asked else None


@call(
    "sys.audit_events",
    tier=Tier.INSPECT,
    lua='for event in sys.audit_events({type = "USER_LOGIN"}) do print(event.time, event.fields.acct) end',
    python='for event in sys.audit_events(type="USER_LOGIN"):\n    print(event["time"], event["fields"].get("acct"))',
)
def audit_events(
    host: Host,
    type: Annotated[str, Length(40)] = "",
    key: Annotated[str, Length(100)] = "",
    since: Annotated[float, Bounds(0, 1e11, "seconds")] = 0.0,
    limit: Annotated[int, Bounds(0, 10_000)] = 200,
    follow: bool = False,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Give the newest ``limit`` records of the kernel's audit log, oldest first; with ``follow``, then those that come.

    ``type`` narrows to one type of record (such as USER_LOGIN or AVC), ``key`` to those of a rule's key, ``since`` to a
    time (seconds since 1970 UTC). The last 8 MiB of the log are looked through. With ``follow`` the stream has no end
    of its own, goes on when the log is turned over, and with ``limit`` 0 begins with what comes from now on.

    Each is ``time``, ``serial`` (records of one event share it), ``type`` and ``fields`` (a map of texts). What was
    typed at a terminal is left out, and what looks like a secret in command lines is replaced. The summary is ``more``,
    whether there are older ones. Source: /var/log/audit/audit.log, auditd(8).

    Raises:
        UnavailableError: There is no such log, or this agent may not read it.
    """
    return Trail(f"{host.var}/log/audit", _Asked(type, key, since), int(limit), follows=follow)


class Trail(AsyncIterator[list[Row]]):
    """The records of one call. Begun on a thread, then iterated on the loop.

    Args:
        directory: Of the log.
        asked: Which records.
        limit: How many of those that are there already.
        follows: Whether to go on with those that come.

    Raises:
        UnavailableError: There is no log, or it may not be read.
    """

    def __init__(self, directory: str, asked: _Asked, limit: int, *, follows: bool) -> None:
        self._path = f"{directory}/audit.log"
        self._asked = asked
        self._follows = follows
        self._watch = -1  # an inotify descriptor, if it follows
        self._begun = b""  # the beginning of a record whose end is still to come
        self._rows: deque[Row] = deque()  # made and not yet given
        self._lines: deque[str] = deque()  # of what was there, not yet given
        self._is_more = False
        self._is_behind = False  # there is more in the file than was taken of it
        self._is_closed = False
        self._lock = threading.Lock()  # nothing is closed while a thread reads
        try:
            self._file = _opened(self._path)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            if follows:
                self._watch = _watched(directory)
            self._take_newest(limit)
        except BaseException:
            self._close()
            raise

    def summary(self) -> dict[str, Any]:
        """Return what is told at the stream's end."""
        return {"more": self._is_more}

    async def __anext__(self) -> list[Row]:
        while True:
            given = self._given()
            if given:
                return given
            if not self._follows or self._is_closed:
                raise StopAsyncIteration
            if not self._is_behind:
                await self._something()
            await begun_apart(self._take_new)

    async def aclose(self) -> None:
        """Close it; waits for a thread that reads. Idempotent."""
        if self._watch >= 0:
            asyncio.get_running_loop().remove_reader(self._watch)
        await begun_apart(self._close)

    def _close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for descriptor in (self._file, self._watch):
                    if descriptor >= 0:
                        os.close(descriptor)

    def _given(self) -> list[Row]:
        given: list[Row] = []
        size = 0
        while size < GIVEN_BYTES and (self._lines or self._rows):
            row = self._asked.of(self._lines.popleft()) if self._lines else self._rows.popleft()
            if row is not None:
                given.append(row)
                size += 256 + sum(len(name) + len(value) + 8 for name, value in row["fields"].items())
        return given

    def _take_newest(self, limit: int) -> None:
        """Choose among what is there; only as many lines are kept as are given."""
        size = os.fstat(self._file).st_size
        start = max(0, size - LOOKED_THROUGH_BYTES)
        data = _all(self._file, start, size - start)
        self._position = start + len(data)  # where the next read begins
        if self._follows:
            data, _, self._begun = data.rpartition(b"\n")
        lines = data.decode("utf-8", "replace").split("\n")[1 if start else 0 :]
        self._is_more = start > 0
        for line in reversed(lines):
            if self._asked.of(line) is not None:
                if len(self._lines) == limit:
                    self._is_more = True
                    return
                self._lines.appendleft(line)

    async def _something(self) -> None:
        """Wait until something happens in the directory."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._watch, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._watch)

    def _take_new(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            while inotify.read(self._watch):
                continue
            self._is_behind = True
            while len(self._rows) < KEPT_ROWS:
                if not (self._take_some() or self._turn()):
                    self._is_behind = False
                    return

    def _take_some(self) -> bool:
        size = os.fstat(self._file).st_size
        if size < self._position:  # cut, as by copytruncate of logrotate(8)
            self._position, self._begun = 0, b""
        data = os.pread(self._file, READ_BYTES, self._position)
        self._position += len(data)
        *whole, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[:MAX_LINE_BYTES]
        rows = (self._asked.of(line.decode("utf-8", "replace")) for line in whole)
        self._rows.extend(row for row in rows if row is not None)
        return bool(data)

    def _turn(self) -> bool:
        """Go on with the file that has the log's name now, if that is another one."""
        try:
            new = _opened(self._path)
        except OSError:  # not there yet, or not for us; what happens next in the directory is the next chance
            return False
        if os.path.samestat(os.fstat(new), os.fstat(self._file)):
            os.close(new)
            return False
        os.close(self._file)
        self._file, self._position, self._begun = new, 0, b""
        return True


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _opened(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "is not a regular file")
    return fd


def _watched(directory: str) -> int:
    try:
        descriptor = inotify.start()
        try:
            place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                inotify.watch(descriptor, place, _COMES)
            finally:
                os.close(place)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be watched: {error.strerror}") from None
    return descriptor


def _all(fd: int, position: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (piece := os.pread(fd, min(size, READ_BYTES), position)):
        parts.append(piece)
        position, size = position + len(piece), size - len(piece)
    return b"".join(parts)
