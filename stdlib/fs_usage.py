"""``fs.disk_usage``: what a whole tree takes. See ``stdlib.fs_tree`` for what holds of it as of each walk."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any

from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.fs_tree import LOOKED_AT, MAX_DEPTH, MAX_WAITING, ROWS, Place, Tree, listed, status_of, too_many
from stdlib.parameters import Bounds
from stdlib.paths import Target

MAX_LINKED = 200_000  # files with several names that are remembered, so that each counts once; about 30 MB
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own blocks are; stat(2)

Size = Annotated[int, Bounds(0, 1 << 53, "bytes")]
Rows = list[dict[str, Any]]


@dataclass(slots=True)
class _Sum:
    """A directory that is being summed up."""

    place: Place
    shown: str = ""
    size: int = 0
    inner: list[str] | None = None  # names of directories in it that are not summed yet; None before it is entered
    is_free: bool = False


@call(
    "fs.disk_usage",
    tier=Tier.OBSERVE,
    below=True,
    lua='local used = fs.disk_usage("/etc/default", {depth = 1})\n'
    "for part in used do print(part.path, part.bytes) end\nprint(used:summary().bytes)",
    python='used = fs.disk_usage("/etc/default", depth=1)\nfor part in used:\n    print(part["path"], part["bytes"])\n'
    'print(used.summary()["bytes"])',
)
def disk_usage(
    permit: Permit,
    path: Target,
    depth: Annotated[int, Bounds(0, MAX_DEPTH)] = 0,
    min_size: Size = 0,
    one_fs: bool = True,
) -> Generator[list[dict[str, Any]], None, dict[str, Any]]:
    """Sum up the space that a tree takes on its disk as ``du`` does: blocks, not lengths; a file of several names once.

    Gives each directory down to ``depth`` levels below ``path`` that takes ``min_size`` or more, as ``path``,
    ``bytes``, ``depth``, after all that it holds. The summary is that of ``fs.walk`` with ``bytes``, the whole;
    ``exists``, false if there is nothing; ``files`` and ``directories``, how many. No link is followed.
    """
    return _disk_usage(permit, path, int(depth), int(min_size), one_fs)


def _disk_usage(
    permit: Permit, path: Target, shown_depth: int, min_size: int, one_fs: bool
) -> Generator[Rows, None, dict[str, Any]]:
    tree = Tree(path, permit, one_fs=one_fs)
    counts = _Counts()
    if path.exists and modes.S_ISDIR(path.status().st_mode):
        yield from _sum_up(tree, counts, shown_depth, min_size)
    elif path.exists:
        counts.add(path.status())
    return {
        **tree.account.summary(), "bytes": counts.size, "exists": path.exists, "files": counts.files,
        "directories": counts.directories,
    }  # fmt: skip


class _Counts:
    """What a tree takes, and which of its files were counted already."""

    def __init__(self) -> None:
        self.size = self.files = self.directories = 0
        self._linked: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> int:
        """Count one object, and return what it adds."""
        if modes.S_ISDIR(status.st_mode):
            self.directories += 1
        else:
            self.files += 1
            if status.st_nlink > 1:
                key = (status.st_dev, status.st_ino)
                if key in self._linked:
                    return 0
                if len(self._linked) < MAX_LINKED:
                    self._linked.add(key)
        size = status.st_blocks * BLOCK_BYTES
        self.size += size
        return size


def _sum_up(tree: Tree, counts: _Counts, shown_depth: int, min_size: int) -> Generator[Rows, None, None]:
    """Go down and up again: the newest sum is that of the innermost directory."""
    sums = [_Sum(Place("", 1))]
    rows: Rows = []
    while sums and not tree.is_over:
        newest = sums[-1]
        if newest.inner is None:
            newest.inner = []
            yield from _sum_files(tree, counts, newest)
        elif newest.inner:
            name = newest.inner.pop()
            relative = f"{newest.place.relative}/{name}" if newest.place.relative else name
            if newest.place.depth >= MAX_DEPTH:
                tree.account.deeper += 1
            else:
                sums.append(_Sum(Place(relative, newest.place.depth + 1, newest.is_free)))
        else:
            sums.pop()
            if sums:
                sums[-1].size += newest.size
            level = newest.place.depth - 1
            if newest.shown and level <= shown_depth and newest.size >= min_size:
                rows.append({"path": newest.shown.rstrip("/") or "/", "bytes": newest.size, "depth": level})
        if len(rows) >= ROWS:
            yield rows
            rows = []
    yield rows


def _sum_files(tree: Tree, counts: _Counts, into: _Sum) -> Generator[Rows, None, None]:
    """Add a directory itself and all in it but its directories, which are left to be entered."""
    with tree.entered(into.place) as directory:
        if directory is None:
            return
        into.shown, into.is_free = directory.shown, directory.is_free
        status = os.fstat(directory.fd)
        into.size += counts.add(status)
        inner = into.inner = []
        for entry in listed(tree, directory):
            tree.account.seen += 1
            if tree.account.seen % LOOKED_AT == 0:
                yield []
            if not directory.is_free and not tree.permits(directory.real + entry.name):
                tree.account.denied += 1
            elif entry.is_dir(follow_symlinks=False):
                if len(inner) >= MAX_WAITING:
                    tree.account.fail(directory.shown + entry.name, too_many(directory.shown + entry.name))
                else:
                    inner.append(entry.name)
            elif (found := status_of(entry, directory.shown, tree.account)) is not None:
                into.size += counts.add(found)
