"""By which other paths a directory can be reached: where mounts show it a second time.

A bind mount, a file system that is mounted twice, a subvolume, or an overlay that has the directory in one of its
layers shows the very same files below another path, by which a rule about their own path does not know them. The kernel
lists every mount with the part of its file system that it shows (proc_pid_mountinfo(5)), so these paths can be told.
They are told rather too often than too seldom: a path that another mount hides counts as well.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from protocol.errors import UnavailableError

MOUNTS: Final = "/proc/self/mountinfo"
MAX_BYTES: Final = 16 << 20  # of the list of mounts; 80,000 of them
MAX_NAMES: Final = 1000  # of one directory
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
        found.append(Mount(words[2], _plain(words[3]).removesuffix("//deleted"), _plain(words[4]), layers))
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


class _Spot(NamedTuple):
    """A place in a file system, whatever shows it."""

    device: str
    inside: str


def other_names(mounts: list[Mount], path: str, real: Callable[[str], str] = os.path.realpath) -> tuple[str, ...]:
    """Return the paths, beside its own, below which mounts show what lies below ``path``, or a part of it.

    Args:
        mounts: All of them.
        path: A real path.
        real: What a layer's path leads to, links resolved.

    Raises:
        UnavailableError: There are more than ``MAX_NAMES``.
    """
    at = {mount.point: mount for mount in mounts}  # of several at one place the last
    layers = [
        (mount.device, spot)
        for mount in mounts
        for layer in mount.layers
        if (spot := _spot(at, real(layer))) is not None
    ]
    names = dict.fromkeys(
        name
        for spot in _above(_below([_spot(at, path)], layers), layers)
        for mount in mounts
        if mount.device == spot.device and (name := _shown(mount, spot.inside)) is not None and name != path
    )
    if len(names) > MAX_NAMES:
        raise UnavailableError(f"mounts show {path} at more than {MAX_NAMES} places")
    return tuple(names)


_Layers = list[tuple[str, _Spot]]  # the device of an overlay, and where one of its layers lies


def _spot(at: Mapping[str, Mount], path: str) -> _Spot | None:
    """Return where a path leads: into the mount that lies nearest. None if there is none: it is not in sight."""
    point = path
    while point not in at:
        if point == "/":
            return None
        point = point.rpartition("/")[0] or "/"
    return _Spot(at[point].device, _joined(at[point].root, _rest(path, point) or ""))


def _below(first: list[_Spot | None], layers: _Layers) -> list[_Spot]:
    """Return the spots, and those in the layers of overlays where their files really lie."""
    found = [spot for spot in first if spot is not None]
    for spot in found:  # grows; an overlay is never a layer of itself
        found += [_Spot(at.device, _joined(at.inside, spot.inside)) for of, at in layers if of == spot.device]
        _check(found)
    return found


def _above(spots: list[_Spot], layers: _Layers) -> list[_Spot]:
    """Return the spots, and those of overlays that show them."""
    found = list(spots)
    for spot in found:  # grows, as above
        for overlay, layer in layers:
            if layer.device != spot.device:
                continue
            rest = _rest(spot.inside, layer.inside)
            if rest is not None:
                found.append(_Spot(overlay, rest or "/"))
            elif _rest(layer.inside, spot.inside) is not None:
                found.append(_Spot(overlay, "/"))
        _check(found)
    return found


def _check(spots: list[_Spot]) -> None:
    if len(spots) > MAX_NAMES:
        raise UnavailableError(f"overlays show one directory at more than {MAX_NAMES} places")


def _shown(mount: Mount, inside: str) -> str | None:
    """Return where a mount shows what lies at a place inside its file system; None if it shows nothing of it."""
    rest = _rest(inside, mount.root)
    if rest is not None:
        return _joined(mount.point, rest)
    return mount.point if _rest(mount.root, inside) is not None else None


def _rest(path: str, top: str) -> str | None:
    """Return what follows ``top`` in a path that is it or lies below it; None for others."""
    if top == "/":
        return path if path != "/" else ""
    if path == top:
        return ""
    return path[len(top) :] if path.startswith(top + "/") else None


def _joined(top: str, rest: str) -> str:
    return (top.rstrip("/") + rest) or "/"


class OtherNames:
    """The other paths of one directory, as mounts come and go.

    Args:
        directory: Its real path.
        mounts: Where they are listed.
    """

    def __init__(self, directory: str, mounts: str = MOUNTS) -> None:
        self._directory = directory
        self._mounts = mounts
        self._fd = -1  # of the list that was read, which tells of the first change since; owned
        self._poll = select.poll()
        self._names: tuple[str, ...] = ()
        self._real: dict[str, str] = {}  # of the layers that there were; links of those are made once

    def now(self) -> tuple[str, ...]:
        """Return them; the very same value as long as nothing was mounted or unmounted.

        Raises:
            UnavailableError: They cannot be told.
        """
        if self._fd < 0 or self._poll.poll(0):
            self._look()
        return self._names

    def _look(self) -> None:
        self.close()
        try:
            fd = os.open(self._mounts, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UnavailableError(f"{self._mounts} cannot be read: {os.strerror(error.errno or 0)}") from None
        try:
            text = bytearray()
            while (data := os.read(fd, _READ_BYTES)) and len(text) <= MAX_BYTES:
                text += data
            if len(text) > MAX_BYTES:
                raise UnavailableError(f"{self._mounts} is longer than {MAX_BYTES} bytes")
            known, self._real = self._real, {}
            names = other_names(mounts_in(bytes(text)), self._directory, lambda layer: self._led_to(layer, known))
        except BaseException:
            os.close(fd)
            raise
        self._names, self._fd = names, fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLPRI | select.POLLERR)

    def _led_to(self, layer: str, known: dict[str, str]) -> str:
        real = self._real[layer] = known.get(layer) or os.path.realpath(layer)
        return real

    def close(self) -> None:
        """Close the list. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()
