"""How a change of a directory's entries is taken back, by its kind; ``stdlib.undoing`` has those of what is in files.

made        directories that were made go again, if nothing came into them
linked      a symlink or another name of a file goes again
unlinked    a symlink that was removed comes back
emptied     a directory that was removed while empty comes back, empty
removed     a directory that was removed with all below it comes back with that
unpacked    a directory that an archive was unpacked into goes again
opened      a file that was changed in place gets back what it held, in place
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from policies.model import Facts
from protocol.errors import ConflictError
from stdlib.call_specs import Permit
from stdlib.journal import MAX_ENTRY_BYTES, TOO_LARGE, Entry, Journal
from stdlib.kept_trees import MAX_ENTRIES, NotKept, pieces, restore, state_of
from stdlib.paths import failure
from stdlib.places import Place, place
from stdlib.removing import DIRECTORY, Removal
from stdlib.replacing import hash_of, pieces_of

MADE: Final = "made"  # which directories were made; entries of before have none
CLOSED: Final = "closed"  # what a file that was opened to be changed was when it was closed


def keep_made(journal: Journal, path: str, levels: int) -> str:
    """Keep which directories are about to be made: the last one, and how many with it; return the journal."""
    return journal.begin(journal.made(path, "fs.mkdir", None, "made", {"levels": levels, MADE: None}), None)


def keep_which(journal: Journal, entry: str, made: list[os.stat_result]) -> None:
    """Add which directories were made, the last one first; without that they are not taken back."""
    journal.finish(entry, {MADE: [[status.st_ino, status.st_dev] for status in made]})


def keep_symlink(journal: Journal, path: Place, target: str) -> None:
    """Keep what a symlink that is about to be made will say."""
    journal.begin(journal.made(path.real, "fs.symlink", None, "linked", {"target": target}), None)


def keep_name(journal: Journal, path: Place, source: os.stat_result) -> None:
    """Keep which file is about to get another name."""
    about = {"ino": source.st_ino, "dev": source.st_dev}
    journal.begin(journal.made(path.real, "fs.link", None, "linked", about), None)


def keep_unlinked(journal: Journal, call: str, path: Place, status: os.stat_result) -> str:
    """Keep a symlink that is about to be removed; return the journal."""
    target = os.readlink(path.name, dir_fd=path.directory)
    return journal.begin(journal.made(path.real, call, status, "unlinked", {"target": target}), None)


def keep_emptied(journal: Journal, call: str, path: Place, status: os.stat_result) -> None:
    """Keep an empty directory that is about to be removed."""
    journal.begin(journal.made(path.real, call, status, "emptied", {}), None)


def keep_removed(
    journal: Journal, path: Place, status: os.stat_result, check: Callable[[os.stat_result], None]
) -> None:
    """Keep a directory with all below it that is about to be removed; if that cannot be, note why.

    ``check`` is called with each file before it is opened, and raises if the call may not have what it holds.
    """
    try:
        journal.begin_hashed(journal.made(path.real, "fs.remove", status, "removed", {}), pieces(path, status, check))
    except NotKept as error:
        journal.cannot(path.real, "fs.remove", str(error))


def keep_unpacked(journal: Journal, path: Place, before: os.stat_result | None, filled: int) -> None:
    """Keep what an archive was unpacked to, which is about to take the place of nothing or an empty directory."""
    state = state_of(filled, os.fstat(filled).st_dev, MAX_ENTRIES)
    if state is None:
        journal.cannot(path.real, "fs.extract", f"it holds more than {MAX_ENTRIES} entries")
    else:
        journal.begin(journal.made(path.real, "fs.extract", before, "unpacked", {"state": state}), None)


def keep_opened(journal: Journal, path: Place, status: os.stat_result | None) -> str | None:
    """Keep what a file holds that is about to be opened to be changed; return the journal, or None and note why."""
    if status is None:
        return journal.begin(journal.made(path.real, "fs.open_write", None, "opened", {}), None)
    if status.st_size > MAX_ENTRY_BYTES:
        journal.cannot(path.real, "fs.open_write", TOO_LARGE)
        return None
    with path.opened(os.O_RDONLY) as fd:
        return journal.begin_hashed(
            journal.made(path.real, "fs.open_write", status, "opened", {}), pieces_of(fd, MAX_ENTRY_BYTES)
        )


def keep_closed(journal: Journal, entry: str, fd: int) -> None:
    """Add to a file's entry what it was when it was closed; without that it is not taken back."""
    status = os.fstat(fd)
    if status.st_size <= MAX_ENTRY_BYTES:
        with suppress(ConflictError):  # somebody makes it longer at this moment: then it is theirs
            told = {"ino": status.st_ino, "dev": status.st_dev, "hash": hash_of(fd, MAX_ENTRY_BYTES)}
            journal.finish(entry, {CLOSED: told})


def levels_of(entry: Entry) -> list[str]:
    """Return the real paths of the directories that were made, the last one first."""
    paths = [entry.path]
    for _ in range(1, int(entry.about["levels"])):
        paths.append(paths[-1].rpartition("/")[0])
    return paths


def take_back(journal: Journal, permit: Permit, entry: Entry) -> bool:
    """Take back a change of an entry; return whether its kind is one of these.

    Raises:
        ConflictError: What is there is not what the change made of it.
        DeniedError: It is not allowed where it really is.
        UnavailableError: What was kept is gone or damaged.
    """
    undo = _KINDS.get(entry.kind)
    if undo is None:
        return False
    with place(entry.path, follow=False) as held:
        _require(permit, held, entry.path)
        try:
            undo(journal, permit, entry, held)
        except OSError as error:
            raise failure(error, held.real) from None
    return True


def _require(permit: Permit, held: Place, path: str) -> None:
    if held.real != path:
        raise ConflictError(f"{path} is reached another way now: {held.real}")
    permit.require(Facts(path=held.real))


def _made(_journal: Journal, permit: Permit, entry: Entry, held: Place) -> None:
    paths = levels_of(entry)
    made = entry.about.get(MADE, [None] * len(paths))
    if made is None:
        raise ConflictError(f"{held.real} was not made, or it is not known which directory that was")
    _rmdir(held, made[0])
    for path, which in zip(paths[1:], made[1:], strict=True):
        with place(path, follow=False) as above:
            _require(permit, above, path)
            try:
                _rmdir(above, which)
            except ConflictError:  # somebody else uses it too
                return


def _rmdir(held: Place, which: list[int] | None) -> None:
    status = held.status()
    is_same = status is not None and which in (None, [status.st_ino, status.st_dev])
    if status is None or not is_same or not stat.S_ISDIR(status.st_mode):
        raise ConflictError(f"{held.real} is not the directory that was made")
    try:
        os.rmdir(held.name, dir_fd=held.directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise ConflictError(f"{held.real} is not empty") from None
        raise
    held.sync()


def _linked(_journal: Journal, _permit: Permit, entry: Entry, held: Place) -> None:
    status = held.status()
    target = entry.about.get("target")
    if status is None:
        is_same = False
    elif target is not None:
        is_same = stat.S_ISLNK(status.st_mode) and os.readlink(held.name, dir_fd=held.directory) == target
    else:  # the last name of a file is more than a name
        same = (status.st_ino, status.st_dev) == (entry.about["ino"], entry.about["dev"])
        is_same = same and status.st_nlink > 1
    if not is_same:
        raise ConflictError(f"{held.real} is not the link that was made")
    os.unlink(held.name, dir_fd=held.directory)
    held.sync()


def _absent(held: Place) -> None:
    if held.status() is not None:
        raise ConflictError(f"{held.real} is there again")


def _unlinked(_journal: Journal, _permit: Permit, entry: Entry, held: Place) -> None:
    _absent(held)
    os.symlink(entry.about["target"], held.name, dir_fd=held.directory)
    own = held.present()
    if (own.st_uid, own.st_gid) != (entry.uid, entry.gid):
        os.chown(held.name, entry.uid, entry.gid, dir_fd=held.directory, follow_symlinks=False)
    held.sync()


def _emptied(_journal: Journal, _permit: Permit, entry: Entry, held: Place) -> None:
    _absent(held)
    os.mkdir(held.name, 0o700, dir_fd=held.directory)
    fd = os.open(held.name, DIRECTORY, dir_fd=held.directory)
    try:
        _as_before(fd, entry)
    finally:
        os.close(fd)
    held.sync()


def _as_before(fd: int, entry: Entry) -> None:
    own = os.fstat(fd)
    if (own.st_uid, own.st_gid) != (entry.uid, entry.gid):
        os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode & 0o1777)


def _removed(journal: Journal, permit: Permit, entry: Entry, held: Place) -> None:
    _absent(held)
    is_free = permit.below(held.real) is True

    def check(real: str) -> None:
        if not is_free:
            permit.require(Facts(path=real))

    restore(journal.content(entry), held, check)


def _unpacked(_journal: Journal, permit: Permit, entry: Entry, held: Place) -> None:
    status = held.status()
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise ConflictError(f"{held.real} is not the directory that was made")
    fd = os.open(held.name, DIRECTORY, dir_fd=held.directory)
    try:
        if state_of(fd, status.st_dev, MAX_ENTRIES) != entry.about["state"]:
            raise ConflictError(f"{held.real} was changed since")
    finally:
        os.close(fd)
    removal = Removal(permit, status.st_dev, MAX_ENTRIES)
    removal.count(held.directory, held.name, held.real, 0)
    removal.remove(held.directory, held.name, held.real, 0)
    if entry.existed:
        _emptied(_journal, permit, entry, held)
    held.sync()


def _opened(journal: Journal, _permit: Permit, entry: Entry, held: Place) -> None:
    closed = entry.about.get(CLOSED)
    if closed is None:
        raise ConflictError(f"{entry.path} is still open, or it is not known what it was when it was closed")
    with held.opened(os.O_RDWR) as fd:
        own = os.fstat(fd)
        is_same = (own.st_ino, own.st_dev) == (closed["ino"], closed["dev"]) and own.st_size <= MAX_ENTRY_BYTES
        if not is_same or hash_of(fd, MAX_ENTRY_BYTES) != closed["hash"]:
            raise ConflictError(f"{entry.path} was changed since")
        if entry.existed:
            _fill(fd, journal.content(entry))
    if not entry.existed:
        os.unlink(held.name, dir_fd=held.directory)
        held.sync()


def _fill(fd: int, data: bytes) -> None:
    view, position = memoryview(data), 0
    while view:
        size = os.pwrite(fd, view, position)
        position, view = position + size, view[size:]
    os.ftruncate(fd, len(data))
    os.fsync(fd)


_KINDS: Final[dict[str, Callable[[Journal, Permit, Entry, Place], None]]] = {
    "made": _made, "linked": _linked, "unlinked": _unlinked, "emptied": _emptied, "removed": _removed,
    "unpacked": _unpacked, "opened": _opened,
}  # fmt: skip
