"""The names in an archive: each must name one place below the directory that it is unpacked into, and no two the same.

Two names are the same if a file system somewhere holds them for the same: when case and the form of accents are
ignored. A name that is a file for one entry and a directory for another is refused as well.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from protocol.errors import ArgumentError, TooLargeError

MAX_PARTS: Final = 64  # directories deep
MAX_PART_BYTES: Final = 255  # NAME_MAX of Linux, limits.h
MAX_NAME_BYTES: Final = 3072  # of a whole name: PATH_MAX, with room for where it is unpacked


class Names:
    """The names of one archive.

    Args:
        most: Entries that it may hold, with the directories that are only implied.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kinds: dict[str, tuple[str, bool]] = {}  # folded name -> name, and whether it is a directory
        self._said: set[str] = set()  # folded names of the directories that have an entry of their own

    def accept(self, name: bytes, *, is_directory: bool) -> tuple[str, ...]:
        """Return the parts of an entry's name; none for the root itself. Undecodable bytes come as surrogates.

        Raises:
            ArgumentError: It is absolute, dotted, not plain, or there already.
            TooLargeError: Too many, too long or too deep.
        """
        shown = ascii(name.decode("utf-8", "backslashreplace"))[:200]
        parts = self._parts(name, shown)
        if not parts and not is_directory:
            raise ArgumentError(f"the archive holds an entry without a name: {shown}")
        path = ""
        for depth, part in enumerate(parts, 1):
            path = f"{path}/{part}"
            is_last = depth == len(parts)
            self._note(path, shown, is_directory=is_directory or not is_last, is_own=is_last)
        return parts

    def _parts(self, name: bytes, shown: str) -> tuple[str, ...]:
        if len(name) > MAX_NAME_BYTES:
            raise TooLargeError(f"the archive holds a name of over {MAX_NAME_BYTES} bytes: {shown}")
        if b"\0" in name or b"\\" in name:
            raise ArgumentError(f"the archive holds a name with a NUL or a backslash: {shown}")
        if name.startswith(b"/"):
            raise ArgumentError(f"the archive holds an absolute name: {shown}")
        while name.startswith(b"./"):  # as tar writes what it was given as "."
            name = name[2:]
        trimmed = name.removesuffix(b"/")
        if trimmed in (b"", b"."):
            return ()
        parts = trimmed.decode("utf-8", "surrogateescape").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ArgumentError(f"the archive holds a name with an empty, . or .. part: {shown}")
        if len(parts) > MAX_PARTS or any(
            len(part.encode("utf-8", "surrogateescape")) > MAX_PART_BYTES for part in parts
        ):
            raise TooLargeError(f"the archive holds a name that is too deep or too long: {shown}")
        return tuple(parts)

    def _note(self, path: str, shown: str, *, is_directory: bool, is_own: bool) -> None:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        known = self._kinds.get(folded)
        if known is None:
            if len(self._kinds) >= self._most:
                raise TooLargeError(f"the archive holds more than {self._most} entries (max_entries)")
            self._kinds[folded] = (path, is_directory)
        elif known[0] != path:
            raise ArgumentError(f"the archive holds two names that differ in case or form only: {shown}")
        elif known[1] is not is_directory:
            raise ArgumentError(f"the archive holds a name as a file and as a directory: {shown}")
        elif not is_directory or (is_own and folded in self._said):
            raise ArgumentError(f"the archive holds a name twice: {shown}")
        if is_own and is_directory:
            self._said.add(folded)

    @property
    def count(self) -> int:
        """How many entries there are, with directories that are only implied."""
        return len(self._kinds)
