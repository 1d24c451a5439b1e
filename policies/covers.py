"""Whether one pattern of a rule covers all that another one does. Pure, and careful: what is not proved is not covered.

``/etc/**`` covers ``/etc/nginx/*.conf``; the other way round it does not. A guarded target (loopback, metadata) is
covered only by a pattern that names it too, as such a target is allowed only where it is named.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from policies.paths import PathPattern
from policies.targets import GUARDED, METADATA_NAMES, Network, TargetPattern, guards
from protocol.errors import ArgumentError
from protocol.names import ALL

MAX_SEGMENTS: Final = 64  # of a path pattern that is compared; more is not covered by anything but itself
_WILD: Final = re.compile(r"[*?\[]")


def path_covers(old: str, new: str) -> bool:
    """Tell whether every path that fits ``new`` is certain to fit ``old``."""
    if old == new:
        return True
    if _path(old) is None or _path(new) is None:
        return False
    mine, other = _segments(old), _segments(new)
    if max(len(mine), len(other)) > MAX_SEGMENTS:
        return False
    # following[j]: whether what follows in old covers other[j:]; from the last segment to the first.
    following = [False] * len(other) + [True]
    for segment in reversed(mine):
        current = [False] * (len(other) + 1)
        if segment == "**":
            current[-1] = following[-1]
            for place in reversed(range(len(other))):
                current[place] = following[place] or current[place + 1]
        else:
            for place, part in enumerate(other):
                current[place] = part != "**" and _segment_covers(segment, part) and following[place + 1]
        following = current
    return following[0]


def _segments(text: str) -> list[str]:
    return [] if text == "/" else text.split("/")[1:]


def _segment_covers(old: str, new: str) -> bool:
    if old in (new, "*"):
        return True
    if not _WILD.search(new):
        pattern = _path(f"/{old}")
        return pattern is not None and pattern.matches(f"/{new}")
    start, star, end = old.partition("*")  # *.conf covers a*.conf: what is fixed at both ends says enough
    if not star or _WILD.search(start + end):
        return False
    fixed_start, fixed_end = _WILD.split(new)[0], re.split(r"[*?\]]", new)[-1]
    return fixed_start.startswith(start) and fixed_end.endswith(end)


@lru_cache(maxsize=1024)
def _path(text: str) -> PathPattern | None:
    try:
        return PathPattern.parse(text)
    except ArgumentError:
        return None


def path_fits(pattern: str, path: str) -> bool:
    """Tell whether the plain ``path``, in which nothing is a wildcard, is certain to fit ``pattern``."""
    parsed = _path(pattern)
    return parsed is not None and "{" not in path and parsed.matches(path)


def name_covers(old: str, new: str) -> bool:
    """Tell whether the names of scripts or secrets of ``new`` (``checks/**``) are all among those of ``old``."""
    if old in (new, ALL):
        return True
    return old.endswith("/**") and new != ALL and new.startswith(old[:-2])


def target_covers(old: str, new: str) -> bool:
    """Tell whether every target that ``new`` allows is certain to be one that ``old`` allows."""
    if old == new:
        return True
    try:
        mine, other = TargetPattern.parse(old), TargetPattern.parse(new)
    except ArgumentError:
        return False
    if not _ports_cover(mine, other):
        return False
    if mine.network is not None:
        inside = other.network is not None and _within(other.network, mine.network)
        return inside and other.network is not None and _names_as_much(mine.network, other.network)
    if _names_guarded(other):
        return mine.name == other.name != ""
    if not mine.name:
        return True
    if other.network is not None or not other.name:
        return False
    return other.name.endswith(mine.name) if mine.name.startswith(".") else other.name == mine.name


def unbound_covers_target(new: str) -> bool:
    """Tell whether a rule without targets is certain to allow what ``new`` does: what is guarded must be named."""
    return target_covers("*", new)


def _ports_cover(old: TargetPattern, new: TargetPattern) -> bool:
    if not old.ports:
        return True
    return bool(new.ports) and all(
        any(low <= first and last <= high for low, high in old.ports) for first, last in new.ports
    )


def _names_guarded(pattern: TargetPattern) -> bool:
    network = pattern.network
    if network is None:
        return pattern.name == "localhost" or pattern.name in METADATA_NAMES
    if network.num_addresses == 1:
        return bool(guards(str(network.network_address)))
    return any(_within(network, guarded) for _, networks in GUARDED for guarded in networks)


def _names_as_much(mine: Network, other: Network) -> bool:
    """Tell whether a network names all that is guarded which a part of it names: link-local names no metadata."""
    if other.num_addresses == 1:
        return all(guard.is_named_by(mine) for guard in guards(str(other.network_address)))
    named = [networks for _, networks in GUARDED if any(_within(other, item) for item in networks)]
    return all(any(_within(mine, item) for item in networks) for networks in named)


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # one version
