"""A directory with all below it as one run of bytes for the undo journal, and back; and what a tree is known by.

A tree is kept as records, each a length of 4 bytes, a map, and for a file its content: directories before what they
hold. Kept are names, permission bits (not setuid and setgid), owner, times and what links say. Not kept are extended
attributes, and that two names are the same file. A tree with anything else than files, directories and links is not
kept at all. No link is followed, neither on the way in nor out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

from kernel.files import RENAME_NOREPLACE, rename_at, sync_file_system
from protocol.errors import ConflictError, UnavailableError
from protocol.frames import decode_trusted, encode
from stdlib.journal import MAX_ENTRY_BYTES
from stdlib.paths import open_beneath
from stdlib.places import Place
from stdlib.removing import DIRECTORY, MAX_DEPTH, Opened, entries_of
from stdlib.replacing import PIECE_BYTES

MAX_ENTRIES: Final = 10_000  # of one kept tree
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE, _FOLDER, _LINK = "file", "directory", "symlink"


class NotKept(Exception):
    """A tree cannot be kept; the text says why. Never leaves the calls that keep."""


def pieces(place: Place, status: os.stat_result, check: Callable[[os.stat_result], None]) -> Iterator[bytes]:
    """Give a directory with all below it.

    Args:
        place: Where it is.
        status: Of it.
        check: Called with each file before it is opened; raises if it may not be. What is brought back is another
            file, of which nobody can tell that it holds the same.

    Raises:
        NotKept: It holds too much, or something that cannot be kept.
        OSError: The kernel's own.
    """
    yield from _directory(place.directory, place.name, b"", status, _Room(check), 0)


class _Room:
    """How much of the bounds is left, and what else each file has to pass."""

    def __init__(self, check: Callable[[os.stat_result], None]) -> None:
        self.check = check
        self.bytes = MAX_ENTRY_BYTES
        self.entries = MAX_ENTRIES

    def take(self, size: int) -> None:
        self.bytes -= size
        self.entries -= 1
        if self.bytes < 0:
            raise NotKept(f"it holds more than {MAX_ENTRY_BYTES >> 20} MiB")
        if self.entries < 0:
            raise NotKept(f"it holds more than {MAX_ENTRIES} entries")


def _directory(parent: int, name: str, path: bytes, status: os.stat_result, room: _Room, depth: int) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise NotKept(f"it is more than {MAX_DEPTH} directories deep")
    yield _record(path, _FOLDER, status, room)
    with Opened(parent, name, os.fsdecode(path), status.st_dev) as fd:
        for entry in entries_of(fd, room.entries):
            inside, own = path + b"/" + os.fsencode(entry.name), entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(own.st_mode):
                yield from _directory(fd, entry.name, inside, own, room, depth + 1)
            elif stat.S_ISLNK(own.st_mode):
                target = os.fsencode(os.readlink(entry.name, dir_fd=fd))
                yield _record(inside, _LINK, own, room, target=target)
            elif stat.S_ISREG(own.st_mode):
                room.check(own)
                yield from _file(fd, entry.name, inside, room, own)
            else:
                raise NotKept("it holds something that is neither file, directory nor link")


def _file(parent: int, name: str, path: bytes, room: _Room, before: os.stat_result) -> Iterator[bytes]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(fd)
        if not os.path.samestat(before, status):  # what was checked, by its name, so that this is counted in it
            raise NotKept("it changes while it is kept")
        yield _record(path, _FILE, status, room, size=status.st_size)
        left = status.st_size
        while left and (piece := os.read(fd, min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
        if left:
            raise NotKept("it changes while it is kept")
    finally:
        os.close(fd)


def _record(path: bytes, kind: str, status: os.stat_result, room: _Room, **more: Any) -> bytes:
    head = encode({
        "path": path, "kind": kind, "mode": status.st_mode & 0o1777, "uid": status.st_uid, "gid": status.st_gid,
        "atime": status.st_atime_ns, "mtime": status.st_mtime_ns, **more,
    })  # fmt: skip
    room.take(len(head) + 4 + int(more.get("size", 0)))
    return len(head).to_bytes(4, "big") + head


def restore(data: bytes, place: Place, check: Callable[[str], None]) -> None:
    """Make a kept tree anew, beside the place and then in it, as a whole or not at all.

    Args:
        data: What :func:`pieces` gave.
        place: Where it was; nothing is there.
        check: Called with the real path of everything before anything is made; raises if that is not allowed.

    Raises:
        ConflictError: Something came meanwhile.
        UnavailableError: The bytes are not what they were.
        OSError: The kernel's own.
    """
    records = list(_records(data))
    for head, _ in records:
        check(place.real + os.fsdecode(head["path"]))
    temporary = f".outrider-{secrets.token_hex(8)}"
    os.mkdir(temporary, 0o700, dir_fd=place.held().directory)
    root = os.open(temporary, DIRECTORY, dir_fd=place.directory)
    try:
        for head, content in records[1:]:
            _make(root, head, content)
        for head, _ in reversed(records):  # last: a directory may keep us out, and what is made in it sets its time
            if head["kind"] == _FOLDER:
                _finish_directory(root, head)
        sync_file_system(root)
        try:
            rename_at(place.directory, temporary, place.directory, place.name, RENAME_NOREPLACE)
        except FileExistsError:
            raise ConflictError(f"{place.asked} is there again") from None
        place.sync()
    finally:
        os.close(root)
        with contextlib.suppress(FileNotFoundError):  # it has taken its place
            shutil.rmtree(temporary, dir_fd=place.directory)


def _records(data: bytes) -> Iterator[tuple[dict[str, Any], memoryview]]:
    view, position = memoryview(data), 0
    while position < len(data):
        size = int.from_bytes(view[position : position + 4], "big")
        head = decode_trusted(bytes(view[position + 4 : position + 4 + size]))
        position += 4 + size
        length = head.get("size", 0)
        yield head, view[position : position + length]
        position += length
    if position != len(data) or not data:
        raise UnavailableError("what the undo journal has kept of a directory is not whole")


def _make(root: int, head: dict[str, Any], content: memoryview) -> None:
    parent, _, name = os.fsdecode(head["path"]).lstrip("/").rpartition("/")
    directory = open_beneath(root, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if head["kind"] == _FOLDER:
            os.mkdir(name, 0o700, dir_fd=directory)
        elif head["kind"] == _LINK:
            os.symlink(os.fsdecode(head["target"]), name, dir_fd=directory)
            _own(name, directory, head)
        else:
            fd = os.open(name, _NEW, 0o600, dir_fd=directory)
            with open(fd, "wb", buffering=0) as file:
                while content:
                    content = content[file.write(content) or 0 :]
                _finish(fd, head)
    finally:
        os.close(directory)


def _own(name: str, directory: int, head: dict[str, Any]) -> None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if (status.st_uid, status.st_gid) != (head["uid"], head["gid"]):
        os.chown(name, head["uid"], head["gid"], dir_fd=directory, follow_symlinks=False)
    os.utime(name, ns=(head["atime"], head["mtime"]), dir_fd=directory, follow_symlinks=False)


def _finish(fd: int, head: dict[str, Any]) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (head["uid"], head["gid"]):
        os.fchown(fd, head["uid"], head["gid"])
    os.fchmod(fd, head["mode"])
    os.utime(fd, ns=(head["atime"], head["mtime"]))


def _finish_directory(root: int, head: dict[str, Any]) -> None:
    fd = open_beneath(root, os.fsdecode(head["path"]).lstrip("/"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        _finish(fd, head)
    finally:
        os.close(fd)


def state_of(directory: int, device: int, most: int) -> str | None:
    """Return what an open directory with all below it is known by: names, kinds, modes, sizes, times, what links say.

    None if it holds more than ``most`` entries. Contents are not read, so it is quick; whoever changes a file and sets
    its time back is not seen.

    Raises:
        ConflictError: Something in it is on another file system.
        OSError: The kernel's own.
    """
    digest = hashlib.sha256()
    left = [most]
    return digest.hexdigest() if _add_state(digest, directory, b"", device, left, 0) else None


def _add_state(digest: Any, directory: int, path: bytes, device: int, left: list[int], depth: int) -> bool:
    for entry in sorted(entries_of(directory, left[0]), key=lambda item: os.fsencode(item.name)):
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            return False
        status, inside = entry.stat(follow_symlinks=False), path + b"/" + os.fsencode(entry.name)
        is_folder = stat.S_ISDIR(status.st_mode)
        told = [inside, status.st_mode, 0 if is_folder else status.st_size, 0 if is_folder else status.st_mtime_ns]
        if stat.S_ISLNK(status.st_mode):
            told.append(os.fsencode(os.readlink(entry.name, dir_fd=directory)))
        digest.update(encode(told))
        if is_folder:
            with Opened(directory, entry.name, os.fsdecode(inside), device) as fd:
                if not _add_state(digest, fd, inside, device, left, depth + 1):
                    return False
    return True
