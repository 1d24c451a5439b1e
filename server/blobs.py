"""The content of blobs as files: never partly visible, found by hash alone, and gone when nobody keeps it.

``<two digits>/<hash>`` holds a whole blob, ``partial/`` what is on its way. A blob moves from there to its place in one
rename, after all of it is on the disk and its hash was checked; that it is kept is then a row of the database. So after
any crash there may be a file without a row, which the next look takes away, never a row without its file.

Names are made from hashes that were checked, and from digests of who sends; nothing that anybody sent is a path.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Final

from protocol.errors import NotFoundError, TrustError, UnavailableError
from protocol.transfer import PIECE_BYTES, PREFIX, Header, Receiving
from server.durable import sync_directory

_PARTIAL: Final = "partial"


class BlobFiles:
    """A directory of blobs. Used from any thread; whoever writes one keeps others from writing the same.

    Args:
        directory: Made if it is missing, for its owner alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / _PARTIAL).mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)

    def path(self, blob: str) -> Path:
        """Return where the whole blob lies, or would."""
        digits = blob.removeprefix(PREFIX)
        return self._directory / digits[:2] / digits

    def partial(self, source: str, blob: str) -> Path:
        """Return where what has arrived of it from one source lies."""
        return self._directory / _PARTIAL / f"{hashlib.sha256(f'{source} {blob}'.encode()).hexdigest()}"

    def arrived(self, source: str, blob: str, size: int) -> int:
        """Return how many bytes of it are there already from this source; what cannot be its beginning goes."""
        path = self.partial(source, blob)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            return 0
        if found > size:
            path.unlink(missing_ok=True)
            return 0
        return found

    def begin(self, source: str, header: Header) -> Arrival:
        """Return a blob on its way in, whose first ``header.offset`` bytes are there and hashed.

        Raises:
            NotFoundError: Fewer are there.
            UnavailableError: The disk refuses.
        """
        return Arrival(self, self.partial(source, header.hash), header)

    def open(self, blob: str) -> int:
        """Return a descriptor of a whole blob.

        Raises:
            NotFoundError: There is none.
            UnavailableError: It cannot be read.
        """
        try:
            return os.open(self.path(blob), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {blob}") from None
        except OSError as error:
            raise UnavailableError(f"the blob {blob} cannot be read: {error.strerror}") from error

    def remove(self, blob: str) -> None:
        """Take a whole blob away; who reads it now reads it to its end."""
        self.path(blob).unlink(missing_ok=True)

    def sweep(self, kept: Container[str], partial_age_s: float) -> int:
        """Take away whole blobs that nobody keeps and parts that are old; return how many. Not while one is put."""
        gone = 0
        for path in self._whole():
            if PREFIX + path.name not in kept:
                path.unlink(missing_ok=True)
                gone += 1
        oldest_s = time.time() - partial_age_s
        for path in (self._directory / _PARTIAL).iterdir():
            if path.stat().st_mtime < oldest_s:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _whole(self) -> Iterator[Path]:
        for folder in self._directory.iterdir():
            if folder.name != _PARTIAL and folder.is_dir():
                yield from folder.iterdir()


class Arrival:
    """One blob on its way in. Exactly one of :meth:`complete` and :meth:`pause` ends it; all of it blocks.

    Args:
        files: Where it will lie.
        path: Where what has arrived lies.
        header: What was agreed.
    """

    def __init__(self, files: BlobFiles, path: Path, header: Header) -> None:
        self._files = files
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _refused(error) from error
        try:
            self.receiving = Receiving(header, self._hashed(header.offset))
            os.ftruncate(self._fd, header.offset)  # what came without being counted comes again
        except BaseException:
            os.close(self._fd)
            raise

    def _hashed(self, size: int) -> Any:
        digest, position = hashlib.sha256(), 0
        while position < size:
            piece = os.pread(self._fd, min(PIECE_BYTES, size - position), position)
            if not piece:
                raise NotFoundError(f"only {position} bytes are here, not {size}; begin again")
            digest.update(piece)
            position += len(piece)
        return digest

    def write(self, data: bytes) -> None:
        """Keep the next bytes.

        Raises:
            TooLargeError: More than was said.
            UnavailableError: The disk refuses.
        """
        position, view = self.receiving.position, memoryview(data)
        self.receiving.take(data)
        try:
            while view:
                size = os.pwrite(self._fd, view, position)
                position, view = position + size, view[size:]
        except OSError as error:
            raise _refused(error) from error

    def complete(self) -> None:
        """Check all of it, make it durable and put it in its place.

        Raises:
            ProtocolError: Bytes are missing; what is there stays for going on.
            TrustError: ``wrong_digest``; it is gone.
            UnavailableError: The disk refuses.
        """
        try:
            self.receiving.finish()
            os.fsync(self._fd)
            place = self._files.path(self.receiving.header.hash)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            self._path.rename(place)
            for directory in (place.parent, place.parent.parent):
                sync_directory(directory)
        except TrustError:
            self._path.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise _refused(error) from error
        finally:
            self.pause()

    def pause(self) -> None:
        """Stop here; what has arrived stays for going on. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _refused(error: OSError) -> UnavailableError:
    return UnavailableError(f"the blob cannot be written: {error.strerror}", detail=repr(error))
