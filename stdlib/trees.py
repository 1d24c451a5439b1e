"""Files that say something about the host: read with a bound, and never for longer than a moment.

Only regular files are read (those of /proc and /sys are), opened so that neither a FIFO nor a terminal in their place
can hold the agent up. Text is UTF-8; other bytes come as the characters that stand for them (PEP 383).
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from protocol.errors import UnavailableError

MAX_VALUE_BYTES = (
    4096  # of a file that holds one value; a page, as sysfs gives at most (Documentation/filesystems/sysfs.rst)
)
MAX_NAMES = 10_000  # of one directory; chosen without measurement
_CHUNK_BYTES = 64 << 10


class Contents(NamedTuple):
    """What was read of a file."""

    data: bytes
    truncated: bool  # there is more than was allowed
    skipped_bytes: int = 0  # before what was read, where the end was asked for

    @property
    def text(self) -> str:
        """The data as text; a file that was cut ends with its last whole line."""
        kept = self.data[: self.data.rfind(b"\n") + 1] if self.truncated else self.data
        return kept.decode("utf-8", "surrogateescape")


def read(path: str, most_bytes: int, *, follow: bool = True, from_end: bool = False) -> Contents:
    """Return at most ``most_bytes`` of the regular file ``path``: its beginning, or its end.

    Args:
        path: A path of our own making, never one that a script wrote.
        most_bytes: Bound of the result.
        follow: Whether a symlink in the last place is followed; not where users can put one.
        from_end: Read the last bytes, not the first.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is not a regular file")
        skipped = max(0, status.st_size - most_bytes) if from_end else 0
        if skipped:
            os.lseek(fd, skipped, os.SEEK_SET)
        data = _filled(fd, most_bytes + (0 if from_end else 1))
    finally:
        os.close(fd)
    return Contents(data[:most_bytes], skipped > 0 or len(data) > most_bytes, skipped)


def _filled(fd: int, wanted_bytes: int) -> bytes:
    kept = bytearray()
    while len(kept) < wanted_bytes:
        part = os.read(fd, min(_CHUNK_BYTES, wanted_bytes - len(kept)))
        if not part:
            break
        kept += part
    return bytes(kept)


def value(path: str) -> str | None:
    """Return the value that a small file holds, without space around it; None if there is none or it cannot be read."""
    try:
        data = read(path, MAX_VALUE_BYTES).data
    except OSError:  # such files come and go with their device, and some can be read by root only: not told, then
        return None
    return data.decode("utf-8", "surrogateescape").strip().strip("\0") or None


def number(path: str) -> int | None:
    """Return the whole number that a small file holds; None if it holds none."""
    text = value(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def names(path: str) -> list[str]:
    """Return the names in a directory, sorted, at most MAX_NAMES; none if it is not there or not for us."""
    try:
        with os.scandir(path) as found:
            return sorted(entry.name for entry, _ in zip(found, range(MAX_NAMES), strict=False))
    except OSError:
        return []


def link(path: str) -> str | None:
    """Return the last part of what the symlink ``path`` names, as sysfs points at drivers; None if it is no symlink."""
    try:
        return os.readlink(path).rpartition("/")[2]
    except OSError:
        return None


def text_of(path: str, most_bytes: int, *, follow: bool = True) -> str:
    """Return the text of a file that must be there, cut after ``most_bytes``.

    Raises:
        UnavailableError: It cannot be read; says why.
    """
    try:
        return read(path, most_bytes, follow=follow).text
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None


def text_or_nothing(path: str, most_bytes: int, *, follow: bool = True) -> str:
    """Return the text of a file, cut after ``most_bytes``; empty if it is not there.

    Raises:
        UnavailableError: It is there and cannot be read; says why.
    """
    try:
        return read(path, most_bytes, follow=follow).text
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None


def settings(text: str) -> dict[str, str]:
    """Return the ``NAME=value`` lines of a text; quotes around a value are taken off, comments are left out."""
    found = {}
    for line in text.split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
