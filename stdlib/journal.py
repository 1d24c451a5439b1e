"""What a change of a file takes away is kept first, so that the change can be undone.

One entry is two files of the store: what is known about the change, and the bytes that were there. Both are durable
before the change begins. The store is bounded in entries, bytes and age, oldest first out; a file over the bound of one
entry is changed without a journal, and the call says so by giving none.

The store itself knows no permissions: ``fs.undo`` is decided on the path that the entry names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from protocol.errors import ArgumentError, NotFoundError, UnavailableError

MAX_ENTRY_BYTES: Final = 16 << 20  # of the old content of one file
MAX_ENTRIES: Final = 10_000
MAX_NOTED: Final = 1000  # changes of one run that it can list
MAX_TOTAL_BYTES: Final = 1 << 30
TRIM_EVERY: Final = 64  # entries
MAX_AGE_S: Final = 30 * 24 * 3600.0
NONE: Final = "none"  # the kind of a change that cannot be taken back; only noted
TOO_LARGE: Final = f"what was there has more than {MAX_ENTRY_BYTES >> 20} MiB"
NO_JOURNAL: Final = "there is no undo journal here"
_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{20}")
_ABOUT_BYTES: Final = 128 << 10  # two paths of 4 KiB, each byte of which may take six characters


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, as it was about to happen."""

    id: str  # sorts by time
    path: str  # real; undecodable bytes as surrogates (PEP 383)
    time_s: float  # seconds since 1970 UTC
    call: str
    existed: bool
    old_hash: str | None  # sha256 of what was there; None if there was nothing
    new_hash: str | None  # sha256 of what is there after it; None if nothing is
    mode: int  # of what was there
    uid: int
    gid: int
    kind: str = "content"  # what was changed; stdlib.undoing and stdlib.undoing_entries have the others
    about: dict[str, Any] = field(default_factory=dict)  # what more must be known to take it back (stdlib.undoing)


class Journal:
    """A store of entries in a directory of its own. Used from any thread; one process at a time.

    Args:
        directory: Made if it is missing, for its owner alone.
        clock: Seconds since 1970 UTC.
    """

    def __init__(self, directory: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        self.directory = Path(directory)
        self._clock = clock
        self._noted: list[Entry] | None = None

    def noting(self, changes: list[Entry]) -> Journal:
        """Return the same store for one run: what it keeps is appended to ``changes``, up to MAX_NOTED."""
        own = Journal(self.directory, self._clock)
        own._noted = changes
        return own

    def begin(self, entry: Entry, old: Iterator[bytes] | None) -> str:
        """Keep an entry durably; return its id. What is over the bounds of the store goes, oldest first.

        Raises:
            UnavailableError: It cannot be kept; then the change must not happen. What ``old`` raises means the same.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if old is not None:
                self._write(f"{entry.id}.old", old)
            about = json.dumps(asdict(entry), ensure_ascii=True).encode("ascii")
            self._write(f"{entry.id}.json", iter([about]))
            self._sync()
            if int(entry.id[-4:], 16) % TRIM_EVERY == 0:  # by chance: each run has a view of its own
                self._trim()
        except OSError as error:
            self._forget(f"{entry.id}.old")
            raise UnavailableError(f"the undo journal cannot be written: {error.strerror}") from None
        except BaseException:
            self._forget(f"{entry.id}.old")
            raise
        self._note(entry)
        return entry.id

    def begin_hashed(self, entry: Entry, old: Iterator[bytes]) -> str:
        """Keep an entry whose bytes are hashed as they come, as :meth:`begin`; if ``old`` raises, nothing is kept."""
        digest = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for piece in old:
                digest.update(piece)
                yield piece

        name = f"{entry.id}.old"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(name, hashed())
        except OSError as error:
            self._forget(name)
            raise UnavailableError(f"the undo journal cannot be written: {error.strerror}") from None
        except BaseException:
            self._forget(name)
            raise
        return self.begin(self.with_content(entry, digest.hexdigest()), None)

    def finish(self, entry_id: str, about: dict[str, Any]) -> None:
        """Add to an entry what is known only once its change is over.

        Raises:
            NotFoundError: It is gone.
            UnavailableError: It cannot be written.
        """
        entry = self.find(entry_id)
        whole = json.dumps(asdict(replace(entry, about=entry.about | about)), ensure_ascii=True).encode("ascii")
        name = f"{entry_id}.new"
        try:
            self._write(name, iter([whole]))
            os.replace(self.directory / name, self.directory / f"{entry_id}.json")
            self._sync()
        except OSError as error:
            raise UnavailableError(f"the undo journal cannot be written: {error.strerror}") from None

    def cannot(self, path: str, call: str, why: str) -> None:
        """Note for the run that a change cannot be taken back, and why."""
        self._note(replace(self.made(path, call, None, NONE, {"why": why}), id=""))

    def _note(self, entry: Entry) -> None:
        if self._noted is not None and len(self._noted) < MAX_NOTED:
            self._noted.append(entry)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.directory / name)

    def make(
        self, path: str, call: str, status: os.stat_result | None, old_hash: str | None, new_hash: str | None
    ) -> Entry:
        """Return a new entry about ``path``; ``status`` is of what is there now."""
        now_s = self._clock()
        name = f"{int(now_s * 1000) & ((1 << 48) - 1):012x}-{secrets.token_hex(10)}"
        mode, uid, gid = (status.st_mode & 0o7777, status.st_uid, status.st_gid) if status else (0, 0, 0)
        return Entry(name, path, now_s, call, status is not None, old_hash, new_hash, mode, uid, gid)

    def made(self, path: str, call: str, status: os.stat_result | None, kind: str, about: dict[str, Any]) -> Entry:
        """Return a new entry about another change than one of content as a whole."""
        return replace(self.make(path, call, status, None, None), kind=kind, about=about)

    def with_content(self, entry: Entry, old_hash: str) -> Entry:
        """Return an entry that comes with bytes that were there, which have this hash."""
        return replace(entry, old_hash=old_hash)

    def find(self, entry_id: str) -> Entry:
        """Return the entry of that id.

        Raises:
            ArgumentError: It is no id.
            NotFoundError: There is none, or no more.
            UnavailableError: It cannot be read.
        """
        if not _ID.fullmatch(entry_id):
            raise ArgumentError("journal: is not what a change gave as its journal", parameter="journal")
        try:
            with open(self.directory / f"{entry_id}.json", "rb") as file:
                return Entry(**json.loads(file.read(_ABOUT_BYTES)))
        except FileNotFoundError:
            raise NotFoundError(f"the undo journal has no entry {entry_id} (any more)") from None
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError(f"the undo journal's entry {entry_id} cannot be read: {error}") from None

    def content(self, entry: Entry) -> bytes:
        """Return what was there, checked against its hash.

        Raises:
            UnavailableError: It cannot be read, or is not what it was.
        """
        try:
            data = (self.directory / f"{entry.id}.old").read_bytes()
        except OSError as error:
            raise UnavailableError(f"the undo journal's entry {entry.id} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != entry.old_hash:
            raise UnavailableError(f"the undo journal's entry {entry.id} is damaged")
        return data

    def _write(self, name: str, pieces: Iterator[bytes]) -> None:
        fd = os.open(self.directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(fd)

    def _sync(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _trim(self) -> None:
        """Drop what is too old or too much; also what a crash left half-written."""
        found = sorted(os.scandir(self.directory), key=lambda item: item.name, reverse=True)
        kept_bytes, entries = 0, 0
        oldest_ms = int((self._clock() - MAX_AGE_S) * 1000)
        for item in found:
            with contextlib.suppress(FileNotFoundError):  # another thread trims too
                entries += item.name.endswith(".json")
                kept_bytes += item.stat(follow_symlinks=False).st_size
                is_old = int(item.name[:12], 16) < oldest_ms if _ID.match(item.name) else False
                if is_old or entries > MAX_ENTRIES or kept_bytes > MAX_TOTAL_BYTES:
                    os.unlink(item.path)
