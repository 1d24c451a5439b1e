"""Blobs as calls see them: bytes that are made here, kept elsewhere, and had back by their SHA-256.

A call writes a :class:`Draft`, which nobody else sees, and then has it kept, or has one brought as an open descriptor
of exactly the bytes that the hash says. Where they are kept is not the calls' business: the agent gives them to its
server; a run on somebody's own machine keeps them in a directory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from kernel.visits import begun_apart
from protocol.errors import NotFoundError, TooLargeError, UnavailableError
from protocol.transfer import PREFIX
from stdlib.lending import begun

if TYPE_CHECKING:
    from stdlib.lending import Lent

MAX_BYTES: Final = 4 << 30  # of one blob that a call makes or takes, whatever it asks for
DEFAULT_BYTES: Final = 256 << 20  # unless it asks for more
_DRAFT: Final = "draft-"


@dataclass(frozen=True, slots=True)
class Brought:
    """A blob that is here, whole and checked; the descriptor is closed by whoever brought it."""

    hash: str
    size: int
    fd: int


class Blobs(Protocol):
    """What one run may do with blobs."""

    def draft(self, most_bytes: int) -> Draft:
        """Return a new draft of at most this size; ``UnavailableError`` if there is no room. It blocks."""

    async def keep(self, draft: Draft, name: str) -> str:
        """Seal a draft and keep it under a name for people; return its hash. The draft is over, whatever happens."""

    def bring(self, blob: str, most_bytes: int) -> AbstractAsyncContextManager[Brought]:
        """Bring a blob; ``NotFoundError``, or ``TooLargeError`` if it is larger, before any of it has come."""


class Room:
    """Bytes of a disk that several may take, and no more than a bound in all. Safe from any thread."""

    def __init__(self, most_bytes: int, used_bytes: int = 0) -> None:
        self._most = most_bytes
        self._used = used_bytes
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """How much is taken."""
        return self._used

    def take(self, size: int) -> None:
        """Take ``size`` bytes.

        Raises:
            UnavailableError: There is not as much left.
        """
        with self._lock:
            if self._used + size > self._most:
                raise UnavailableError(
                    f"blobs take at most {self._most} bytes of this host, and {self._used} are taken"
                )
            self._used += size

    def give(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._lock:
            self._used -= size


class Draft:
    """Bytes of a blob that is being made, in a file of our own. All of it blocks.

    Exactly one of :meth:`move_to` and :meth:`discard` ends it; what it took of the room goes with it.

    Args:
        directory: Where, for our own user alone.
        most_bytes: Bound of this one.
        room: Bound of all.

    Raises:
        UnavailableError: It cannot be made.
    """

    def __init__(self, directory: Path, most_bytes: int, room: Room) -> None:
        self._path = directory / f"{_DRAFT}{secrets.token_hex(12)}"
        self._most = most_bytes
        self._room = room
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()  # a thread may still write what the loop discards
        self.size_bytes = 0
        self.fd = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(error) from None

    def write(self, piece: bytes) -> None:
        """Append to it.

        Raises:
            TooLargeError: It would be larger than it may be.
            UnavailableError: There is no room, or the disk refuses.
        """
        with self._lock:
            if self.fd < 0:
                raise UnavailableError("what was being made is not wanted any more")
            if self.size_bytes + len(piece) > self._most:
                raise TooLargeError(f"that is more than {self._most} bytes (max)")
            self._room.take(len(piece))
            self.size_bytes += len(piece)
            self._digest.update(piece)
            view = memoryview(piece)
            try:
                while view:
                    view = view[os.write(self.fd, view) :]
            except OSError as error:
                raise _refused(error) from None

    @property
    def hash(self) -> str:
        """The hash of what was written so far."""
        return PREFIX + self._digest.hexdigest()

    def move_to(self, place: Path) -> None:
        """Make it durable and give it its place, over what is there; its share of the room is the place's then.

        Raises:
            UnavailableError: The disk refuses; it is discarded.
        """
        try:
            os.fsync(self.fd)
            self._path.rename(place)
            sync_directory(place.parent)
        except OSError as error:
            self.discard()
            raise _refused(error) from None
        os.close(self.fd)
        self.fd = -1

    def discard(self) -> None:
        """Forget it. Idempotent."""
        with self._lock:
            if self.fd < 0:
                return
            os.close(self.fd)
            self.fd = -1
            self._room.give(self.size_bytes)
        with suppress(FileNotFoundError):
            self._path.unlink()


def forget_drafts(directory: Path) -> None:
    """Remove what an earlier process was making in a directory."""
    for path in directory.glob(f"{_DRAFT}*"):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(error: OSError) -> UnavailableError:
    return UnavailableError(f"a blob cannot be written on this host: {error.strerror}")


class FolderBlobs:
    """Blobs of runs without a server, in a directory of this machine.

    Args:
        directory: Made when it is first needed.
        most_bytes: Of all of them.
    """

    def __init__(self, directory: Path, most_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._room = Room(most_bytes)

    def draft(self, most_bytes: int) -> Draft:
        """Return a new draft."""
        return Draft(self._directory, most_bytes, self._room)

    async def keep(self, draft: Draft, name: str) -> str:
        """Keep it; the name is for servers."""
        del name
        blob = draft.hash
        await begun_apart(draft.move_to, self._place(blob))
        return blob

    @asynccontextmanager
    async def bring(self, blob: str, most_bytes: int) -> AsyncIterator[Brought]:
        """Yield a blob that was kept before."""
        try:
            fd = os.open(self._place(blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {blob}") from None
        try:
            yield Brought(blob, check_size(blob, os.fstat(fd).st_size, most_bytes), fd)
        finally:
            os.close(fd)

    def _place(self, blob: str) -> Path:
        return self._directory / blob.removeprefix(PREFIX)


def check_size(blob: str, size: int, most_bytes: int) -> int:
    """Return the size of a blob that a call wants; ``TooLargeError`` if it wants none that large."""
    if size > most_bytes:
        raise TooLargeError(f"{blob} has {size} bytes, more than {most_bytes} (max)")
    return size


async def drafted(make: Callable[..., Draft], *things: Lent) -> Draft:
    """Return the draft that ``make`` makes on a thread, which discards it itself if it fails.

    Args:
        make: Called with a copy of each of ``things``.
        things: What it works on (:mod:`stdlib.lending`).

    Cancellation:
        Safe: the thread goes on to its end, and what it has made is discarded.

    Raises:
        UnavailableError: The agent has no descriptor left for the copies.
    """
    making = begun(make, *things)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_discard)
        raise


def _discard(making: asyncio.Future[Draft]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().discard()
