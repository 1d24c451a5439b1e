"""Files that must be whole or absent, and readable by nobody who has no business with them.

A file is replaced by writing a new one beside it, synchronising it, renaming it over the old one and synchronising the
directory: after a crash at any point the old or the new content is there, never a part. What is read has a bound.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from protocol.errors import NotFoundError, TooLargeError, UnavailableError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` with ``content``.

    Raises:
        UnavailableError: The disk refused (full, read-only, no permission); the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()  # of a crash; O_EXCL below would refuse it for ever
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        synchronise_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # a disk that is full does not become any emptier by what was begun
            temporary.unlink()
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def synchronise_directory(directory: Path) -> None:
    """Make the names in a directory durable; fsync(2): synchronising a file does not synchronise its name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, max_bytes: int, *, is_secret: bool = False) -> bytes:
    """Return the content of a regular file that nobody but us and root could have written.

    Args:
        path: The file.
        max_bytes: More than this is not read.
        is_secret: Nobody else may be able to read it either.

    Raises:
        NotFoundError: It is not there.
        TooLargeError: It is longer than ``max_bytes``.
        UnavailableError: It cannot be read, or others could write (or read a secret) in it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        _check_owner(path, status, is_secret)  # before fdopen, which does not take a directory
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # No more than there is: memory for all that there might be costs more than reading.
            content = file.read(min(status.st_size, max_bytes) + 1)
            if len(content) > status.st_size:  # it has grown, or the kernel makes it as it is read
                content += file.read(max(0, max_bytes + 1 - len(content)))
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise TooLargeError(f"{path} is longer than {max_bytes} bytes")
    return content


def _check_owner(path: Path, status: os.stat_result, is_secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnavailableError(f"{path} is not a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise UnavailableError(f"{path} belongs to user {status.st_uid}; it must belong to root or to the agent's user")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise UnavailableError(f"{path} may be written by others; make it mode {'600' if is_secret else '644'}")
    if is_secret and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise UnavailableError(f"{path} holds a secret and may be read by others; make it mode 600")
