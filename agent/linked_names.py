"""Denials that name a link of this host are about where that leads as well.

A call is decided on by what was really opened, links resolved. So ``/var/run/**`` and ``/bin/rm`` are about nothing on
most hosts, where they are links. An allowance by such a name only gives less than was meant; a denial, a question or an
exception of an allowance would give more. So these are about the name and about where its links lead.

- Links are as they were at most ``KNOWN_S`` ago, when a run or a session began.
- Only what stands before the first wildcard is looked at.
- What lies on file systems of other machines is not: they may never answer, and with them the agent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import Final

from agent.mount_list import MOUNTS, Mount, MountList
from policies.decide import Effective, Layer
from policies.model import Effect, Rule
from policies.paths import PathPattern, literal
from protocol.errors import ArgumentError, UnavailableError

KNOWN_S: Final = 10.0
MAX_KNOWN: Final = 1_000  # names, and lists of rules; more than that, and all are looked at again
FEW: Final = 16  # names in a list of rules: no more than this are found out each time
MAX_LISTS: Final = 64  # of rules, of which it is known what they name: those of tiers and ceilings stay the same
_MAX_LINKS: Final = 40  # that the kernel follows; path_resolution(7)
_WILD: Final = frozenset("*?[")
#: File systems that answer for themselves. ``overlay`` may have a layer of another machine's; who mounts that waits.
_LOCAL: Final = frozenset({
    "bcachefs", "btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "ntfs3",
    "overlay", "ramfs", "rootfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs",
})  # fmt: skip


class LinkedNames:
    """Where the names in rules lead on this host.

    Args:
        mounts: Where they are listed.
        clock: Monotonic seconds.
    """

    def __init__(self, mounts: str = MOUNTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._mounts = MountList(mounts)
        self._clock = clock
        self._listed: list[Mount] | None = None
        self._others: frozenset[str] = frozenset()  # where file systems begin that are not looked at
        self._since_s = 0.0
        self._leads: dict[str, tuple[str, ...]] = {}
        self._made: dict[int, tuple[tuple[Rule, ...], tuple[Rule, ...]]] = {}  # by the identity of the first
        self._names: dict[int, tuple[tuple[Rule, ...], frozenset[str]]] = {}  # by that of the first; whatever there is

    def followed(self, effective: Effective) -> Effective:
        """Return what a session may do once the links of this host are followed; never more than before.

        Raises:
            UnavailableError: It cannot be told what is mounted, or what a rule is about.
        """
        listed, now_s = self._mounts.now(), self._clock()
        is_much = max(len(self._leads), len(self._made)) > MAX_KNOWN
        if listed is not self._listed or now_s - self._since_s > KNOWN_S or is_much:
            kinds = {mount.point: mount.kind for mount in listed}  # of several at one place the last
            self._others = frozenset(point for point, kind in kinds.items() if kind not in _LOCAL)
            self._leads, self._made = {}, {}
            self._listed, self._since_s = listed, now_s
        return replace(effective, layers=tuple(map(self._layer, effective.layers)))

    def _layer(self, layer: Layer) -> Layer:
        made = self._made.get(id(layer.rules))
        if made is None:
            leads = any(self._led(start) != (start,) for start in self._named_in(layer.rules))
            rules = tuple(map(self._rule, layer.rules)) if leads else layer.rules
            made = self._made[id(layer.rules)] = (layer.rules, rules)
        return layer if made[1] is layer.rules else replace(layer, rules=made[1])

    def _named_in(self, rules: tuple[Rule, ...]) -> frozenset[str]:
        """Return what rules name before a wildcard: of thousands of patterns of a tier some hundred differ in it."""
        kept = self._names.get(id(rules))
        if kept is not None:
            return kept[1]
        patterns = {pattern.text for rule in rules for pattern in _narrowing(rule)}
        names = frozenset(_parted(text)[0] for text in patterns)
        if len(names) > FEW:
            if len(self._names) >= MAX_LISTS:
                self._names.clear()
            self._names[id(rules)] = (rules, names)
        return names

    def _rule(self, rule: Rule) -> Rule:
        if not _narrowing(rule):
            return rule
        exceptions = self._patterns(rule.exceptions)
        if rule.effect is Effect.ALLOW:
            return replace(rule, exceptions=exceptions)
        paths, programs = self._patterns(rule.paths), self._patterns(rule.programs)
        return replace(rule, paths=paths, programs=programs, exceptions=exceptions)

    def _patterns(self, patterns: tuple[PathPattern, ...]) -> tuple[PathPattern, ...]:
        more = dict.fromkeys(text for pattern in patterns for text in self._leading(pattern.text))
        try:
            return (*patterns, *map(PathPattern.parse, more))
        except ArgumentError as error:  # where it leads has a name that is too long, or too odd
            raise UnavailableError(f"a rule about {patterns[0].text} leads to what no rule can name: {error}") from None

    def _leading(self, text: str) -> list[str]:
        """Return patterns for where what ``text`` names really is."""
        start, rest = _parted(text)
        return ["/".join([literal(real).rstrip("/"), *rest]) or "/" for real in self._led(start) if real != start]

    def _led(self, start: str) -> tuple[str, ...]:
        """Return where a name really is: that of a link itself, which some calls are about, and where it leads."""
        found = self._leads.get(start)
        if found is None:
            found = self._leads[start] = tuple(dict.fromkeys(_really(start, self._others)))
        return found


def _narrowing(rule: Rule) -> tuple[PathPattern, ...]:
    """Return the patterns by which a rule gives less."""
    return rule.exceptions if rule.effect is Effect.ALLOW else (*rule.paths, *rule.programs, *rule.exceptions)


def _parted(text: str) -> tuple[str, list[str]]:
    """Return the path before the first wildcard of a pattern, and the segments from there on."""
    parts = [part for part in text.split("/") if part]
    plain = list(takewhile(lambda part: not _WILD.intersection(part), parts))
    return "/" + "/".join(plain), parts[len(plain) :]


def _really(path: str, others: frozenset[str]) -> tuple[str, str]:
    """Return the real path of what has this name, and of where it leads if it is a link.

    Args:
        path: Absolute.
        others: Where file systems begin that are not asked. What lies there counts as no link.
    """
    here, ahead, links, itself = "/", path.split("/"), 0, ""
    while ahead:
        name = ahead.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, name)
        itself = itself or ("" if ahead else there)
        target = None if there in others else _target(there)
        if target is None or links == _MAX_LINKS:
            here = os.path.normpath("/".join([there, *ahead]))
            return itself or here, here
        if not target:
            here = there
            continue
        links += 1
        here = "/" if target.startswith("/") else here
        ahead = [*target.split("/"), *ahead]
    return itself or here, here


def _target(path: str) -> str | None:
    """Return what a link says; empty for what is none, None for what is not there."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
