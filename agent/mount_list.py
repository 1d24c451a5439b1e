"""What is mounted on this host, as the agent sees it; read anew when the kernel tells of a change.

Source: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
import select
from typing import Final, NamedTuple

from protocol.errors import UnavailableError

MOUNTS: Final = "/proc/self/mountinfo"
MAX_BYTES: Final = 16 << 20  # of the list; 80,000 mounts
_READ_BYTES: Final = 64 << 10
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_LAYERS: Final = frozenset({"lowerdir", "upperdir", "lowerdir+", "datadir+"})  # overlayfs.rst
_COLON: Final = re.compile(r"(?<!\\):+")
_QUOTED: Final = re.compile(r"\\(.)")


class Mount(NamedTuple):
    """One mount."""

    device: str
    root: str  # the part of its file system that it shows
    point: str  # where it shows that
    kind: str  # of file system
    layers: tuple[str, ...]  # directories of which an overlay is made


def mounts_in(text: bytes) -> list[Mount]:
    """Return what /proc/self/mountinfo lists. Pure. A line that is no mount is left out."""
    found = []
    for line in text.decode("utf-8", "surrogateescape").split("\n"):  # other ends of lines stand in names as they are
        fields, _, rest = line.partition(" - ")
        words, about = fields.split(" "), rest.split(" ")
        if len(words) < 6 or len(about) < 3:
            continue
        layers = _layers(about[2]) if about[0] == "overlay" else ()
        root = _plain(words[3]).removesuffix("//deleted")
        found.append(Mount(words[2], root, _plain(words[4]), about[0], layers))
    return found


def _plain(word: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), word)


def _layers(options: str) -> tuple[str, ...]:
    """Return the layers among options, in which the kernel has written commas within a value in octal.

    One that is asked for by a key of its own is as it is there, and may have been quoted before.
    """
    found: dict[str, None] = {}
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in _LAYERS:
            layer = _plain(value)
            several = _COLON.split(layer) if key == "lowerdir" else [layer]
            found |= dict.fromkeys(_QUOTED.sub(r"\1", each) for each in several)
            found |= dict.fromkeys([] if key == "lowerdir" else several)
    return tuple(each for each in found if each)


class MountList:
    """The mounts, as they come and go.

    Args:
        path: Where they are listed.
    """

    def __init__(self, path: str = MOUNTS) -> None:
        self._path = path
        self._fd = -1  # of the list that was read, which tells of the first change since; owned
        self._poll = select.poll()
        self._mounts: list[Mount] = []

    def now(self) -> list[Mount]:
        """Return them; the very same value as long as nothing was mounted or unmounted.

        Raises:
            UnavailableError: They cannot be told.
        """
        if self._fd < 0 or self._poll.poll(0):
            self._look()
        return self._mounts

    def _look(self) -> None:
        self.close()
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be read: {os.strerror(error.errno or 0)}") from None
        try:
            text = bytearray()
            while (data := os.read(fd, _READ_BYTES)) and len(text) <= MAX_BYTES:
                text += data
            if len(text) > MAX_BYTES:
                raise UnavailableError(f"{self._path} is longer than {MAX_BYTES} bytes")
            mounts = mounts_in(bytes(text))
        except BaseException:
            os.close(fd)
            raise
        self._mounts, self._fd = mounts, fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLPRI | select.POLLERR)

    def close(self) -> None:
        """Close the list. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()
