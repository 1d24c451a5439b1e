"""One file to a host: a small one in one request, a large one in pieces that a broken way only delays."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cli.files.local import PIECE_BYTES, hash_of, local_failure
from cli.files.patience import BROKEN, Patience
from cli.files.progress import Progress
from cli.sessions import RemoteSession
from cli.wire import encoded
from protocol.errors import ConflictError, NotFoundError, OutriderError, ProtocolError

FED_BYTES: Final = 256 << 10  # of a file, read at once for a request
SMALL_BYTES: Final = 4 << 20  # of a file that goes in one request; chosen without measurement


class Uploads:
    """Uploads of one session.

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

    def send(
        self, fd: int, path: str, told: str, *, mode: int | None = None, if_hash: str | None = None
    ) -> dict[str, Any]:
        """Give a file on the host the content of an open file here; return what came of it.

        Args:
            fd: Of a regular file.
            path: On the host.
            told: Its name for people.
            mode: Permission bits; None keeps those of a file that is there.
            if_hash: sha256 of what must be there, or ``absent``.

        Raises:
            OutriderError: It did not get there; nothing has changed.
        """
        before = os.fstat(fd)
        self._progress.begin(told, before.st_size)
        about = {"path": path, "mode": None if mode is None else f"{mode:04o}", "if_hash": if_hash}
        if before.st_size <= SMALL_BYTES:
            done = self.put(_whole(fd, before.st_size, told), about)
        else:
            done = self._in_pieces(fd, about, told)
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self._progress.clear()
            self._say(f"{told} was written to while it was read")
        return done

    def put(self, data: bytes, about: Mapping[str, Any]) -> dict[str, Any]:
        """Send content that is in memory."""
        digest = hashlib.sha256(data)
        headers = {"Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"}
        if about["if_hash"] == "absent":
            headers["If-None-Match"] = "*"
        elif about["if_hash"]:
            headers["If-Match"] = f'"sha256:{about["if_hash"].removeprefix("sha256:")}"'
        query = {"path": about["path"], "mode": about["mode"]}
        is_again = False
        while True:
            try:
                done = self.session.api.sent("PUT", self.session.path("file", query), [data], headers)
            except BROKEN as error:
                self._progress.clear()
                self._patience.wait(error)
                is_again = True
            except ConflictError:
                if not (is_again and self._is_there(about["path"], digest.hexdigest())):
                    raise
                return {"created": False, "old_hash": None, "new_hash": digest.hexdigest(), "journal": None}
            else:
                self._progress.add(len(data))
                return dict(done)

    def _in_pieces(self, fd: int, about: Mapping[str, Any], told: str) -> dict[str, Any]:
        upload: int | None = None
        made, sent = hashlib.sha256(), 0
        try:
            while True:
                try:
                    if upload is None:
                        upload, made, sent = self._begin(about), hashlib.sha256(), 0
                    feed = _Feed(fd, sent, made, self._fed, told)
                    where = self.session.path(f"uploads/{upload}", {"offset": sent})
                    there = self.session.api.sent("PUT", where, feed, {})
                    if (there["bytes"], there["sha256"]) != (feed.offset, made.hexdigest()):
                        raise ProtocolError(f"what arrived of {told} is not what was sent")
                    return self._finish(upload, about["path"], made.hexdigest())
                except BROKEN as error:
                    self._progress.clear()
                    self._patience.wait(error)
                    upload, made, sent = self._stand(fd, upload)
                    self._progress.back_to(sent)
        except BaseException:
            self._drop(upload)
            raise

    def _begin(self, about: Mapping[str, Any]) -> int:
        given = {"path": encoded(about["path"]), "mode": about["mode"], "if_hash": about["if_hash"]}
        return int(self.session.api.post(f"sessions/{self.session.id}/uploads", given)["upload"])

    def _stand(self, fd: int, upload: int | None) -> tuple[int | None, Any, int]:
        """Return the upload, the hash so far and how many bytes are there; None and nothing if it is to begin anew."""
        if upload is None:
            return None, hashlib.sha256(), 0
        while True:
            try:
                there = self.session.api.get(self.session.path(f"uploads/{upload}"))
                break
            except NotFoundError:  # its session ended, and this is another one
                return None, hashlib.sha256(), 0
            except BROKEN as error:
                self._patience.wait(error)
            except ConflictError as error:
                self._patience.wait(error)
        if hash_of(fd, there["bytes"]) != there["sha256"]:
            self._drop(upload)
            return None, hashlib.sha256(), 0
        made = hashlib.sha256()
        for piece in _pieces(fd, 0, there["bytes"]):
            made.update(piece)
        return upload, made, int(there["bytes"])

    def _finish(self, upload: int, path: str, sha256: str) -> dict[str, Any]:
        try:
            where = f"sessions/{self.session.id}/uploads/{upload}/finish"
            return dict(self.session.api.post(where, {"sha256": sha256}))
        except BROKEN as error:  # it may have been done, and only the answer was lost
            self._patience.wait(error)
            if self._is_there(path, sha256):
                return {"created": False, "old_hash": None, "new_hash": sha256, "journal": None}
            raise

    def _is_there(self, path: str, sha256: str) -> bool:
        try:
            return bool(self.session.call("fs.hash", path=path) == sha256)
        except OutriderError:
            return False

    def _drop(self, upload: int | None) -> None:
        if upload is not None:
            try:
                self.session.api.delete(self.session.path(f"uploads/{upload}"))
            except OutriderError:  # it ends with its session
                return

    def _fed(self, size: int) -> None:
        self._progress.add(size)
        self._patience.progressed()


class _Feed:
    """Reads a file piece by piece for a request; counts and hashes what it gave.

    All pieces lie in the same memory, one after the other, which stays in the processor's cache.
    """

    def __init__(self, fd: int, offset: int, made: Any, fed: Callable[[int], None], told: str) -> None:
        self.offset = offset
        self._fd = fd
        self._made = made
        self._fed = fed
        self._told = told

    def __iter__(self) -> Iterator[memoryview]:
        room = memoryview(bytearray(FED_BYTES))
        try:
            while size := os.preadv(self._fd, [room], self.offset):
                data = room[:size]
                self.offset += size
                self._made.update(data)
                yield data
                self._fed(size)
        except OSError as error:
            raise local_failure(error, self._told) from None


def _pieces(fd: int, offset: int, end: int) -> Iterator[bytes]:
    while offset < end and (data := os.pread(fd, min(PIECE_BYTES, end - offset), offset)):
        offset += len(data)
        yield data


def _whole(fd: int, size: int, told: str) -> bytes:
    try:
        return b"".join(_pieces(fd, 0, size))
    except OSError as error:
        raise local_failure(error, told) from None
