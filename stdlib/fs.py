"""``fs.*``: what stands about files: their metadata, directories and file systems.

As everywhere in this family, the decision is made on what was opened, and the work is done on that descriptor. What is
inside files is read in ``fs_content`` and its kin; trees are walked in ``fs_walk`` and ``fs_usage``.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Any, Literal

from protocol.errors import ArgumentError, DeadlineError
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Bounds
from stdlib.paths import Target, failure

MAX_ENTRIES = 10_000  # of one listing
LISTED_AT_ONCE = 10_000  # entries that are read of a directory before it is asked whether somebody still waits
MAX_NAMES = 1024  # that are remembered, of users and of groups
_TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "character", stat.S_IFBLK: "block",
}  # fmt: skip


def described(status: os.stat_result, *, is_at_once: bool = False) -> dict[str, Any]:
    """Return what ``fs.stat`` says of a file.

    Args:
        status: Of it.
        is_at_once: Whether to raise ``BlockingIOError`` where the name of its owner or group would have to be looked
            up: a directory service may be asked for that.
    """
    return {
        "type": _TYPES.get(stat.S_IFMT(status.st_mode), "unknown"), "size": status.st_size,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}", "uid": status.st_uid, "gid": status.st_gid,
        "owner": _USERS.of(status.st_uid, is_at_once), "group": _GROUPS.of(status.st_gid, is_at_once),
        "atime": status.st_atime, "mtime": status.st_mtime, "ctime": status.st_ctime, "inode": status.st_ino,
        "nlink": status.st_nlink,
    }  # fmt: skip


def _described_last(path: Target) -> dict[str, Any] | None:
    found = path.last_status()
    return None if found is None else described(found, is_at_once=path.held is not None)


class _Names:
    """The names of numbers, each looked up once."""

    def __init__(self, look_up: Callable[[int], str]) -> None:
        self._look_up = look_up
        self._known: dict[int, str | None] = {}

    def of(self, number: int, is_at_once: bool) -> str | None:
        """Return the name; None if there is none."""
        try:
            return self._known[number]
        except KeyError:
            if is_at_once:
                raise BlockingIOError from None
        try:
            name: str | None = self._look_up(number)
        except KeyError:
            name = None
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[number] = name
        return name


_USERS = _Names(lambda uid: pwd.getpwuid(uid).pw_name)
_GROUPS = _Names(lambda gid: grp.getgrgid(gid).gr_name)


@call(
    "fs.stat",
    tier=Tier.OBSERVE,
    at_once=True,
    lua='local found = fs.stat("/etc/hostname")',
    python='found = fs.stat("/etc/hostname")',
)
def status(path: Target) -> dict[str, Any] | None:
    """Return what ``path`` is, following symlinks, or nothing if there is nothing.

    ``type``, ``size`` (bytes), ``mode`` (octal text), ``uid``, ``gid``, ``owner``, ``group``, ``atime``, ``mtime``,
    ``ctime`` (seconds since 1970 UTC), ``inode``, ``nlink``.
    """
    return _described_last(path)


@call(
    "fs.lstat",
    tier=Tier.OBSERVE,
    at_once=True,
    follows=False,
    lua='local found = fs.lstat("/etc/hostname")',
    python='found = fs.lstat("/etc/hostname")',
)
def link_status(path: Target) -> dict[str, Any] | None:
    """Return what ``path`` is as :code:`fs.stat` does, but of a symlink itself."""
    return _described_last(path)


@call(
    "fs.exists",
    tier=Tier.OBSERVE,
    at_once=True,
    lua='local is_there = fs.exists("/etc/hostname")',
    python='is_there = fs.exists("/etc/hostname")',
)
def exists(path: Target) -> bool:
    """Tell whether there is something at ``path``, symlinks followed."""
    return path.exists


@call(
    "fs.access",
    tier=Tier.OBSERVE,
    lua='local may_read = fs.access("/etc/hostname", "r")',
    python='may_read = fs.access("/etc/hostname", "r")',
)
def access(path: Target, mode: Literal["r", "w", "x", "rw", "rx", "wx", "rwx"] = "r") -> bool:
    """Tell whether the agent's own user may read (r), write (w) and execute or enter (x) what is at ``path``.

    False if there is nothing. This is about the rights on the host; what policies allow is another matter.
    """
    if not path.exists:
        return False
    wanted = sum({"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}[letter] for letter in mode)
    return os.access(f"/proc/self/fd/{path.fd}", wanted, effective_ids=True)


@call(
    "fs.realpath",
    tier=Tier.OBSERVE,
    lua='local real = fs.realpath("/etc/os-release")',
    python='real = fs.realpath("/etc/os-release")',
)
def real_path(path: Target) -> str | None:
    """Return where ``path`` leads, links resolved, or nothing if there is nothing."""
    return path.real if path.exists else None


@call(
    "fs.readlink",
    tier=Tier.OBSERVE,
    follows=False,
    lua='local leads_to = fs.readlink("/proc/mounts")',
    python='leads_to = fs.readlink("/proc/mounts")',
)
def read_link(path: Target) -> str | None:
    """Return what a symlink itself says, or nothing if ``path`` is no symlink."""
    if not path.exists or not stat.S_ISLNK(path.status().st_mode):
        return None
    try:
        return os.readlink("", dir_fd=path.fd)  # of the very link that was opened; readlinkat(2)
    except OSError as error:
        raise failure(error, path.asked) from None


@call(
    "fs.list",
    tier=Tier.OBSERVE,
    lua='local entries = fs.list("/etc", {limit = 10})',
    python='entries = fs.list("/etc", limit=10)',
)
def entries(
    permit: Permit,
    path: Target,
    offset: Annotated[int, Bounds(0, 1_000_000)] = 0,
    limit: Annotated[int, Bounds(1, MAX_ENTRIES)] = 1000,
    hidden: bool = True,
) -> dict[str, Any]:
    """Return ``{entries, more}``: what is in a directory, sorted by ``name``, each with its ``type``."""
    if not stat.S_ISDIR(path.status().st_mode):
        raise ArgumentError(f"path: {path.asked} is not a directory", parameter="path")
    first, last = int(offset), int(offset) + int(limit)
    with path.opened(os.O_RDONLY | os.O_DIRECTORY) as fd, os.scandir(fd) as found:
        named = ((entry.name, _entry_type(entry)) for entry in found if hidden or not entry.name.startswith("."))
        rows = _first(named, last + 1, permit, path.asked)
    return {"entries": [{"name": name, "type": kind} for name, kind in rows[first:last]], "more": len(rows) > last}


def _first(named: Iterator[tuple[str, str]], count: int, permit: Permit, shown: str) -> list[tuple[str, str]]:
    """Return the first ``count`` in order; anybody may fill a directory with millions, which are never all held.

    Raises:
        DeadlineError: Nobody waits any more.
    """
    kept = list(islice(named, LISTED_AT_ONCE))
    while more := list(islice(named, LISTED_AT_ONCE)):
        if permit.is_over:
            raise DeadlineError(f"the list of {shown} was not finished")
        kept += more
        if len(kept) > 2 * max(count, LISTED_AT_ONCE):
            kept.sort()
            del kept[count:]
    kept.sort()
    return kept[:count]


def _entry_type(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


@call("fs.space", tier=Tier.OBSERVE, lua='local space = fs.space("/")', python='space = fs.space("/")')
def space(path: Target) -> dict[str, int]:
    """Return the space of the file system that holds ``path``.

    ``total``, ``free``, ``avail`` (to ordinary users) and ``used`` in bytes; ``files`` and ``free_files`` count inodes.
    """
    found = os.fstatvfs(path.present().fd)
    size = found.f_frsize
    return {
        "total": found.f_blocks * size, "free": found.f_bfree * size, "avail": found.f_bavail * size,
        "used": (found.f_blocks - found.f_bfree) * size, "files": found.f_files, "free_files": found.f_ffree,
    }  # fmt: skip


@call("fs.mounts", tier=Tier.OBSERVE, lua="local mounts = fs.mounts()", python="mounts = fs.mounts()")
def mounts(host: Host) -> list[dict[str, Any]]:
    """Return what is mounted: ``device``, ``dir``, ``type``, ``options`` (text) and ``read_only``."""
    return list(_mounts(host))


_OCTAL = re.compile(r"\\([0-7]{3})")


def _mounts(host: Host) -> Iterator[dict[str, Any]]:
    for line in read_kernel(host, "self/mounts").split("\n")[:-1]:  # nothing else ends one, whatever a name holds
        device, directory, kind, options, *_ = (_unescaped(word) for word in line.split(" "))
        yield {
            "device": device, "dir": directory, "type": kind, "options": options,
            "read_only": "ro" in options.split(","),
        }  # fmt: skip


def _unescaped(word: str) -> str:
    """Undo what the kernel escapes (fs/proc_namespace.c, mangle): some characters as three octal digits."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)
