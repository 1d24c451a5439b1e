"""What a reader of archives gives, and the bound on how many bytes all entries hold together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.errors import ArgumentError, TooLargeError

PIECE_BYTES: Final = 256 << 10  # of content at once
PERMISSIONS: Final = 0o777  # setuid, setgid and sticky bits are given to nobody

ReadAt = Callable[[int, int], bytes]
"""Takes a length and a place; returns what is there, less at the end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One plain file or directory."""

    name: bytes  # as the archive has it; to be checked
    is_directory: bool
    mode: int  # permission bits
    mtime: int | None  # seconds since 1970; None if nothing sensible is said
    content: Iterator[bytes]  # to be read before the next entry


class Allowance:
    """Bytes that what is unpacked may have in all: what counts is what comes out, not what the archive says."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0

    def spend(self, size: int) -> None:
        """Account for ``size`` bytes.

        Raises:
            TooLargeError: That is too much.
        """
        self.used_bytes += size
        if self.used_bytes > self.most_bytes:
            raise TooLargeError(f"the archive unpacks to more than {self.most_bytes} bytes (max)")


def damaged(why: str) -> ArgumentError:
    """Return the error for an archive that is not what it should be."""
    return ArgumentError(f"the archive cannot be unpacked: {why}", parameter="blob")
