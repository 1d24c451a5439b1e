"""``fs.*`` that make, move and remove entries of directories, and change what is said about files."""

from __future__ import annotations

import errno
import os
import stat
from typing import Annotated, Any

from kernel.files import RENAME_NOREPLACE, give, rename_at
from policies.model import Facts
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, OutriderError
from protocol.limits import MAX_PATH_BYTES
from protocol.tiers import Tier
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.journal import MAX_ENTRY_BYTES, NO_JOURNAL, TOO_LARGE
from stdlib.parameters import Bounds, FileMode, Form, Length
from stdlib.paths import Target, failure, resolve
from stdlib.places import Place
from stdlib.removing import DIRECTORY, Removal
from stdlib.replacing import hash_of, pieces_of
from stdlib.undoing import check_moved, keep_attributes, keep_renamed, require_movable
from stdlib.undoing_entries import (
    keep_emptied,
    keep_made,
    keep_name,
    keep_removed,
    keep_symlink,
    keep_unlinked,
    keep_which,
)

MAX_ID = (1 << 32) - 2  # the last number stands for "leave it" (chown(2))
_SOME = Form(r"(?s:.+)", "is empty")


@call("fs.mkdir", tier=Tier.OPERATE, changes=True, lua='local made = fs.mkdir("/tmp/new/deep", {parents = true})',
      python='made = fs.mkdir("/tmp/new/deep", parents=True)')  # fmt: skip
def mkdir(host: Host, permit: Permit, path: Target, parents: bool = False, mode: FileMode | None = None) -> bool:
    """Make a directory (mode 0755), with those above it if ``parents``; return whether it was not there.

    ``fs.undo`` removes those that were made and are empty; ``fs.changes`` tells the journal.
    """
    if path.exists:
        if not stat.S_ISDIR(path.status().st_mode):
            raise ConflictError(f"{path.asked} is there and no directory")
        return False
    bits = 0o755 if mode is None else mode
    holds, base, names = _missing_part(path)
    try:
        if not names:
            raise ConflictError(f"{path.asked} was made by somebody else meanwhile")
        if len(names) > 1 and not parents:
            raise NotFoundError(f"the directory of {path.asked} does not exist")
        if any(name in ("", ".", "..") for name in names):
            raise ArgumentError(f"path: {path.asked} has an empty, . or .. part below what exists", parameter="path")
        real = base.rstrip("/")
        for place in range(len(names)):
            permit.require(Facts(path=f"{real}/{'/'.join(names[: place + 1])}"))
        entry = None
        if host.journal is not None:
            entry = keep_made(host.journal, f"{real}/{'/'.join(names)}", len(names))
        made: list[os.stat_result] = []
        for name in names:
            try:
                os.mkdir(name, bits, dir_fd=holds)
                below = os.open(name, DIRECTORY, dir_fd=holds)
            except OSError as error:
                raise failure(error, path.asked) from None
            os.close(holds)
            holds = below
            os.fchmod(holds, bits)  # whatever the agent's umask is
            made.append(os.fstat(holds))
        if host.journal is not None and entry is not None:
            keep_which(host.journal, entry, made[::-1])
    finally:
        os.close(holds)
    return True


def _missing_part(path: Target) -> tuple[int, str, list[str]]:
    """Return the deepest directory that exists, open, its real path, and the names that are missing below it.

    It stays the one that is decided on: by its path, somebody could have put another one in its place by then.
    """
    names: list[str] = []
    base = path.real
    while True:
        with resolve(base, follow=False) as found:
            if found.exists:
                return os.dup(found.fd), found.real, names[::-1]
        base, _, name = base.rpartition("/")
        base = base or "/"
        names.append(name)


@call("fs.rename", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.rename("/tmp/one", "/tmp/two", {overwrite = true})',
      python='fs.write("/tmp/one", "1")\nfs.rename("/tmp/one", "/tmp/two", overwrite=True)')  # fmt: skip
def rename(host: Host, permit: Permit, source: Place, path: Place, overwrite: bool = False) -> None:
    """Move an entry, itself and not what it leads to, within one file system. Both places are decided on.

    A directory moves only if all below it is permitted at both places. ``overwrite`` is for files and links.
    ``fs.undo`` moves it back, unless it took the place of something; ``fs.changes`` tells the journal.
    """
    status = source.present()
    require_movable(permit, source, path, status)
    if host.journal is not None and path.status() is None:
        keep_renamed(host.journal, source, path, status)
    elif host.journal is not None:
        host.journal.cannot(source.real, "fs.rename", "it took the place of something")
    try:
        flags = 0 if overwrite else RENAME_NOREPLACE
        rename_at(source.held().directory, source.name, path.held().directory, path.name, flags)
    except FileExistsError:
        raise ConflictError(f"{path.asked} is there already") from None
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOTEMPTY, errno.EISDIR):
            raise ConflictError(f"{source.asked} cannot be moved to {path.asked}: {error.strerror}") from None
        raise failure(error, path.asked) from None
    check_moved(permit, source, path, status)
    path.sync()
    source.sync()


@call("fs.symlink", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.symlink("one", "/tmp/link")')  # fmt: skip
def symlink(host: Host, target: Annotated[str, Length(MAX_PATH_BYTES - 1), _SOME], path: Place) -> None:
    """Make a symlink at ``path`` with the text ``target``; a ``conflict`` error if something is there.

    ``fs.undo`` removes it; ``fs.changes`` tells the journal.
    """
    if path.status() is not None:
        raise ConflictError(f"{path.asked} is there already")
    if host.journal is not None:
        keep_symlink(host.journal, path, target)
    try:
        os.symlink(target, path.name, dir_fd=path.held().directory)
    except FileExistsError:
        raise ConflictError(f"{path.asked} is there already") from None
    except OSError as error:
        raise failure(error, path.asked) from None


@call("fs.link", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.link("/tmp/one", "/tmp/same")')  # fmt: skip
def link(host: Host, source: Place, path: Place) -> None:
    """Make a hard link at ``path`` to the regular file ``source``; both places are decided on.

    ``fs.undo`` removes it, as long as the file has another name; ``fs.changes`` tells the journal.
    """
    status = source.present()
    source.regular()
    if path.status() is not None:
        raise ConflictError(f"{path.asked} is there already")
    if host.journal is not None:
        keep_name(host.journal, path, status)
    try:
        os.link(source.name, path.name, src_dir_fd=source.directory, dst_dir_fd=path.held().directory,
                follow_symlinks=False)  # fmt: skip
    except FileExistsError:
        raise ConflictError(f"{path.asked} is there already") from None
    except OSError as error:
        raise failure(error, path.asked) from None
    made = path.present()
    if not stat.S_ISREG(made.st_mode):  # a link was swapped in between the look and the deed
        os.unlink(path.name, dir_fd=path.directory)
        raise ConflictError(f"{source.asked} was replaced meanwhile")


@call("fs.unlink", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nlocal done = fs.unlink("/tmp/one")',
      python='fs.write("/tmp/one", "1")\ndone = fs.unlink("/tmp/one")')  # fmt: skip
def unlink(host: Host, path: Place) -> dict[str, Any]:
    """Remove a file or a link, itself and not what it leads to. Returns ``existed`` and, for ``fs.undo``, ``journal``.

    Links and regular files of at most 16 MiB can be brought back; of other things ``no_undo`` says why not. What had
    other names comes back as a file of its own.
    """
    status = path.status()
    if status is None:
        return {"existed": False, "journal": None, "no_undo": "there was nothing"}
    if stat.S_ISDIR(status.st_mode):
        raise ArgumentError(f"path: {path.asked} is a directory", parameter="path")
    journal, why = _kept("fs.unlink", host, path, status)
    try:
        os.unlink(path.name, dir_fd=path.directory)
    except FileNotFoundError:
        return {"existed": False, "journal": None, "no_undo": "there was nothing"}
    except OSError as error:
        raise failure(error, path.asked) from None
    return {"existed": True, "journal": journal, "no_undo": why}


def _kept(call: str, host: Host, path: Place, status: os.stat_result) -> tuple[str | None, str | None]:
    """Keep what is about to be removed and is no directory; return its journal, or why it cannot be brought back."""
    if host.journal is None:
        return None, NO_JOURNAL
    if stat.S_ISLNK(status.st_mode):
        return keep_unlinked(host.journal, call, path, status), None
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ENTRY_BYTES:
        why = TOO_LARGE if stat.S_ISREG(status.st_mode) else "it was neither a file nor a link"
        host.journal.cannot(path.real, call, why)
        return None, why
    with path.opened(os.O_RDONLY) as fd:
        entry = host.journal.make(path.real, call, status, hash_of(fd, MAX_ENTRY_BYTES), None)
        return host.journal.begin(entry, pieces_of(fd, MAX_ENTRY_BYTES)), None


@call("fs.rmdir", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.mkdir("/tmp/empty")\nlocal existed = fs.rmdir("/tmp/empty")',
      python='fs.mkdir("/tmp/empty")\nexisted = fs.rmdir("/tmp/empty")')  # fmt: skip
def rmdir(host: Host, path: Place) -> bool:
    """Remove an empty directory; return whether there was one.

    ``fs.undo`` makes it anew; ``fs.changes`` tells the journal.
    """
    status = path.status()
    if status is None:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise ArgumentError(f"path: {path.asked} is not a directory", parameter="path")
    if host.journal is not None:
        keep_emptied(host.journal, "fs.rmdir", path, status)
    try:
        os.rmdir(path.name, dir_fd=path.held().directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ConflictError(f"{path.asked} is not empty") from None
        if error.errno == errno.ENOTDIR:
            raise ArgumentError(f"path: {path.asked} is not a directory", parameter="path") from None
        raise failure(error, path.asked) from None
    return True


@call("fs.chmod", tier=Tier.OPERATE, changes=True,
      lua='fs.write("/tmp/one", "1")\nfs.chmod("/tmp/one", "0600")')  # fmt: skip
def chmod(host: Host, permit: Permit, path: Target, mode: FileMode) -> str:
    """Set the permission bits; return those before, as octal text. Setuid and setgid are given to nobody.

    A directory is opened for others to write only if all below it is permitted: they may put anything in its place.

    ``fs.undo`` sets those before (but not setuid and setgid); ``fs.changes`` tells the journal.
    """
    before = path.present().status().st_mode
    if stat.S_ISLNK(before):
        raise ArgumentError(f"path: {path.asked} is a symlink", parameter="path")
    if stat.S_ISDIR(before) and _opens(before, mode) and permit.below(path.real) is not True:
        raise DeniedError(
            f"not everything below {path.asked} may be changed, so it is not opened for others to write",
            rule="all below a directory",
        )
    if host.journal is not None:
        keep_attributes(host.journal, "fs.chmod", path.real, path.status(), {"mode": mode})
    try:
        os.chmod(f"/proc/self/fd/{path.fd}", mode)
    except OSError as error:
        raise failure(error, path.asked) from None
    return f"{stat.S_IMODE(before):04o}"


def _opens(before: int, mode: int) -> bool:
    """Tell whether others may change entries of a directory who might not: may write, or lost a sticky bit's bound."""
    gained = mode & ~before & (stat.S_IWGRP | stat.S_IWOTH)
    is_unbound = before & ~mode & stat.S_ISVTX and mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(gained or is_unbound)


_Seconds = Annotated[float, Bounds(-(10**10), 10**10, "seconds since 1970 UTC")]


@call("fs.utime", tier=Tier.OPERATE, changes=True,
      lua='fs.write("/tmp/one", "1")\nfs.utime("/tmp/one", 0, 1700000000)')  # fmt: skip
def utime(host: Host, path: Target, atime: _Seconds, mtime: _Seconds) -> None:
    """Set when a file was last read and last changed, as it says of itself.

    ``fs.undo`` sets what it said before, as long as nobody has read or changed it; ``fs.changes`` tells the journal.
    """
    status, times = path.status(), (int(atime * 1e9), int(mtime * 1e9))
    if host.journal is not None:
        keep_attributes(host.journal, "fs.utime", path.real, status, {"times": list(times)})
    try:
        os.utime(f"/proc/self/fd/{path.fd}", ns=times)
    except OSError as error:
        raise failure(error, path.asked) from None


@call("fs.chown", tier=Tier.ADMIN, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.chown("/tmp/one", 0, 0)')  # fmt: skip
def chown(
    host: Host, path: Place, uid: Annotated[int, Bounds(0, MAX_ID)], gid: Annotated[int, Bounds(0, MAX_ID)]
) -> dict[str, int]:
    """Give an entry, itself and not what it leads to, to a user and a group; return the ``uid`` and ``gid`` before.

    ``fs.undo`` gives it back; ``fs.changes`` tells the journal.
    """
    path.present()
    with path.opened(os.O_PATH) as fd:  # what is given is what was looked at, whatever takes its name meanwhile
        before = os.fstat(fd)
        if host.journal is not None:
            keep_attributes(host.journal, "fs.chown", path.real, before, {"owner": [int(uid), int(gid)]})
        try:
            give(fd, int(uid), int(gid))
        except OSError as error:
            raise failure(error, path.asked) from None
    return {"uid": before.st_uid, "gid": before.st_gid}


@call("fs.remove", tier=Tier.ADMIN, changes=True, follows=False, below="recursive",
      lua='fs.mkdir("/tmp/old/deep", {parents = true})\n'
      'local removed = fs.remove("/tmp/old", {recursive = true, max_entries = 100})',
      python='fs.mkdir("/tmp/old/deep", parents=True)\n'
      'removed = fs.remove("/tmp/old", recursive=True, max_entries=100)')  # fmt: skip
def remove(
    host: Host, permit: Permit, path: Place, recursive: bool = False,
    max_entries: Annotated[int, Bounds(1, 1_000_000, "entries")] = 10_000,
) -> int:  # fmt: skip
    """Remove a file, a link or an empty directory; with ``recursive`` a directory with all below it.

    Links are removed and not followed. What is below is counted and decided on first; over ``max_entries``, if one of
    them is denied, or if something is mounted there, nothing is removed. Returns how many entries were removed.

    ``fs.undo`` brings back a file, a link, and a directory with all below it, if that is at most 10,000 files,
    directories and links of 16 MiB together, without extended attributes; ``fs.changes`` tells the journal, or why
    there is none.
    """
    status = path.status()
    if status is None:
        return 0
    try:
        if not stat.S_ISDIR(status.st_mode):
            _kept("fs.remove", host, path, status)
            os.unlink(path.name, dir_fd=path.directory)
            return 1
        if not recursive:
            if host.journal is not None:
                keep_emptied(host.journal, "fs.remove", path, status)
            os.rmdir(path.name, dir_fd=path.directory)
            return 1
        removal = Removal(permit, status.st_dev, int(max_entries), host.kept)
        removal.count(path.directory, path.name, path.real, 0)
        count = removal.seen
        if host.journal is not None:
            keep_removed(host.journal, path, status, removal.check)
        removal.remove(path.directory, path.name, path.real, 0)
        return count + 1
    except OutriderError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ConflictError(f"{path.asked} is not empty") from None
        raise failure(error, path.asked) from None
