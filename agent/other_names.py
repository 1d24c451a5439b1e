"""By which other paths a directory can be reached: where mounts show it a second time.

A bind mount, a file system that is mounted twice, a subvolume, or an overlay that has the directory in one of its
layers shows the very same files below another path, by which a rule about their own path does not know them. The kernel
lists every mount with the part of its file system that it shows (proc_pid_mountinfo(5)), so these paths can be told.
They are told rather too often than too seldom: a path that another mount hides counts as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from agent.mount_list import MOUNTS, Mount, MountList
from protocol.errors import UnavailableError

MAX_NAMES: Final = 1000  # of one directory


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
        self._mounts = MountList(mounts)
        self._listed: list[Mount] | None = None  # of which the names are
        self._names: tuple[str, ...] = ()
        self._real: dict[str, str] = {}  # of the layers that there were; links of those are made once

    def now(self) -> tuple[str, ...]:
        """Return them; the very same value as long as nothing was mounted or unmounted.

        Raises:
            UnavailableError: They cannot be told.
        """
        listed = self._mounts.now()
        if listed is not self._listed:
            known, self._real = self._real, {}
            self._names = other_names(listed, self._directory, lambda layer: self._led_to(layer, known))
            self._listed = listed  # only now: what cannot be told is looked for again
        return self._names

    def _led_to(self, layer: str, known: dict[str, str]) -> str:
        real = self._real[layer] = known.get(layer) or os.path.realpath(layer)
        return real

    def close(self) -> None:
        """Close the list. Idempotent."""
        self._mounts.close()
