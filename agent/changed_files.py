"""Which files change on this host, and by whom: whole filesystems, as far as the kernel tells of them.

Only what a local filesystem tells is heard; which ones are not is said, so that nobody takes silence for stillness.
Paths are looked up when an event is read, so a folder that was renamed meanwhile shows its new name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from kernel import fanotify

MAX_READS: Final = 4  # of kernel/fanotify.READ_BYTES in one look: what is more waits, and is lost if it is too much
MAX_PATH_CHARACTERS: Final = 1_000  # told
_LOCAL: Final = frozenset({
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay", "ramfs", "rootfs", "tmpfs",
    "vfat", "xfs", "zfs",
})  # fmt: skip  # rootfs: of a machine that goes on in the memory that it was started from; it tells as tmpfs does
#: Of the kernel itself: nobody keeps files there.
_NO_FILES: Final = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs",
    "tracefs",
})  # fmt: skip
_WORDS: Final = (
    (fanotify.CREATE, "created"), (fanotify.CLOSE_WRITE, "written"), (fanotify.ATTRIB, "attributes"),
    (fanotify.RENAME, "renamed"), (fanotify.DELETE, "removed"),
)  # fmt: skip
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")  # white space, a backslash, a hash
_MASK: Final = fanotify.OPEN_EXEC | fanotify.ONDIR | sum(bit for bit, _ in _WORDS)


class Mount(NamedTuple):
    """One filesystem, where it is mounted."""

    path: str
    kind: str
    is_read_only: bool


def mounts(lines: Iterable[str]) -> list[Mount]:
    """Return each filesystem once, from the lines of /proc/self/mountinfo (proc_pid_mountinfo(5)); shortest path."""
    found: dict[str, Mount] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, more = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(more) < 3:
            continue
        path = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        mount = Mount(path, more[0], "ro" in more[2].strip().split(","))
        known = found.get(fields[2])
        if known is None or len(mount.path) < len(known.path):
            found[fields[2]] = mount
    return list(found.values())


class ChangedFiles:
    """Hears of changes from its making to its close.

    Raises:
        OSError: This process may not hear of any, or the kernel cannot tell.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []  # mount points of the filesystems that are heard of
        self.unseen: list[str] = []  # of those that are not, each with why
        self.descriptor = fanotify.start()
        self._mounts: dict[bytes, int] = {}  # fsid -> a descriptor on it
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                found = mounts(file)
            for mount in found:
                self._hear(mount)
            self.seen.sort()
            if not self.seen:
                raise OSError(95, "; ".join(self.unseen) or "there is no filesystem that could tell")
        except OSError:
            self.close()
            raise

    def _hear(self, mount: Mount) -> None:
        if mount.kind in _NO_FILES or mount.is_read_only:
            return
        if mount.kind not in _LOCAL:  # a network's, which may block and does not tell what others do there
            self.unseen.append(f"{mount.path}: {mount.kind}")
            return
        try:
            held = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self.unseen.append(f"{mount.path}: {error.strerror}")
            return
        try:
            number = fanotify.fsid(mount.path)
            if number in self._mounts:  # it lies under another one that is mounted over it
                os.close(held)
                return
            fanotify.mark(self.descriptor, mount.path, _MASK)
            self._mounts[number] = held
            self.seen.append(mount.path)
        except OSError as error:
            os.close(held)
            self.unseen.append(f"{mount.path}: {error.strerror}")

    def look(self, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield process and change of what waits and is wanted; the process is 0 where changes were lost.

        A change that says ``ran`` is none: the process is about to run that file.
        """
        for _ in range(MAX_READS):
            events = fanotify.read(self.descriptor)
            if not events:
                return
            folders: dict[fanotify.Entry, str] = {}  # of this batch
            for event in events:
                if event.mask & fanotify.Q_OVERFLOW:
                    yield 0, {}
                elif event.entry is not None and is_wanted(event.pid):
                    if event.mask & fanotify.OPEN_EXEC:
                        yield event.pid, {"ran": self._path(event.entry, folders)}
                    if event.mask & ~(fanotify.OPEN_EXEC | fanotify.ONDIR):
                        yield event.pid, self._told(event, event.entry, folders)

    def _told(self, event: fanotify.Event, entry: fanotify.Entry, folders: dict[fanotify.Entry, str]) -> dict[str, Any]:
        did = [word for bit, word in _WORDS if event.mask & bit]
        told: dict[str, Any] = {"did": did, "path": self._path(entry, folders)}
        if event.target is not None:
            told["to"] = self._path(event.target, folders)
        if event.mask & fanotify.ONDIR:
            told["folder"] = True
        return told

    def _path(self, entry: fanotify.Entry, folders: dict[fanotify.Entry, str]) -> str:
        key = entry._replace(name=b"")
        if key not in folders:
            folders[key] = self._folder(entry)
        name = entry.name.decode("utf-8", "backslashreplace")
        path = folders[key] if name == "." else f"{folders[key].rstrip('/')}/{name}"
        return path[:MAX_PATH_CHARACTERS]

    def _folder(self, entry: fanotify.Entry) -> str:
        mount = self._mounts.get(entry.filesystem)
        with suppress(OSError):  # it is gone
            if mount is not None:
                held = fanotify.open_directory(mount, entry.handle)
                try:
                    path = os.readlink(f"/proc/self/fd/{held}").removesuffix(" (deleted)")
                    return os.fsencode(path).decode("utf-8", "backslashreplace")
                finally:
                    os.close(held)
        return "?"

    def close(self) -> None:
        """Hear of no more."""
        os.close(self.descriptor)
        for held in self._mounts.values():
            os.close(held)
        self._mounts.clear()
