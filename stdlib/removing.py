"""Directories that go with all that is below them: looked through and decided on first, so that all or nothing goes.

No link is followed and no other file system entered: every directory is opened in the one that is held.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import islice
from typing import Final

from policies.model import Facts
from protocol.errors import ConflictError, DeadlineError, TooLargeError
from stdlib.call_specs import Permit
from stdlib.kept_objects import KeptObjects, require_permitted
from stdlib.paths import open_beneath

MAX_DEPTH: Final = 100  # each level holds a descriptor
MAX_GROWTH: Final = 1000  # entries that come while a directory is removed
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Removal:
    """Removes a directory with all below it: counts and decides first, so that it removes all or nothing."""

    permit: Permit
    device: int
    most: int
    kept: KeptObjects | None = None  # what is decided on by another name than it has here
    seen: int = 0

    def count(self, parent: int, name: str, real: str, depth: int) -> None:
        """Look at everything below; raise if there is too much, too deep, on another file system or not permitted."""
        is_all = self.permit.below(real)
        with Opened(parent, name, real, self.device) as fd:
            for entry in entries_of(fd, self.most - self.seen):
                self.seen += 1
                inside = f"{real}/{entry.name}"
                if self.seen > self.most:
                    raise TooLargeError(f"{real} holds more than max_entries ({self.most})")
                if self.permit.is_over:
                    raise DeadlineError("fs.remove was cut short")
                if not is_all:
                    self.permit.require(Facts(path=inside))
                if entry.is_dir(follow_symlinks=False):
                    if depth >= MAX_DEPTH:
                        raise TooLargeError(f"{inside} is more than {MAX_DEPTH} directories deep")
                    self.count(fd, entry.name, inside, depth + 1)
                elif self.kept is not None:
                    self.check(entry.stat(follow_symlinks=False))

    def check(self, status: os.stat_result) -> None:
        """Return if what was found below may be used; DeniedError if it is kept from the call by another name."""
        require_permitted(self.kept, self.permit, status)

    def remove(self, parent: int, name: str, real: str, depth: int) -> None:
        """Remove it. What came since the count is removed only within the same bounds."""
        with Opened(parent, name, real, self.device) as fd:
            for entry in entries_of(fd, self.seen + MAX_GROWTH):
                self.seen -= 1
                if self.seen < -MAX_GROWTH or depth > MAX_DEPTH:
                    raise ConflictError(f"{real} grows while it is removed")
                inside = f"{real}/{entry.name}"
                if self.permit.below(real) is not True:
                    self.permit.require(Facts(path=inside))
                if entry.is_dir(follow_symlinks=False):
                    self.remove(fd, entry.name, inside, depth + 1)
                else:
                    os.unlink(entry.name, dir_fd=fd)
        os.rmdir(name, dir_fd=parent)


def entries_of(fd: int, most: int) -> list[os.DirEntry[str]]:
    """Return what an open directory holds, as far as ``most`` and one more: anybody may fill one with millions."""
    with os.scandir(fd) as found:
        return list(islice(found, max(0, most) + 1))


class Opened:
    """A directory below a held one, never through a link, never mounted there, and never on another file system."""

    def __init__(self, parent: int, name: str, real: str, device: int) -> None:
        try:  # a mount may be of the same file system, bound from elsewhere in it: the device does not tell
            self._fd = open_beneath(parent, name, DIRECTORY, one_fs=True)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise ConflictError(f"{real} is on another file system") from None
        if os.fstat(self._fd).st_dev != device:
            os.close(self._fd)
            raise ConflictError(f"{real} is on another file system")

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
