"""Which files of a git commit a bundle holds, read from what ``git ls-tree`` lists. No git, no disk.

The same files are left out as in a folder, so a script has one digest, wherever it lies. Links, submodules and whatever
else is no plain file is refused, and everything is bounded before a file is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from protocol.bundle import is_left_out
from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES

LISTING: Final = ("ls-tree", "-r", "-l", "-z", "--full-tree")  # the words that give what is read here
_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]{40,64}) +(\d+|-)\t(.+)", re.DOTALL)
_FILES: Final = (b"100644", b"100755")
_KINDS: Final = {b"120000": "a symbolic link", b"160000": "a submodule"}


class Entry(NamedTuple):
    """A line of the listing."""

    mode: bytes
    object: str
    size: int  # bytes; -1 of what has none
    path: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file."""
        return self.mode in _FILES


def entries(listed: bytes) -> Iterator[Entry]:
    """Yield the lines of a listing.

    Raises:
        ArgumentError: It is no listing that is known here.
    """
    for line in filter(None, listed.split(b"\0")):
        match = _ENTRY.fullmatch(line)
        if match is None:
            raise ArgumentError("git lists the commit in a form that is not known here")
        mode, _, name, length, path = match.groups()
        yield Entry(mode, name.decode("ascii"), -1 if length == b"-" else int(length), path)


def bundle_entries(listed: bytes, prefix: bytes = b"") -> dict[str, Entry]:
    """Return the files that belong to a bundle, by their paths in it.

    Args:
        listed: Of the folder, and of nothing beside it.
        prefix: What stands before each path.

    Raises:
        ArgumentError: A path is not UTF-8, or not a plain file.
        TooLargeError: There are more files or bytes than a bundle holds.
    """
    found: dict[str, Entry] = {}
    size = 0
    for entry in entries(listed):
        try:
            path = entry.path[len(prefix) :].decode("utf-8")
        except UnicodeDecodeError:
            raise ArgumentError("a path in the commit is not UTF-8") from None
        if any(is_left_out(part) for part in path.split("/")):
            continue
        if not entry.is_file:
            raise ArgumentError(f"is {_KINDS.get(entry.mode, 'no plain file')}; a bundle holds only files", where=path)
        size += entry.size
        if len(found) >= MAX_BUNDLE_FILES or size > MAX_BUNDLE_BYTES:
            raise TooLargeError(f"the commit holds over {MAX_BUNDLE_FILES} files or {MAX_BUNDLE_BYTES} bytes there")
        found[path] = entry
    return found
