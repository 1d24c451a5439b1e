"""How a change is taken back, by its kind. Only if nobody has changed the same since; else nothing is touched.

content     what was there is put back as a whole (``stdlib.fs_write``)
appended    what was added is cut off again
truncated   what was cut off is written back, or what was added is cut off
renamed     the entry goes back to where it was
attributes  permission bits, owner or times are set as they were

and those of ``stdlib.undoing_entries``.

An object is the same as then if it is of the same type and has the same inode on the same device. Inodes are used
again, so what is undone is also looked at: its length, the bytes that were added, its mode. Setuid and setgid come back
to nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from typing import Any, Final

from kernel.files import RENAME_NOREPLACE, give, rename_at
from policies.model import Facts
from protocol.errors import ConflictError, DeniedError, UnavailableError
from stdlib import undoing_entries
from stdlib.call_specs import Permit
from stdlib.journal import MAX_ENTRY_BYTES, TOO_LARGE, Entry, Journal
from stdlib.paths import failure
from stdlib.places import Place, place
from stdlib.replacing import PIECE_BYTES

OTHER: Final = "other"  # where a renamed entry went


def identity(status: os.stat_result) -> dict[str, Any]:
    """Return what an object is known by."""
    return {"ino": status.st_ino, "dev": status.st_dev, "type": stat.S_IFMT(status.st_mode)}


def keep_appended(journal: Journal, path: Place, status: os.stat_result | None, data: bytes) -> None:
    """Keep what an append is undone by: no content, only how long the file was and what is added."""
    about = {"size": status.st_size if status else 0, "added": len(data), "hash": hashlib.sha256(data).hexdigest()}
    journal.begin(journal.made(path.real, "fs.append", status, "appended", about | _known(status)), None)


def _known(status: os.stat_result | None) -> dict[str, Any]:
    return {} if status is None else identity(status)


def keep_truncated(journal: Journal, path: str, fd: int, size: int) -> None:
    """Keep what an open file loses when it is cut; one that loses more than 16 MiB is cut without."""
    status = os.fstat(fd)
    lost = status.st_size - size
    if lost > MAX_ENTRY_BYTES:
        journal.cannot(path, "fs.truncate", TOO_LARGE)
        return
    tail = _range(fd, size, lost) if lost > 0 else b""
    entry = journal.made(
        path, "fs.truncate", status, "truncated", {"old": status.st_size, "new": size} | identity(status)
    )
    if tail:
        entry = journal.with_content(entry, hashlib.sha256(tail).hexdigest())
    journal.begin(entry, iter([tail]) if tail else None)


def keep_renamed(journal: Journal, source: Place, path: Place, status: os.stat_result) -> None:
    """Keep where an entry was before it is moved."""
    about = {OTHER: path.real} | identity(status)
    journal.begin(journal.made(source.real, "fs.rename", status, "renamed", about), None)


def require_movable(permit: Permit, source: Place, path: Place, status: os.stat_result) -> None:
    """Return if an entry may be moved: a directory only if all below it is permitted at both places.

    Raises:
        DeniedError: It may not.
    """
    if stat.S_ISDIR(status.st_mode) and not (permit.below(source.real) and permit.below(path.real)):
        raise DeniedError(f"not everything below {source.asked} may be moved", rule="all below a directory")


def check_moved(permit: Permit, source: Place, path: Place, status: os.stat_result) -> None:
    """Return if what was moved is what :func:`require_movable` was asked about, or may be moved as well.

    Raises:
        ConflictError: It is a directory that took its place meanwhile; it is where it was again.
    """
    moved = path.status()
    if moved is None or stat.S_ISDIR(status.st_mode):
        return
    try:
        require_movable(permit, source, path, moved)
    except DeniedError:
        rename_at(path.directory, path.name, source.directory, source.name, RENAME_NOREPLACE)
        raise ConflictError(f"{source.asked} was replaced meanwhile") from None


def keep_attributes(journal: Journal, call: str, path: str, status: os.stat_result, new: dict[str, Any]) -> None:
    """Keep what is said about an object before ``new`` (mode, owner or times) is said."""
    old = {name: read(status) for name, read in _ATTRIBUTES.items() if name in new}
    journal.begin(journal.made(path, call, status, "attributes", {"old": old, "new": new} | identity(status)), None)


_ATTRIBUTES: Final[dict[str, Callable[[os.stat_result], Any]]] = {
    "mode": lambda status: stat.S_IMODE(status.st_mode),
    "owner": lambda status: [status.st_uid, status.st_gid],
    "times": lambda status: [status.st_atime_ns, status.st_mtime_ns],
}


def places_of(entry: Entry) -> list[str]:
    """Return the real paths that taking it back changes; each is decided on."""
    if entry.kind == "made":
        return undoing_entries.levels_of(entry)
    return [entry.path, entry.about[OTHER]] if entry.kind == "renamed" else [entry.path]


def take_back(journal: Journal, permit: Permit, entry: Entry) -> None:
    """Take back a change that is not one of content as a whole.

    Raises:
        ConflictError: What is there is not what the change made of it.
        DeniedError: It is not allowed where it really is.
        UnavailableError: The entry is of a kind that is not known here.
    """
    if undoing_entries.take_back(journal, permit, entry):
        return
    undo = {
        "appended": _appended, "truncated": _truncated, "renamed": _renamed, "attributes": _attributes,
    }.get(entry.kind)  # fmt: skip
    if undo is None:
        raise UnavailableError(f"the undo journal's entry {entry.id} is of an unknown kind")
    with place(entry.about[OTHER] if entry.kind == "renamed" else entry.path, follow=False) as held:
        if held.real not in places_of(entry):
            raise ConflictError(f"{entry.path} is reached another way now: {held.real}")
        permit.require(Facts(path=held.real))
        status = held.status()
        is_same = status is not None and (not entry.about.get("ino") or identity(status) == _identity(entry))
        if status is None or not is_same:
            raise ConflictError(f"{held.real} is not what the change made of it")
        try:
            undo(journal, permit, entry, held, status)
        except OSError as error:
            raise failure(error, held.real) from None


def _identity(entry: Entry) -> dict[str, Any]:
    return {name: entry.about[name] for name in ("ino", "dev", "type")}


def _appended(_journal: Journal, _permit: Permit, entry: Entry, held: Place, _status: os.stat_result) -> None:
    size, added = entry.about["size"], entry.about["added"]
    with held.opened(os.O_RDWR) as fd:
        if (
            os.fstat(fd).st_size != size + added
            or hashlib.sha256(_range(fd, size, added)).hexdigest() != entry.about["hash"]
        ):
            raise ConflictError(f"{entry.path} was changed since")
        if entry.existed:
            os.ftruncate(fd, size)
            os.fsync(fd)
    if not entry.existed:
        os.unlink(held.name, dir_fd=held.directory)
        held.sync()


def _truncated(journal: Journal, _permit: Permit, entry: Entry, held: Place, _status: os.stat_result) -> None:
    old, new = entry.about["old"], entry.about["new"]
    tail = journal.content(entry) if entry.old_hash is not None else b""
    with held.opened(os.O_RDWR) as fd:
        if os.fstat(fd).st_size != new or not _is_empty(fd, old, new):
            raise ConflictError(f"{entry.path} was changed since")
        position, view = new, memoryview(tail)
        while view:
            size = os.pwrite(fd, view, position)
            position, view = position + size, view[size:]
        os.ftruncate(fd, old)
        os.fsync(fd)


def _is_empty(fd: int, start: int, end: int) -> bool:
    """Tell whether a file holds zeros alone from one place to another, as what it was lengthened by does.

    Where nothing was ever written, nothing is read; over MAX_ENTRY_BYTES of what was, it is taken for somebody's.
    """
    left = MAX_ENTRY_BYTES
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is none behind it
                return True
            raise
        piece = os.pread(fd, min(PIECE_BYTES, max(0, end - start)), start)
        start, left = start + len(piece), left - len(piece)
        if piece.strip(b"\0") or left < 0:
            return False
        if not piece:
            break
    return True


def _renamed(_journal: Journal, permit: Permit, entry: Entry, held: Place, status: os.stat_result) -> None:
    with place(entry.path, follow=False) as back:
        if back.real != entry.path:
            raise ConflictError(f"{entry.path} is reached another way now: {back.real}")
        permit.require(Facts(path=back.real))
        require_movable(permit, held, back, status)
        try:
            rename_at(held.directory, held.name, back.held().directory, back.name, RENAME_NOREPLACE)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.EXDEV):
                raise ConflictError(f"{entry.path} is there again") from None
            raise
        check_moved(permit, held, back, status)
        back.sync()
    held.sync()


def _attributes(_journal: Journal, _permit: Permit, entry: Entry, held: Place, status: os.stat_result) -> None:
    old, new = entry.about["old"], entry.about["new"]
    told = {name: _ATTRIBUTES[name](status) for name in new}
    if "times" in new:  # a look at it is no change
        told["times"][0] = new["times"][0]
    if told != new:
        raise ConflictError(f"{entry.path} was changed since")
    with held.opened(os.O_PATH) as fd:
        if identity(os.fstat(fd)) != _identity(entry):
            raise ConflictError(f"{entry.path} was replaced meanwhile")
        if "owner" in old:
            give(fd, *old["owner"])
        if "mode" in old:
            os.chmod(f"/proc/self/fd/{fd}", old["mode"] & 0o1777)
        if "times" in old:
            os.utime(f"/proc/self/fd/{fd}", ns=tuple(old["times"]))


def _range(fd: int, position: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (piece := os.pread(fd, min(PIECE_BYTES, size), position)):
        parts.append(piece)
        position, size = position + len(piece), size - len(piece)
    return b"".join(parts)
