"""A file gets new content as a whole or not at all: written beside it, made durable, then put in its place.

What is kept of the file that was there: owner, permission bits (not setuid and setgid, as with any write), extended
attributes (not file capabilities). A name that other hard links share is parted from them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kernel.files import RENAME_EXCHANGE, RENAME_NOREPLACE, rename_at
from protocol.errors import ConflictError, DeadlineError
from stdlib.journal import MAX_ENTRY_BYTES, NO_JOURNAL, TOO_LARGE, Journal
from stdlib.parameters import Form
from stdlib.paths import failure
from stdlib.places import Place

NEW_MODE: Final = 0o644
ABSENT: Final = "absent"
PIECE_BYTES: Final = 1 << 20
MAX_VECTOR: Final = 1024  # pieces that the kernel takes at once; IOV_MAX, linux/uio.h
#: The hash that a file must have: sha256 in hex, or that there is no file.
EXPECTED = Form(rf"(sha256:)?[0-9a-f]{{64}}|{ABSENT}", f"must be a sha256 in hex, or {ABSENT!r}")
_NOT_KEPT: Final = {"security.capability"}
_ACCESS_LIST: Final = "system.posix_acl_access"  # acl(5); it holds the permission bits as well
_ACL_HEAD: Final = struct.Struct("<I")  # version; linux/posix_acl_xattr.h
_ACL_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, who
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to."""

    created: bool
    old_hash: str | None  # None if there was nothing, or more than is looked through without need
    new_hash: str
    journal: str | None  # None if it cannot be undone
    no_undo: str | None = None  # why not

    def to_plain(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "created": self.created, "old_hash": self.old_hash, "new_hash": self.new_hash, "journal": self.journal,
            "no_undo": self.no_undo,
        }  # fmt: skip


def expected_hash(if_hash: str | None) -> str | None:
    """Return ``absent`` or the bare hash of an ``if_hash`` argument; None if there is no condition.

    Raises:
        ArgumentError: It is neither a hash nor ``absent``.
    """
    if if_hash is None or if_hash == ABSENT:
        return if_hash
    return EXPECTED.require(if_hash, "if_hash").removeprefix("sha256:")


def _never() -> bool:
    return False


def pieces_of(fd: int, most: int | None = None) -> Iterator[bytes]:
    """Yield what an open file holds from its start, a piece at a time; its position stays where it is.

    Args:
        fd: Of the file.
        most: How many bytes it may hold; None: as many as it does. Whoever may write to it makes it as long as they
            like at once, whatever it was a moment ago.

    Raises:
        ConflictError: It holds more than that by now.
    """
    position = 0
    while piece := os.pread(fd, PIECE_BYTES, position):
        position += len(piece)
        if most is not None and position > most:
            raise ConflictError("the file grows while it is read")
        yield piece


def hash_of(fd: int, most: int | None = None, is_over: Callable[[], bool] = _never) -> str:
    """Return the sha256 of what an open file holds, in hex. A file that takes no room may take a day.

    Args:
        fd: Of the file.
        most: As of :func:`pieces_of`, as what is raised.
        is_over: Whether nobody waits for it any more.

    Raises:
        DeadlineError: Nobody does.
    """
    digest = hashlib.sha256()
    for piece in pieces_of(fd, most):
        if is_over():
            raise DeadlineError("the file was not hashed to its end")
        digest.update(piece)
    return digest.hexdigest()


def _with_mode(access_list: bytes, mode: int) -> bytes:
    """Return the access control list that chmod(2) would make of one: to set it as it is would set its own mode."""
    entries = list(_ACL_ENTRY.iter_unpack(access_list[_ACL_HEAD.size :]))
    group = _MASK if any(tag == _MASK for tag, _, _ in entries) else _GROUP_OBJ
    bits = {_USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, _OTHER: mode & 7}
    return access_list[: _ACL_HEAD.size] + b"".join(
        _ACL_ENTRY.pack(tag, bits.get(tag, held), who) for tag, held, who in entries
    )


class Replacement:
    """New content for one place, on its way. Exactly one of :meth:`commit` and :meth:`abort` ends it.

    Safe from any thread: who ends it waits for who is writing, as the number of a descriptor that was closed is soon
    another file's.

    Args:
        place: Held for as long as this lives.
        mode: Permission bits of a new file, or what an old one gets; None keeps those.
        owner: User and group of it; None keeps those, or leaves a new file to the agent's own user.
        is_over: Whether nobody waits for it any more; asked while what is there is hashed.

    Raises:
        OutriderError: It is not a regular file, or nothing can be written beside it.
    """

    def __init__(
        self, place: Place, *, mode: int | None = None, owner: tuple[int, int] | None = None,
        is_over: Callable[[], bool] = _never,
    ) -> None:  # fmt: skip
        self._place = place
        self._is_over = is_over
        self._mode = mode
        self._owner = owner
        self._status = place.regular()
        self._digest = hashlib.sha256()
        self._lock = threading.RLock()
        self._temporary = f".outrider-{secrets.token_hex(8)}"
        self.size_bytes = 0
        try:
            self._fd = os.open(
                self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                dir_fd=place.held().directory,
            )  # fmt: skip
        except OSError as error:
            raise failure(error, place.asked) from None

    @property
    def hash(self) -> str:
        """The sha256 of what was written so far, in hex."""
        return self._digest.copy().hexdigest()

    def write(self, piece: bytes | memoryview) -> None:
        """Append to the new content; ``ConflictError`` once it is over."""
        self.write_all((piece,))

    def write_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append pieces, one after the other, without copying them into one; raises as :meth:`write`."""
        with self._lock:
            if self._fd < 0:
                raise ConflictError(f"what was to be written to {self._place.asked} is given up")
            try:
                for at in range(0, len(pieces), MAX_VECTOR):
                    self._write(pieces[at : at + MAX_VECTOR])
            except OSError as error:
                raise failure(error, self._place.asked) from None
            for piece in pieces:
                self._digest.update(piece)
                self.size_bytes += len(piece)

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        written = os.writev(self._fd, pieces)
        for piece in pieces:
            view = memoryview(piece)[written:]  # what was left of it, mostly nothing
            while view:
                view = view[os.write(self._fd, view) :]
            written = max(0, written - len(piece))

    def commit(self, call: str, journal: Journal | None, if_hash: str | None = None) -> Changed:
        """Put the new content in its place.

        Args:
            call: For the journal.
            journal: Where the old content is kept; None keeps none.
            if_hash: What :func:`expected_hash` returned.

        Raises:
            ConflictError: What is there is not what ``if_hash`` says, or came while this was on its way; or it is over.
            OutriderError: It could not be done; what was there is there.
        """
        with self._lock:
            if self._fd < 0:
                raise ConflictError(f"what was to be written to {self._place.asked} is given up")
            try:
                return self._commit(call, journal, if_hash)
            except OSError as error:
                raise failure(error, self._place.asked) from None
            finally:
                self.abort()

    def abort(self) -> None:
        """Forget the new content. Idempotent. May block, also for as long as somebody writes."""
        with self._lock:
            if self._fd < 0:
                return
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(FileNotFoundError):  # it has taken its place
                os.unlink(self._temporary, dir_fd=self._place.directory)

    def _commit(self, call: str, journal: Journal | None, if_hash: str | None) -> Changed:
        place, status, new_hash = self._place, self._status, self._digest.hexdigest()
        if status is None:
            if if_hash not in (None, ABSENT):
                raise ConflictError(f"{place.asked} does not exist, so it has no such hash")
            if self._owner is not None:
                os.fchown(self._fd, *self._owner)
            os.fchmod(self._fd, NEW_MODE if self._mode is None else self._mode)
            entry, why = self._keep(call, journal, None, None, new_hash)
            os.fsync(self._fd)
            self._take_place(RENAME_NOREPLACE)
            return Changed(True, None, new_hash, entry, why)
        with place.opened(os.O_RDONLY) as old:
            own = os.fstat(old)  # how long it is by now; a writer may have been open for an hour
            if not os.path.samestat(own, status):
                raise ConflictError(f"{place.asked} was replaced meanwhile")
            is_kept = own.st_size <= MAX_ENTRY_BYTES
            most = MAX_ENTRY_BYTES if is_kept else None
            old_hash = hash_of(old, most, self._is_over) if is_kept or if_hash is not None else None
            if if_hash is not None and if_hash != old_hash:
                raise ConflictError(f"{place.asked} is not what it was: its sha256 is {old_hash}")
            self._resemble(old, status)
            entry, why = self._keep(call, journal, old if is_kept else None, old_hash, new_hash)
        os.fsync(self._fd)
        if if_hash is None:
            self._take_place(0)
        else:
            self._swap(if_hash)
        return Changed(False, old_hash, new_hash, entry, why)

    def _keep(
        self, call: str, journal: Journal | None, old: int | None, old_hash: str | None, new_hash: str
    ) -> tuple[str | None, str | None]:
        """Return the journal, or why there is none."""
        if journal is None:
            return None, NO_JOURNAL
        if self._status is not None and old is None:
            journal.cannot(self._place.real, call, TOO_LARGE)
            return None, TOO_LARGE
        entry = journal.make(self._place.real, call, self._status, old_hash, new_hash)
        return journal.begin(entry, None if old is None else pieces_of(old, MAX_ENTRY_BYTES)), None

    def _resemble(self, old: int, status: os.stat_result) -> None:
        """Give the new file what is kept of the old one."""
        own, owner = os.fstat(self._fd), self._owner or (status.st_uid, status.st_gid)
        if (own.st_uid, own.st_gid) != owner:
            os.fchown(self._fd, *owner)
        mode = status.st_mode & 0o1777 if self._mode is None else self._mode
        try:
            names = [name for name in os.listxattr(old) if name not in _NOT_KEPT]
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            names = []
        if _ACCESS_LIST not in names:  # one that new files of this directory get is not the old one's
            with contextlib.suppress(OSError):  # there is none, as mostly
                os.removexattr(self._fd, _ACCESS_LIST)
        os.fchmod(self._fd, mode)
        for name in names:
            value = os.getxattr(old, name)
            os.setxattr(self._fd, name, _with_mode(value, mode) if name == _ACCESS_LIST else value)

    def _take_place(self, flags: int) -> None:
        place = self._place
        try:
            rename_at(place.directory, self._temporary, place.directory, place.name, flags)
        except FileExistsError:
            raise ConflictError(f"{place.asked} was made by somebody else meanwhile") from None
        place.sync()

    def _swap(self, if_hash: str) -> None:
        """Exchange the two, look at what came out, and exchange them back if it is not what was expected."""
        place = self._place
        try:
            rename_at(place.directory, self._temporary, place.directory, place.name, RENAME_EXCHANGE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._take_place(0)  # this file system cannot: what was read a moment ago has to do
            return
        try:
            if not self._came_out(if_hash):
                raise ConflictError(f"{place.asked} was changed by somebody else meanwhile")
        except BaseException:
            rename_at(place.directory, self._temporary, place.directory, place.name, RENAME_EXCHANGE)
            raise
        place.sync()

    def _came_out(self, if_hash: str) -> bool:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        out = os.open(self._temporary, flags, dir_fd=self._place.directory)
        try:
            return hash_of(out, is_over=self._is_over) == if_hash
        finally:
            os.close(out)
