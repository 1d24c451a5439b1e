"""The roster: which key may do what, signed by the roots, and the rules by which a new one replaces an old one.

As in the update framework's root role: a new roster must be signed by a threshold of the roots that are trusted now
*and* by a threshold of the roots that it names itself; its version must grow; it must not have expired. It also says
what only the roots may say about everybody's statements: how many reviewers a tier needs, and which digests are
withdrawn for good, so that no server can keep a withdrawal back for longer than an old roster is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from protocol import limits
from protocol.errors import ArgumentError, TrustError
from protocol.members import ROLES, Member, Role, covers, listed, only, read_members
from protocol.signing import Envelope, PublicKey, open_envelope, peek
from protocol.tiers import Tier
from protocol.timestamps import moment

__all__ = ["ROLES", "Member", "Role", "Roster", "TrustedRoster", "covers", "needed", "parse", "read_needed"]

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def needed(table: Mapping[Tier, int], tier: Tier) -> int:
    """Return how many people must approve for ``tier``: at least one, and no fewer than for any lower tier."""
    return max([1, *(count for lowest, count in table.items() if lowest <= tier)])


def read_needed(value: object, where: str) -> dict[Tier, int]:
    """Return a table of reviewers from plain data such as ``{"operate": 2}``.

    Raises:
        ArgumentError: It is none.
    """
    if not isinstance(value, dict):
        raise ArgumentError(f"{where} must be a mapping of tiers to numbers", parameter=where)
    table: dict[Tier, int] = {}
    for name, count in value.items():
        if type(count) is not int or not 1 <= count <= limits.MAX_REVIEWERS:
            raise ArgumentError(f"{where}.{name!s:.20} must be 1 to {limits.MAX_REVIEWERS}", parameter=where)
        table[Tier.parse(name, where=where)] = count
    return table


@dataclass(frozen=True, slots=True)
class Roster:
    """A roster whose signatures were checked."""

    version: int
    issued: datetime
    expires: datetime
    root_threshold: int
    roots: Mapping[str, PublicKey]
    members: tuple[Member, ...]
    reviewers_needed: Mapping[Tier, int] = field(default_factory=dict)  # by the lowest tier that it counts for
    withdrawn: frozenset[str] = frozenset()  # digests
    #: Members by the id of their key: several are looked for whenever a script is to run.
    _by_id: Mapping[str, Member] = field(init=False, repr=False, compare=False)
    _keys: Mapping[str, PublicKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {member.key.key_id: member for member in self.members})
        object.__setattr__(self, "_keys", {key_id: member.key for key_id, member in self._by_id.items()})

    def _holding(
        self, issued: datetime, now: datetime, among: Set[str] | None, suits: Callable[[Role], bool]
    ) -> dict[str, PublicKey]:
        asked = self._by_id if among is None else among & self._by_id.keys()
        members = ((key_id, self._by_id[key_id]) for key_id in asked)
        return {
            key_id: member.key
            for key_id, member in members
            if member.is_good(issued, now) and any(suits(role) for role in member.roles)
        }

    def authors(
        self, name: str, now: datetime, *, issued: datetime | None = None, among: Set[str] | None = None
    ) -> dict[str, PublicKey]:
        """Return the keys, of all or ``among`` some, that may publish ``name``; or might have at ``issued``."""
        return self._holding(
            issued or now, now, among, lambda role: role.role == "author" and covers(role.namespace, name)
        )

    def reviewers(
        self, name: str, tier: Tier, now: datetime, *, issued: datetime | None = None, among: Set[str] | None = None
    ) -> dict[str, PublicKey]:
        """Return the keys, of all or ``among`` some, that may approve ``name`` for ``tier``; or might have then."""
        return self._holding(
            issued or now, now, among,
            lambda role: role.role == "reviewer" and covers(role.namespace, name) and tier <= role.tier,
        )  # fmt: skip

    def operators(self, tier: Tier, now: datetime, *, issued: datetime | None = None) -> dict[str, PublicKey]:
        """Return the keys that may order a run at ``tier``; with ``issued``, that might have done so then."""
        return self._holding(issued or now, now, None, lambda role: role.role == "operator" and tier <= role.tier)

    def schedulers(self, tier: Tier, now: datetime, *, issued: datetime | None = None) -> dict[str, PublicKey]:
        """Return the keys that may order schedules of what runs at ``tier``; or might have at ``issued``."""
        return self._holding(issued or now, now, None, lambda role: role.role == "schedule" and tier <= role.tier)

    def keys(self) -> Mapping[str, PublicKey]:
        """Return every key, whatever it may do."""
        return self._keys

    def member(self, key_id: str) -> Member | None:
        """Return who holds a key, and what it may do."""
        return self._by_id.get(key_id)

    def name_of(self, key_id: str) -> str | None:
        """Return who holds a key."""
        member = self.member(key_id)
        return member.name if member is not None else None

    def is_expired(self, now: datetime) -> bool:
        """Tell whether this roster proves nothing any more."""
        return now >= self.expires


class TrustedRoster:
    """Holds the newest roster that was proved, starting from pinned roots.

    Args:
        roots: The pinned root keys.
        threshold: How many of them must sign.
    """

    def __init__(self, roots: Mapping[str, PublicKey], threshold: int) -> None:
        if not 1 <= threshold <= len(roots):
            raise ArgumentError(
                f"a threshold of {threshold} of {len(roots)} roots is impossible", parameter="threshold"
            )
        self._roots = dict(roots)
        self._threshold = threshold
        self.current: Roster | None = None
        self.envelope: Envelope | None = None  # of ``current``

    @classmethod
    def resume(cls, envelope: Envelope, now: datetime) -> TrustedRoster:
        """Return the state that an earlier :meth:`update` reached, from the envelope that the caller stored then.

        After roots were changed the newest roster is not signed by the first pins any more, so a stored one is its
        own pin: it must come from where nobody but this program writes. An expired one still guards against rollback.

        Raises:
            TrustError: It is damaged.
            ArgumentError: It is no roster.
        """
        claimed = parse(peek(envelope))
        trusted = cls(claimed.roots, claimed.root_threshold)
        trusted.update(envelope, now, accept_expired=True)
        return trusted

    def update(self, envelope: Envelope, now: datetime, *, accept_expired: bool = False) -> Roster:
        """Take ``envelope`` as the newest roster and return it; nothing changes if it is refused.

        Args:
            envelope: The signed roster.
            now: The present.
            accept_expired: For loading what was stored earlier: an expired roster still guards against rollback. One
                that changes the roots is taken all the same: it proves nothing, and the next one follows from it, so
                that who was away over two changes of the roots finds the way.

        Raises:
            TrustError: ``unsigned``, ``unknown_key``, ``bad_signature``, ``rollback``, ``mix_and_match``, ``expired``.
            ArgumentError: Signed, but not a roster.
        """
        opened = open_envelope(envelope, "roster", self._roots, self._threshold, what="the roster")
        roster = parse(opened.body)
        open_envelope(envelope, "roster", roster.roots, roster.root_threshold, what="the roster (by its own roots)")
        if self.current is not None:
            self._check_succession(envelope, roster)
        is_step = self.current is not None and (roster.roots, roster.root_threshold) != (self._roots, self._threshold)
        if roster.is_expired(now) and not accept_expired and not is_step:
            raise TrustError(f"roster version {roster.version} expired at {roster.expires:%F %T} UTC", reason="expired")
        self.current, self.envelope = roster, envelope
        self._roots, self._threshold = dict(roster.roots), roster.root_threshold
        return roster

    def _check_succession(self, envelope: Envelope, roster: Roster) -> None:
        if self.current is None or self.envelope is None:
            return
        if roster.version < self.current.version:
            raise TrustError(
                f"roster version {roster.version} is older than version {self.current.version}", reason="rollback"
            )
        if roster.version == self.current.version and envelope.payload != self.envelope.payload:
            raise TrustError(f"there is another roster of version {roster.version}", reason="mix_and_match")


def parse(body: Mapping[str, Any]) -> Roster:
    """Return the roster in a statement's body.

    Raises:
        ArgumentError: Names the field.
    """
    only(body, {"type", "version", "issued", "expires", "roots", "keys"}, "roster", {"reviewers", "withdrawn"})
    version, roots, keys = body["version"], body["roots"], body["keys"]
    if type(version) is not int or not 1 <= version <= limits.MAX_SEQUENCE:
        raise ArgumentError("the roster's version must be a whole number from 1", parameter="version")
    if not isinstance(roots, dict) or not isinstance(keys, list):
        raise ArgumentError("the roster's roots and keys have the wrong form", parameter="roots")
    only(roots, {"threshold", "keys"}, "roots")
    given = [PublicKey.from_text(text, where="roots.keys") for text in listed(roots["keys"], "roots.keys")]
    known = {key.key_id: key for key in given}
    threshold = roots["threshold"]
    if type(threshold) is not int or not 1 <= threshold <= len(known):
        raise ArgumentError("the threshold of roots is impossible", parameter="roots.threshold")
    issued, expires = moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires")
    return Roster(
        version, issued, expires, threshold, known, read_members(keys),
        read_needed(body.get("reviewers", {}), "reviewers"), _withdrawn(body.get("withdrawn", [])),
    )  # fmt: skip


def _withdrawn(value: object) -> frozenset[str]:
    digests = listed(value, "withdrawn")
    if not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests):
        raise ArgumentError("withdrawn must be digests (sha256: and 64 hexadecimal digits)", parameter="withdrawn")
    return frozenset(digests)
