"""``TARGET:PATH`` and local paths, told apart as scp does; the lowest tier at which something may be done. Pure."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.errors import ArgumentError
from protocol.limits import MAX_PATH_BYTES
from protocol.tiers import Tier


@dataclass(frozen=True, slots=True)
class Remote:
    """A path on a host."""

    agent: str
    path: str  # absolute; bytes that are not UTF-8 as os.fsdecode has them

    @property
    def name(self) -> str:
        """The last word of the path; empty for the root."""
        return posixpath.basename(self.path.rstrip("/"))

    def below(self, relative: str) -> Remote:
        """Return something below it."""
        return Remote(self.agent, posixpath.join(self.path, relative))

    def __str__(self) -> str:
        return f"{self.agent}:{self.path}"


def parse(word: str) -> Remote | None:
    """Return the path on a host that a word means; None if it is a local path.

    As with scp a word is remote if it has a colon before its first slash; ``./a:b`` is local.

    Raises:
        ArgumentError: It is remote, and its path is not absolute or too long.
    """
    agent, colon, path = word.partition(":")
    if not colon or "/" in agent or not agent:
        return None
    if not path.startswith("/"):
        raise ArgumentError(f"{word!r}: the path on a host must be absolute, as in {agent}:/{path or 'etc/motd'}")
    if len(os.fsencode(path)) >= MAX_PATH_BYTES:
        raise ArgumentError(f"{word[:60]!r}...: the path is longer than {MAX_PATH_BYTES - 1} bytes")
    return Remote(agent, path)


def remote(word: str) -> Remote:
    """Return the path on a host that a word means.

    Raises:
        ArgumentError: It means none.
    """
    found = parse(word)
    if found is None:
        raise ArgumentError(f"{word!r} is not TARGET:PATH (example: web-3:/etc/hosts)")
    return found


def lowest(wanted: Iterable[tuple[str, str]], *, is_tree: bool = False) -> Tier:
    """Return the lowest tier whose own policy allows each call at its path; the highest if none does.

    A guess from the text of the paths, so that nothing is opened at more than it needs: what may be done, the host
    decides on what is really there.

    Args:
        wanted: Calls and paths.
        is_tree: Whether something of what is below the paths will do.
    """
    from policies.decide import Effective, Layer, decide, decide_below  # few milliseconds, for who names no tier
    from policies.load import builtin
    from policies.model import Facts

    pairs = [(call, posixpath.normpath(path)) for call, path in wanted]
    for tier in (Tier.OBSERVE, Tier.INSPECT, Tier.OPERATE):
        policy = builtin(tier)
        effective = Effective((Layer(policy.name, policy.rules),))
        if all(
            decide(policy, call, Facts(path=path)).allowed
            or (is_tree and decide_below(effective, call, path) is not False)
            for call, path in pairs
        ):
            return tier
    return Tier.ADMIN
