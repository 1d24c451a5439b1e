"""``fs.*`` that make, move and remove entries of directories, and change what is said about files."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Annotated, Any

from kernel.files import RENAME_NOREPLACE, rename_at
from policies.model import Facts
from protocol.errors import (
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    OutriderError,
    TooLargeError,
)
from protocol.limits import MAX_PATH_BYTES
from protocol.tiers import Tier
from stdlib.catalogue import Permit, call
from stdlib.host import Host
from stdlib.journal import MAX_ENTRY_BYTES
from stdlib.parameters import Bounds, FileMode, Length
from stdlib.paths import Target, failure, resolve
from stdlib.places import Place
from stdlib.replacing import hash_of, pieces_of

MAX_DEPTH = 100  # of what is removed with all below it; each level holds a descriptor
MAX_GROWTH = 1000  # entries that come while a directory is removed
MAX_ID = (1 << 32) - 2  # the last number stands for "leave it" (chown(2))
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@call("fs.mkdir", tier=Tier.OPERATE, changes=True, lua='local made = fs.mkdir("/tmp/new/deep", {parents = true})',
      python='made = fs.mkdir("/tmp/new/deep", parents=True)')  # fmt: skip
def mkdir(permit: Permit, path: Target, parents: bool = False, mode: FileMode | None = None) -> bool:
    """Make a directory (mode 0755), with those above it if ``parents``; return whether it was not there."""
    if path.exists:
        if not stat.S_ISDIR(path.status().st_mode):
            raise ConflictError(f"{path.asked} is there and no directory")
        return False
    bits = 0o755 if mode is None else mode
    base, names = _missing_part(path)
    if len(names) > 1 and not parents:
        raise NotFoundError(f"the directory of {path.asked} does not exist")
    if any(name in ("", ".", "..") for name in names):
        raise ArgumentError(f"path: {path.asked} has an empty, . or .. part below what exists", parameter="path")
    with resolve(base, follow=False) as top:
        holds = os.dup(top.present().fd)
    real = base.rstrip("/")
    try:
        for name in names:
            real = f"{real}/{name}"
            permit.require(Facts(path=real))
            try:
                os.mkdir(name, bits, dir_fd=holds)
                below = os.open(name, _DIRECTORY, dir_fd=holds)
            except OSError as error:
                raise failure(error, path.asked) from None
            os.close(holds)
            holds = below
            os.fchmod(holds, bits)  # whatever the agent's umask is
    finally:
        os.close(holds)
    return True


def _missing_part(path: Target) -> tuple[str, list[str]]:
    """Return the deepest directory that exists, and the names that are missing below it."""
    names: list[str] = []
    base = path.real
    while True:
        with resolve(base, follow=False) as found:
            if found.exists:
                return found.real, names[::-1]
        base, _, name = base.rpartition("/")
        base = base or "/"
        names.append(name)


@call("fs.rename", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.rename("/tmp/one", "/tmp/two", {overwrite = true})',
      python='fs.write("/tmp/one", "1")\nfs.rename("/tmp/one", "/tmp/two", overwrite=True)')  # fmt: skip
def rename(permit: Permit, source: Place, path: Place, overwrite: bool = False) -> None:
    """Move an entry, itself and not what it leads to, within one file system. Both places are decided on.

    A directory moves only if all below it is permitted at both places. ``overwrite`` is for files and links.
    """
    status = source.present()
    if stat.S_ISDIR(status.st_mode) and not (permit.below(source.real) and permit.below(path.real)):
        raise DeniedError(f"not everything below {source.asked} may be moved", rule="all below a directory")
    try:
        flags = 0 if overwrite else RENAME_NOREPLACE
        rename_at(source.held().directory, source.name, path.held().directory, path.name, flags)
    except FileExistsError:
        raise ConflictError(f"{path.asked} is there already") from None
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOTEMPTY, errno.EISDIR):
            raise ConflictError(f"{source.asked} cannot be moved to {path.asked}: {error.strerror}") from None
        raise failure(error, path.asked) from None
    path.sync()
    source.sync()


@call("fs.symlink", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.symlink("one", "/tmp/link")')  # fmt: skip
def symlink(target: Annotated[str, Length(MAX_PATH_BYTES - 1)], path: Place) -> None:
    """Make a symlink at ``path`` with the text ``target``; a ``conflict`` error if something is there."""
    if not target:
        raise ArgumentError("target: is empty", parameter="target")
    try:
        os.symlink(target, path.name, dir_fd=path.held().directory)
    except FileExistsError:
        raise ConflictError(f"{path.asked} is there already") from None
    except OSError as error:
        raise failure(error, path.asked) from None


@call("fs.link", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.link("/tmp/one", "/tmp/same")')  # fmt: skip
def link(source: Place, path: Place) -> None:
    """Make a hard link at ``path`` to the regular file ``source``; both places are decided on."""
    source.present()
    source.regular()
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

    Only regular files of at most 16 MiB with one name can be brought back.
    """
    status = path.status()
    if status is None:
        return {"existed": False, "journal": None}
    if stat.S_ISDIR(status.st_mode):
        raise ArgumentError(f"path: {path.asked} is a directory", parameter="path")
    journal = None
    if host.journal is not None and stat.S_ISREG(status.st_mode) and status.st_size <= MAX_ENTRY_BYTES:
        with path.opened(os.O_RDONLY) as fd:
            entry = host.journal.make(path.real, "fs.unlink", status, hash_of(fd), None)
            journal = host.journal.begin(entry, pieces_of(fd))
    try:
        os.unlink(path.name, dir_fd=path.directory)
    except FileNotFoundError:
        return {"existed": False, "journal": None}
    except OSError as error:
        raise failure(error, path.asked) from None
    return {"existed": True, "journal": journal}


@call("fs.rmdir", tier=Tier.OPERATE, changes=True, follows=False,
      lua='fs.mkdir("/tmp/empty")\nlocal existed = fs.rmdir("/tmp/empty")',
      python='fs.mkdir("/tmp/empty")\nexisted = fs.rmdir("/tmp/empty")')  # fmt: skip
def rmdir(path: Place) -> bool:
    """Remove an empty directory; return whether there was one."""
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
def chmod(path: Target, mode: FileMode) -> str:
    """Set the permission bits; return those before, as octal text. Setuid and setgid are given to nobody."""
    before = path.present().status().st_mode
    if stat.S_ISLNK(before):
        raise ArgumentError(f"path: {path.asked} is a symlink", parameter="path")
    try:
        os.chmod(f"/proc/self/fd/{path.fd}", mode)
    except OSError as error:
        raise failure(error, path.asked) from None
    return f"{stat.S_IMODE(before):04o}"


_Seconds = Annotated[float, Bounds(-(10**10), 10**10, "seconds since 1970 UTC")]


@call("fs.utime", tier=Tier.OPERATE, changes=True,
      lua='fs.write("/tmp/one", "1")\nfs.utime("/tmp/one", 0, 1700000000)')  # fmt: skip
def utime(path: Target, atime: _Seconds, mtime: _Seconds) -> None:
    """Set when a file was last read and last changed, as it says of itself."""
    path.present()
    try:
        os.utime(f"/proc/self/fd/{path.fd}", ns=(int(atime * 1e9), int(mtime * 1e9)))
    except OSError as error:
        raise failure(error, path.asked) from None


@call("fs.chown", tier=Tier.ADMIN, changes=True, follows=False,
      lua='fs.write("/tmp/one", "1")\nfs.chown("/tmp/one", 0, 0)')  # fmt: skip
def chown(
    path: Place, uid: Annotated[int, Bounds(0, MAX_ID)], gid: Annotated[int, Bounds(0, MAX_ID)]
) -> dict[str, int]:
    """Give an entry, itself and not what it leads to, to a user and a group; return the ``uid`` and ``gid`` before."""
    before = path.present()
    try:
        os.chown(path.name, int(uid), int(gid), dir_fd=path.directory, follow_symlinks=False)
    except OSError as error:
        raise failure(error, path.asked) from None
    return {"uid": before.st_uid, "gid": before.st_gid}


@dataclass(slots=True)
class _Removal:
    """Removes a directory with all below it: counts and decides first, so that it removes all or nothing."""

    permit: Permit
    device: int
    most: int
    seen: int = 0

    def count(self, parent: int, name: str, real: str, depth: int) -> None:
        """Look at everything below; raise if there is too much, too deep, on another file system or not permitted."""
        is_all = self.permit.below(real)
        with _Opened(parent, name, real, self.device) as fd:
            for entry in _entries(fd):
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

    def remove(self, parent: int, name: str, real: str, depth: int) -> None:
        """Remove it. What came since the count is removed only within the same bounds."""
        with _Opened(parent, name, real, self.device) as fd:
            for entry in _entries(fd):
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


def _entries(fd: int) -> list[os.DirEntry[str]]:
    with os.scandir(fd) as found:
        return list(found)


class _Opened:
    """A directory below a held one, never through a link and never on another file system."""

    def __init__(self, parent: int, name: str, real: str, device: int) -> None:
        self._fd = os.open(name, _DIRECTORY, dir_fd=parent)
        if os.fstat(self._fd).st_dev != device:
            os.close(self._fd)
            raise ConflictError(f"{real} is on another file system")

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


@call("fs.remove", tier=Tier.ADMIN, changes=True, follows=False,
      lua='fs.mkdir("/tmp/old/deep", {parents = true})\n'
      'local removed = fs.remove("/tmp/old", {recursive = true, max_entries = 100})',
      python='fs.mkdir("/tmp/old/deep", parents=True)\n'
      'removed = fs.remove("/tmp/old", recursive=True, max_entries=100)')  # fmt: skip
def remove(
    permit: Permit, path: Place, recursive: bool = False,
    max_entries: Annotated[int, Bounds(1, 1_000_000, "entries")] = 10_000,
) -> int:  # fmt: skip
    """Remove a file, a link or an empty directory; with ``recursive`` a directory with all below it.

    Links are removed and not followed, other file systems not entered. What is below is counted and decided on first;
    over ``max_entries``, or if one of them is denied, nothing is removed. Returns how many entries were removed.
    """
    status = path.status()
    if status is None:
        return 0
    try:
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path.name, dir_fd=path.directory)
            return 1
        if not recursive:
            os.rmdir(path.name, dir_fd=path.directory)
            return 1
        removal = _Removal(permit, status.st_dev, int(max_entries))
        removal.count(path.directory, path.name, path.real, 0)
        count = removal.seen
        removal.remove(path.directory, path.name, path.real, 0)
        return count + 1
    except OutriderError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ConflictError(f"{path.asked} is not empty") from None
        raise failure(error, path.asked) from None
