"""``fs.walk``, ``fs.glob`` and ``fs.largest``: what is in a tree. See ``stdlib.fs_tree`` for what holds of each."""

from __future__ import annotations

import heapq
import os
import stat as modes
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Annotated, Any, Literal, NamedTuple

from protocol.columns import MAX_PLACES, Columns
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_patterns import Glob
from stdlib.fs_tree import (
    LOOKED_AT,
    MAX_DEPTH,
    ROWS,
    Account,
    Directory,
    Tree,
    Waiting,
    kind_of,
    listed,
    status_of,
)
from stdlib.parameters import Bounds, Length
from stdlib.paths import Target

MAX_ENTRIES = 10_000_000  # of one stream; a script that wants more walks parts of the tree
MAX_LARGEST = 10_000  # of one list
MAX_PATTERNS = 64
WHOLE: Any = "/"  # a default; opened by the catalogue like what a script gives
FAR = float(1 << 53)
BLOCK_S = 0.005  # that entries which were found wait for others

Depth = Annotated[int, Bounds(1, MAX_DEPTH)]
Size = Annotated[int, Bounds(0, 1 << 53, "bytes")]
Rows = list[dict[str, Any]]
Kind = Literal["file", "directory", "symlink", "other"]
KINDS = ["file", "directory", "symlink", "other"]
FILE, DIRECTORY = 0, 1  # their places


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries of a walk are given."""

    matches: Callable[[str, str], bool] | None  # of name and relative path
    kind: str | None
    min_size: int
    newer: float | None

    @property
    def needs_status(self) -> bool:
        """Whether an entry must be looked at itself, not only its name."""
        return self.min_size > 0 or self.newer is not None

    def admits(self, directory: Directory, name: str, kind: str, status: os.stat_result | None) -> bool:
        """Tell whether an entry is to be given."""
        if self.kind is not None and kind != self.kind:
            return False
        if self.matches is not None and not self.matches(name, directory.place.relative):
            return False
        if status is None:
            return True
        if self.min_size and (kind != "file" or status.st_size < self.min_size):
            return False
        return self.newer is None or status.st_mtime > self.newer

    @property
    def is_all(self) -> bool:
        """Whether every entry is."""
        return self.matches is None and self.kind is None and not self.needs_status


def matcher(pattern: str | None) -> Callable[[str, str], bool] | None:
    """Return what tells whether a name, or the path to it if the pattern has a slash, fits."""
    if pattern is None:
        return None
    glob = Glob.parse(pattern, "match")
    if "/" not in pattern and pattern != "**":
        return lambda name, _directory: glob.fits(name)
    return lambda name, directory: glob.fits(f"{directory}/{name}" if directory else name)


@call(
    "fs.walk",
    tier=Tier.OBSERVE,
    below=True,
    lua='for entry in fs.walk("/etc/default", {match = "*.conf"}) do print(entry.path, entry.size) end',
    python='for entry in fs.walk("/etc/default", match="*.conf"):\n    print(entry["path"], entry["size"])',
)
def walk(
    permit: Permit,
    root: Target,
    depth: Depth = MAX_DEPTH,
    one_fs: bool = False,
    match: Annotated[str, Length(1024)] | None = None,
    type: Kind | None = None,
    min_size: Size = 0,
    newer: Annotated[float, Bounds(-FAR, FAR, "seconds")] | None = None,
    limit: Annotated[int, Bounds(1, MAX_ENTRIES)] = 1_000_000,
    stat: bool = True,
) -> Generator[Columns, None, dict[str, Any]]:
    """Give everything below a directory, in no order, as ``path``, ``name``, ``type``, ``depth``, ``size``, ``mtime``.

    ``size`` (bytes) and ``mtime`` (seconds since 1970 UTC) need a look at each entry and are left out if ``stat`` is
    false. ``type`` is file, directory, symlink or other. ``depth`` is 1 for what is right below ``root``. No link is
    followed; with ``one_fs`` no other file system is entered.

    What is given can be narrowed: ``match`` is a pattern on the name, or with a slash in it on the path below
    ``root``, where ``**`` stands for any directories; ``min_size`` gives only files of so many bytes or more, ``newer``
    only what was modified after that time. All directories are entered all the same, down to ``depth``.

    The summary is ``seen`` (entries looked at), ``truncated`` (``limit`` ended it), ``denied`` (left out by the
    policy), ``deeper`` (directories not entered for their depth), ``failed``, and ``errors``, the first of those, each
    with ``code`` and ``message``.
    """
    wanted = Wanted(matcher(match), type, int(min_size), newer)
    require_directory(root)
    return _walk(Tree(root, permit, one_fs=one_fs), wanted, int(depth), int(limit), stat)


def require_directory(root: Target) -> None:
    """Return if a root can be gone through.

    Raises:
        NotFoundError: There is nothing.
        ArgumentError: It is no directory.
    """
    if not modes.S_ISDIR(root.status().st_mode):
        raise ArgumentError(f"root: {root.asked} is not a directory", parameter="root")


def _walk(
    tree: Tree, wanted: Wanted, most_depth: int, limit: int, with_status: bool
) -> Generator[Columns, None, dict[str, Any]]:
    account, given = tree.account, 0
    block = Block(with_status=with_status)
    for directory, some in _found(tree, wanted, most_depth, with_status):
        room = limit - given
        if len(some.entries) > room:
            account.truncated = True
            block.add(directory, some.take(range(room)))
            break
        given += len(some.entries)
        block.add(directory, some)
        if block.is_due:
            yield block.columns()
            block = Block(with_status=with_status)
    yield block.columns()
    return account.summary()


def _found(tree: Tree, wanted: Wanted, most_depth: int, with_status: bool) -> Iterator[tuple[Directory, Portion]]:
    """Give what is wanted of a tree, some entries of one directory at a time; of many directories that is nothing."""
    account = tree.account
    waiting = Waiting(account, most_depth)
    looks = with_status or wanted.needs_status
    for directory in directories(tree, waiting):
        for some in _listed_by_many(tree, directory):
            if tree.is_over:
                return
            account.seen += len(some)
            portion = Portion.of(some if directory.is_free else _permitted(tree, directory, some))
            if DIRECTORY in portion.kinds:
                for place, kind in enumerate(portion.kinds):
                    if kind == DIRECTORY:
                        waiting.add(directory, portion.entries[place].name)
            if looks:
                portion = portion.looked_at(directory.shown, account)
            yield directory, portion if wanted.is_all else portion.wanted(wanted, directory)


def _listed_by_many(tree: Tree, directory: Directory) -> Iterator[list[os.DirEntry[str]]]:
    """Give what ``listed`` does, up to ``ROWS`` at a time."""
    some: list[os.DirEntry[str]] = []
    try:
        with os.scandir(directory.fd) as entries:
            some.extend(islice(entries, ROWS))
            while len(some) == ROWS:
                yield some
                some = []
                some.extend(islice(entries, ROWS))
    except OSError as error:  # what was read before it is given all the same
        tree.account.fail(directory.shown, error)
    if some:
        yield some


def _permitted(tree: Tree, directory: Directory, some: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    permitted = [entry for entry in some if tree.permits(directory.real + entry.name)]
    tree.account.denied += len(some) - len(permitted)
    return permitted


class Portion(NamedTuple):
    """Some entries of one directory, and what is known of each, in step: a map for each of them would take longer."""

    entries: list[os.DirEntry[str]]
    kinds: bytes  # places in KINDS
    statuses: list[os.stat_result]  # empty unless they were looked at

    @classmethod
    def of(cls, entries: list[os.DirEntry[str]]) -> Portion:
        """Return entries that were not looked at."""
        kinds = bytes([FILE if entry.is_file(follow_symlinks=False) else _place_of(entry) for entry in entries])
        return cls(entries, kinds, [])

    def looked_at(self, shown: str, account: Account) -> Portion:
        """Look at each; those that are gone meanwhile or cannot be looked at are left out."""
        found = [status_of(entry, shown, account) for entry in self.entries]
        statuses = [status for status in found if status is not None]
        if len(statuses) == len(found):
            return Portion(self.entries, self.kinds, statuses)
        there = self.take(place for place, status in enumerate(found) if status is not None)
        return Portion(there.entries, there.kinds, statuses)

    def wanted(self, wanted: Wanted, directory: Directory) -> Portion:
        """Return those that are wanted."""
        statuses: Iterable[os.stat_result | None] = self.statuses or repeat(None)
        rows = zip(self.entries, self.kinds, statuses, strict=False)
        return self.take([
            place for place, (entry, kind, status) in enumerate(rows)
            if wanted.admits(directory, entry.name, KINDS[kind], status)
        ])  # fmt: skip

    def take(self, places: Iterable[int]) -> Portion:
        """Return those at some places."""
        chosen = list(places)
        return Portion(
            [self.entries[place] for place in chosen], bytes([self.kinds[place] for place in chosen]),
            [self.statuses[place] for place in chosen] if self.statuses else [],
        )  # fmt: skip


class Block:
    """Portions of some directories on their way to a script as one block of rows: most directories hold little.

    Args:
        with_status: Whether sizes and times are told.
    """

    def __init__(self, *, with_status: bool) -> None:
        self._with_status = with_status
        self._until_s = time.monotonic() + BLOCK_S
        self._names: list[str] = []
        self._kinds = bytearray()
        self._statuses: list[os.stat_result] = []
        self._places = bytearray()  # of each row, that of its directory
        self._directories: list[str] = []
        self._depths: list[int] = []
        self._looked = 0  # portions, also those that nothing is given of

    @property
    def is_due(self) -> bool:
        """Whether it is to be given: it is full, or whoever waits for it has waited long enough."""
        is_full = len(self._names) >= ROWS or len(self._directories) >= MAX_PLACES
        return is_full or self._looked >= MAX_PLACES or time.monotonic() >= self._until_s

    def add(self, directory: Directory, some: Portion) -> None:
        """Add what is given of one directory."""
        self._looked += 1
        if not some.entries:
            return
        self._places += bytes([len(self._directories)]) * len(some.entries)
        self._directories.append(directory.shown)
        self._depths.append(directory.place.depth)
        self._names += [entry.name for entry in some.entries]
        self._kinds += some.kinds
        if self._with_status:
            self._statuses += some.statuses

    def columns(self) -> Columns:
        """Return it as rows for scripts."""
        made, places = Columns(len(self._names)), bytes(self._places)
        made.texts("name", self._names)
        made.below("path", "name", places, self._directories)
        made.words("type", bytes(self._kinds), KINDS)
        made.words("depth", places, self._depths)
        if self._with_status:
            made.integers("size", [status.st_size for status in self._statuses])
            made.reals("mtime", [status.st_mtime for status in self._statuses])
        return made


def _place_of(entry: os.DirEntry[str]) -> int:
    return KINDS.index(kind_of(entry))


def directories(tree: Tree, waiting: Waiting) -> Iterator[Directory]:
    """Give every directory that is to be entered, open until the next is asked for."""
    for place in waiting:
        if tree.is_over:
            return
        directory = tree.enter(place)
        if directory is None:
            continue
        try:
            yield directory
        finally:
            os.close(directory.fd)


@call(
    "fs.glob",
    tier=Tier.OBSERVE,
    below=True,
    lua='for found in fs.glob({"etc/host*", "etc/default/*"}) do print(found.path, found.size) end',
    python='for found in fs.glob(["etc/host*", "etc/default/*"]):\n    print(found["path"], found["size"])',
)
def glob(
    permit: Permit,
    patterns: Annotated[list[str], Length(1024)],
    root: Target = WHOLE,
    one_fs: bool = False,
    limit: Annotated[int, Bounds(1, MAX_ENTRIES)] = 100_000,
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    """Give what fits one of ``patterns`` on the path below ``root``, as ``fs.walk`` does, each once.

    ``*``, ``?`` and ``[...]`` stay within one name and fit a dot too; ``**`` between slashes stands for any
    directories. Only directories below which something may fit are entered, and no link is followed. At most 64
    patterns. The summary is that of ``fs.walk``.
    """
    if not 0 < len(patterns) <= MAX_PATTERNS:
        raise ArgumentError(f"patterns: must be 1 to {MAX_PATTERNS} patterns", parameter="patterns")
    require_directory(root)
    return _glob(Tree(root, permit, one_fs=one_fs), [Glob.parse(text, "patterns") for text in patterns], int(limit))


def _glob(tree: Tree, globs: list[Glob], limit: int) -> Generator[Rows, None, dict[str, Any]]:
    account, given = tree.account, 0
    rows: Rows = []
    waiting = Waiting(account, MAX_DEPTH)
    states = {"": [one.start for one in globs]}  # of each directory that waits
    for directory in directories(tree, waiting):
        here = states.pop(directory.place.relative)
        for entry in listed(tree, directory):
            account.seen += 1
            if account.seen % LOOKED_AT == 0:
                if tree.is_over:
                    return account.summary()
                yield rows
                rows = []
            name = entry.name
            after = [one.after(state, name) for one, state in zip(globs, here, strict=True)]
            if not any(after):
                continue
            if not directory.is_free and not tree.permits(directory.real + name):
                account.denied += 1
                continue
            kind = kind_of(entry)
            if kind == "directory" and any(one.goes_on(state) for one, state in zip(globs, after, strict=True)):
                waiting.add(directory, name)
                states[directory.below(name).relative] = after
            if not any(one.is_fit(state) for one, state in zip(globs, after, strict=True)):
                continue
            status = status_of(entry, directory.shown, account)
            if status is None:
                continue
            if given >= limit:
                account.truncated = True
                yield rows
                return account.summary()
            given += 1
            rows.append({
                "path": directory.shown + name, "name": name, "type": kind, "depth": directory.place.depth,
                "size": status.st_size, "mtime": status.st_mtime,
            })  # fmt: skip
    yield rows
    return account.summary()


@call(
    "fs.largest",
    tier=Tier.OBSERVE,
    below=True,
    lua='local files = fs.largest("/etc/default", {limit = 3})',
    python='files = fs.largest("/etc/default", limit=3)',
)
def largest(
    permit: Permit,
    root: Target,
    limit: Annotated[int, Bounds(1, MAX_LARGEST)] = 20,
    min_size: Size = 1,
    one_fs: bool = True,
) -> dict[str, Any]:
    """Return the largest files below a directory: ``files``, each ``path`` and ``size`` (bytes), the largest first.

    Beside them stands what the summary of ``fs.walk`` has: ``seen``, ``truncated``, ``denied``, ``deeper``, ``failed``
    and ``errors``. No link is followed, and no other file system is entered unless ``one_fs`` is false.
    """
    require_directory(root)
    tree = Tree(root, permit, one_fs=one_fs)
    found: list[tuple[int, str]] = []
    for directory, some in _found(tree, Wanted(None, "file", int(min_size), None), MAX_DEPTH, with_status=True):
        for entry, status in zip(some.entries, some.statuses, strict=True):
            heapq.heappush(found, (status.st_size, directory.shown + entry.name))
            if len(found) > limit:
                heapq.heappop(found)
        if tree.account.seen > MAX_ENTRIES:
            tree.account.truncated = True
            break
    ordered = sorted(found, key=lambda item: (-item[0], item[1]))
    return {"files": [{"path": path, "size": size} for size, path in ordered], **tree.account.summary()}
