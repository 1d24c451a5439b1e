"""Whole folders, both ways: links stay links and are not followed, special files are named and left out.

What fails is told and the rest goes on, but for a way to the host that stays broken: that ends the copy.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cli.files.download import Downloads
from cli.files.local import Tree, check_below, local_failure
from cli.files.patience import BROKEN
from cli.files.place import Remote
from cli.files.report import Report
from cli.files.upload import Uploads
from cli.sessions import RemoteSession
from cli.wire import name_of, shown
from protocol.errors import ArgumentError, ConflictError, OutriderError, TooLargeError

MAX_ENTRIES = 1_000_000  # of one folder; about 200 MB of names here


@dataclass(frozen=True, slots=True)
class Entry:
    """Something below a folder of a host."""

    relative: str
    kind: str
    size: int


def walked(session: RemoteSession, root: Remote, report: Report) -> list[Entry]:
    """Return what lies below a folder, each directory before what is in it. What was left out is told."""
    found: list[Entry] = []
    prefix = root.path.rstrip("/") + "/"
    for item in session.stream("fs.walk", root=root.path, limit=MAX_ENTRIES):
        if "path" not in item:
            _tell_summary(item, root, report)
            break
        if len(found) >= MAX_ENTRIES:  # what was asked for is bounded by a host that goes on and on only here
            raise TooLargeError(f"{root}: the host lists more than the {MAX_ENTRIES:,} entries that it was asked for")
        path = name_of(item["path"])
        try:
            if not path.startswith(prefix):
                raise ArgumentError(f"the host gave the name {shown(path)!r:.200}, which does not lie below")
            check_below(path.removeprefix(prefix))
        except ArgumentError as error:
            report.fail(str(root), error)
            continue
        found.append(Entry(path.removeprefix(prefix), str(item.get("type")), _size(item.get("size"))))
    return found


def _size(told: Any) -> int:
    return told if isinstance(told, int) and told >= 0 else 0


def _tell_summary(summary: dict[str, Any], root: Remote, report: Report) -> None:
    for failure in summary.get("errors") or ():
        report.fail(str(root), OutriderError(str(failure.get("message"))))
    if summary.get("denied"):
        report.fail(str(root), OutriderError(f"{summary['denied']} entries may not be listed at this tier"))
    if summary.get("truncated") or summary.get("deeper"):
        report.fail(str(root), OutriderError("it holds more, or deeper, than can be copied at once"))


def download_tree(
    session: RemoteSession, downloads: Downloads, root: Remote, place: str, report: Report, *, keeps: bool
) -> None:
    """Copy a folder of a host to ``place``, which is made."""
    tree = Tree(place)
    try:
        links: list[Entry] = []
        for entry in walked(session, root, report):
            source = root.below(entry.relative)
            try:
                if entry.kind == "directory":
                    tree.directory(entry.relative)
                elif entry.kind == "file":
                    with tree.parent(entry.relative) as (fd, name):
                        got = downloads.into(source.path, fd, name, str(source), keeps=keeps)
                    report.copied(str(source), os.path.join(place, entry.relative), got.bytes)
                elif entry.kind == "symlink":
                    links.append(entry)
                else:
                    report.leave_out(str(source), "it is a special file")
            except BROKEN:
                raise
            except OutriderError as error:
                report.fail(str(source), error)
        # Last, so that not even a name of the host's own could lead through one.
        for entry in links:
            _download_link(session, tree, root.below(entry.relative), entry.relative, report)
    finally:
        tree.close()


def _download_link(session: RemoteSession, tree: Tree, source: Remote, relative: str, report: Report) -> None:
    try:
        text = session.call("fs.readlink", path=source.path)
        if text is not None:
            tree.link(relative, name_of(text))
            report.copied(str(source), os.path.join(tree.path, relative), 0, link=shown(name_of(text)))
    except BROKEN:
        raise
    except OutriderError as error:
        report.fail(str(source), error)


def upload_tree(
    session: RemoteSession, uploads: Uploads, place: str, root: Remote, report: Report, *, keeps: bool
) -> None:
    """Copy a folder here to a place on a host, which is made."""
    try:
        is_new = bool(session.call("fs.mkdir", path=root.path))
    except ConflictError as error:
        report.fail(place, error)
        return
    fresh = {""} if is_new else set()  # directories that were not there, so that nothing in them has to be looked at
    for relative, entry in _below(place, report):
        source, target = os.path.join(place, relative), root.below(relative)
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                bits = f"{stat.S_IMODE(mode) & 0o777:04o}"
                if session.call("fs.mkdir", path=target.path, mode=bits):
                    fresh.add(relative)
            elif stat.S_ISLNK(mode):
                _upload_link(session, source, target, report)
            elif stat.S_ISREG(mode):
                is_fresh = os.path.dirname(relative) in fresh
                upload_file(session, uploads, source, target, report, keeps=keeps, is_new=is_fresh)
            else:
                report.leave_out(source, "it is a special file")
        except BROKEN:
            raise
        except OutriderError as error:
            report.fail(source, error)
        except OSError as error:
            report.fail(source, local_failure(error, source))


def upload_file(
    session: RemoteSession, uploads: Uploads, source: str, target: Remote, report: Report, *, keeps: bool,
    is_new: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Copy one regular file to a host; what is there keeps its mode, unless ``keeps`` is to keep that of the source.

    Raises:
        OutriderError: It was not copied.
    """
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise local_failure(error, source) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ArgumentError(f"{shown(source)} is not a regular file")
        is_new = is_new or not session.call("fs.exists", path=target.path)
        mode = status.st_mode & 0o777 if keeps or is_new else None
        done = uploads.send(fd, target.path, source, mode=mode)
        if keeps:
            session.call("fs.utime", path=target.path, atime=status.st_atime, mtime=status.st_mtime)
    finally:
        os.close(fd)
    report.copied(source, str(target), status.st_size, journal=done.get("journal"))
    return done


def _upload_link(session: RemoteSession, source: str, target: Remote, report: Report) -> None:
    text = os.readlink(source)
    try:
        session.call("fs.symlink", target=text, path=target.path)
    except ConflictError:
        there = session.call("fs.readlink", path=target.path)
        if there is None or name_of(there) != text:
            raise
    report.copied(source, str(target), 0, link=shown(text))


def _below(place: str, report: Report) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what lies below a folder here, each directory before what is in it; nothing is followed."""
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        try:
            with os.scandir(os.path.join(place, relative)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            report.fail(os.path.join(place, relative), local_failure(error, os.path.join(place, relative)))
            continue
        for entry in entries:
            below = os.path.join(relative, entry.name) if relative else entry.name
            yield below, entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(below)
