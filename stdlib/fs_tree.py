"""Trees of directories, gone through by what is held: no link is followed, nothing outside is reached, all is decided.

Every directory is opened anew beneath the one descriptor of the root (openat2, ``RESOLVE_BENEATH`` and
``RESOLVE_NO_SYMLINKS``), so a walk holds two descriptors however deep it is, and a directory that is swapped for a
link meanwhile is not entered. It is decided on where it really is once it is open. Where the policy allows all below
it, nothing in it is asked about; where that depends, every entry is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from policies.model import Facts
from protocol.errors import ArgumentError, OutriderError, UnavailableError
from stdlib.call_specs import Permit
from stdlib.paths import Gone, Target, failure, open_beneath, real_of

MAX_DEPTH = 256  # levels below the root; the whole path has at most 4096 bytes anyway
MAX_WAITING = 100_000  # directories that are known and not yet entered; about 20 MB of names
MAX_ERRORS = 20  # told one by one in a summary; the rest is counted
ROWS = 512  # given at once; a batch of the channel holds as many
LOOKED_AT = 1024  # entries between two chances to stop


@dataclass(slots=True)
class Account:
    """What became of a walk."""

    seen: int = 0  # entries looked at
    truncated: bool = False  # the limit ended it
    denied: int = 0  # entries and directories that the policy leaves out
    deeper: int = 0  # directories that were not entered for their depth
    failed: int = 0  # of which ``errors`` are the first
    errors: list[dict[str, str]] = field(default_factory=list)

    def fail(self, path: str, error: OSError | OutriderError) -> None:
        """Note what could not be looked at."""
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            told = failure(error, path) if isinstance(error, OSError) else error
            self.errors.append({"path": path, "code": told.code, "message": told.message})

    def summary(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "seen": self.seen, "truncated": self.truncated, "denied": self.denied, "deeper": self.deeper,
            "failed": self.failed, "errors": self.errors,
        }  # fmt: skip


class Place(NamedTuple):  # this and the next are made for each directory; a frozen class takes three times as long
    """A directory that waits to be entered."""

    relative: str  # to the root; empty for the root itself
    depth: int  # of what it holds; 1 for the root
    is_free: bool = False  # the policy allows all below the directory that holds it


ROOT = Place("", 1)


class Directory(NamedTuple):
    """A directory that is open and was decided on."""

    place: Place
    fd: int
    real: str  # where it is, ends with a slash
    shown: str  # what the script knows it as, ends with a slash
    is_free: bool  # nothing in it needs to be asked about

    def below(self, name: str) -> Place:
        """Return the place of a directory in it."""
        place = self.place
        return Place(f"{place.relative}/{name}" if place.relative else name, place.depth + 1, self.is_free)


class Tree:
    """One root that is gone through by one call.

    Args:
        root: Open.
        permit: Of the call.
        one_fs: Whether to stay on the file system of the root.
    """

    def __init__(self, root: Target, permit: Permit, *, one_fs: bool = False) -> None:
        self.account = Account()
        self._root = root
        self._permit = permit
        self._one_fs = one_fs
        self._real = with_slash(root.real)
        self._shown = with_slash(root.asked)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._permit.is_over

    @contextmanager
    def entered(self, place: Place) -> Iterator[Directory | None]:
        """Yield the directory; None if it is not to be entered, which is noted."""
        directory = self.enter(place)
        try:
            yield directory
        finally:
            if directory is not None:
                os.close(directory.fd)

    def enter(self, place: Place) -> Directory | None:
        """Return the directory, whose descriptor is the caller's to close; None if it is not to be entered."""
        below = f"{place.relative}/" if place.relative else ""
        shown = self._shown + below
        try:
            fd = open_beneath(self._root.fd, place.relative, os.O_RDONLY | os.O_DIRECTORY, one_fs=self._one_fs)
        except OSError as error:
            if error.errno != errno.EXDEV:  # another file system, which was not to be entered
                self.account.fail(shown, error)
            return None
        try:
            directory = self._decide(place, fd, with_slash(real_of(fd)), shown, self._real + below)
        except (ArgumentError, Gone) as error:
            self.account.fail(shown, error)
            directory = None
        except BaseException:
            os.close(fd)
            raise
        if directory is None:
            os.close(fd)
        return directory

    def _decide(self, place: Place, fd: int, real: str, shown: str, expected: str) -> Directory | None:
        if place.is_free and real == expected:
            return Directory(place, fd, real, shown, True)
        is_free = self._permit.below(real.rstrip("/") or "/")
        if is_free is False or (is_free is None and not self.permits(real.rstrip("/") or "/")):
            self.account.denied += 1
            return None
        return Directory(place, fd, real, shown, is_free is True)

    def permits(self, real: str) -> bool:
        """Tell whether the call may show what is at a real path."""
        return self._permit.permits(Facts(path=real))


class Waiting:
    """The directories that wait to be entered, the newest first; so what waits stays little."""

    def __init__(self, account: Account, most_depth: int, first: Place = ROOT) -> None:
        self._account = account
        self._most_depth = most_depth
        self._places = [first]

    def __iter__(self) -> Iterator[Place]:
        while self._places:
            yield self._places.pop()

    def add(self, directory: Directory, name: str) -> None:
        """Have a directory entered later, unless it lies too deep, or too many wait; that is noted."""
        if directory.place.depth >= self._most_depth:
            self._account.deeper += 1
        elif len(self._places) >= MAX_WAITING:
            self._account.fail(directory.shown + name, too_many(directory.shown + name))
        else:
            self._places.append(directory.below(name))


def too_many(path: str) -> OutriderError:
    """Return what is noted of a directory that cannot wait to be entered."""
    return UnavailableError(f"{path}: more than {MAX_WAITING} directories wait to be entered")


def with_slash(path: str) -> str:
    """Return a path of a directory with one slash at its end."""
    return path.rstrip("/") + "/"


def listed(tree: Tree, directory: Directory) -> Iterator[os.DirEntry[str]]:
    """Give what an open directory holds; that it could not be read to its end is noted."""
    try:
        with os.scandir(directory.fd) as entries:
            yield from entries
    except OSError as error:
        tree.account.fail(directory.shown, error)


def kind_of(entry: os.DirEntry[str]) -> str:
    """Return the type of an entry as listings have it, without looking at it."""
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "symlink" if entry.is_symlink() else "other"


def status_of(entry: os.DirEntry[str], shown: str, account: Account) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone since it was listed, as if it had been gone before
        return None
    except OSError as error:
        account.fail(shown + entry.name, error)
        return None
