"""The roster: which key may do what, signed by the roots, and the rules by which a new one replaces an old one.

As in the update framework's root role: a new roster must be signed by a threshold of the roots that are trusted now
*and* by a threshold of the roots that it names itself; its version must grow; it must not have expired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol import limits
from protocol.errors import ArgumentError, TrustError
from protocol.signing import Envelope, PublicKey, open_envelope, peek
from protocol.tiers import Tier
from protocol.timestamps import moment

ROLES = ("author", "reviewer", "operator", "schedule")


@dataclass(frozen=True, slots=True)
class Role:
    """One thing that a key may do."""

    role: str  # one of ROLES
    namespace: str = ""  # path prefix on whole segments; empty: everywhere
    tier: Tier = Tier.COMPUTE  # for reviewer and operator: up to which tier


@dataclass(frozen=True, slots=True)
class Member:
    """One key of the roster, with the name of who holds it."""

    name: str
    key: PublicKey
    roles: tuple[Role, ...]
    expires: datetime | None = None


def covers(namespace: str, name: str) -> bool:
    """Tell whether ``name`` lies in ``namespace``; whole segments only, so ``checks`` does not cover ``checksums``."""
    return namespace == "" or name == namespace or name.startswith(namespace + "/")


@dataclass(frozen=True, slots=True)
class Roster:
    """A roster whose signatures were checked."""

    version: int
    issued: datetime
    expires: datetime
    root_threshold: int
    roots: Mapping[str, PublicKey]
    members: tuple[Member, ...]

    def _holding(self, now: datetime, suits: Callable[[Role], bool]) -> dict[str, PublicKey]:
        return {
            member.key.key_id: member.key
            for member in self.members
            if (member.expires is None or now < member.expires) and any(suits(role) for role in member.roles)
        }

    def authors(self, name: str, now: datetime) -> dict[str, PublicKey]:
        """Return the keys that may publish ``name``."""
        return self._holding(now, lambda role: role.role == "author" and covers(role.namespace, name))

    def reviewers(self, name: str, tier: Tier, now: datetime) -> dict[str, PublicKey]:
        """Return the keys that may approve ``name`` for ``tier``."""
        return self._holding(
            now, lambda role: role.role == "reviewer" and covers(role.namespace, name) and tier <= role.tier
        )

    def operators(self, tier: Tier, now: datetime) -> dict[str, PublicKey]:
        """Return the keys that may order a run at ``tier``."""
        return self._holding(now, lambda role: role.role == "operator" and tier <= role.tier)

    def schedulers(self, now: datetime) -> dict[str, PublicKey]:
        """Return the keys that may order schedules."""
        return self._holding(now, lambda role: role.role == "schedule")

    def keys(self) -> dict[str, PublicKey]:
        """Return every key, whatever it may do."""
        return {member.key.key_id: member.key for member in self.members}

    def name_of(self, key_id: str) -> str | None:
        """Return who holds a key."""
        return next((member.name for member in self.members if member.key.key_id == key_id), None)

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
            accept_expired: Only for loading what was stored earlier: an expired roster still guards against rollback.

        Raises:
            TrustError: ``unsigned``, ``unknown_key``, ``bad_signature``, ``rollback``, ``mix_and_match``, ``expired``.
            ArgumentError: Signed, but not a roster.
        """
        opened = open_envelope(envelope, "roster", self._roots, self._threshold, what="the roster")
        roster = parse(opened.body)
        open_envelope(envelope, "roster", roster.roots, roster.root_threshold, what="the roster (by its own roots)")
        if self.current is not None:
            self._check_succession(envelope, roster)
        if roster.is_expired(now) and not accept_expired:
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
    _only(body, {"type", "version", "issued", "expires", "roots", "keys"}, "roster")
    version, roots, keys = body["version"], body["roots"], body["keys"]
    if type(version) is not int or not 1 <= version <= limits.MAX_SEQUENCE:
        raise ArgumentError("the roster's version must be a whole number from 1", parameter="version")
    if not isinstance(roots, dict) or not isinstance(keys, list):
        raise ArgumentError("the roster's roots and keys have the wrong form", parameter="roots")
    _only(roots, {"threshold", "keys"}, "roots")
    listed = [PublicKey.from_text(text, where="roots.keys") for text in _list(roots["keys"], "roots.keys")]
    known = {key.key_id: key for key in listed}
    threshold = roots["threshold"]
    if type(threshold) is not int or not 1 <= threshold <= len(known):
        raise ArgumentError("the threshold of roots is impossible", parameter="roots.threshold")
    members = tuple(_member(index, item) for index, item in enumerate(keys))
    if len({member.key.key_id for member in members}) != len(members):
        raise ArgumentError("a key stands twice in the roster", parameter="keys")
    return Roster(
        version, moment(body["issued"], parameter="issued"), moment(body["expires"], parameter="expires"),
        threshold, known, members,
    )  # fmt: skip


def _member(index: int, item: object) -> Member:
    where = f"keys[{index}]"
    if not isinstance(item, dict):
        raise ArgumentError(f"{where} is not a mapping", parameter=where)
    _only(item, {"name", "key", "roles"}, where, {"expires"})
    if not isinstance(item["name"], str) or not item["name"]:
        raise ArgumentError(f"{where}.name must be text", parameter=where)
    roles = tuple(_role(f"{where}.roles[{at}]", role) for at, role in enumerate(_list(item["roles"], where)))
    expires = moment(item["expires"], parameter=f"{where}.expires") if "expires" in item else None
    return Member(item["name"], PublicKey.from_text(item["key"], where=f"{where}.key"), roles, expires)


def _role(where: str, item: object) -> Role:
    if not isinstance(item, dict) or item.get("role") not in ROLES:
        raise ArgumentError(f"{where} must have a role of {', '.join(ROLES)}", parameter=where)
    role = item["role"]
    wanted = {"author": {"namespace"}, "reviewer": {"tier"}, "operator": {"tier"}, "schedule": set()}[role]
    _only(item, {"role", *wanted}, where, {"namespace"} if role == "reviewer" else set())
    namespace = item.get("namespace", "")
    if not isinstance(namespace, str) or namespace.startswith("/") or namespace.endswith("/"):
        raise ArgumentError(f"{where}.namespace must be a path without slashes at its ends", parameter=where)
    tier = Tier.parse(item["tier"], where=where) if "tier" in item else Tier.COMPUTE
    return Role(role, namespace, tier)


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ArgumentError(f"{where} must be a list", parameter=where)
    return value


def _only(body: Mapping[str, Any], wanted: Set[str], where: str, optional: Set[str] = frozenset()) -> None:
    missing, extra = wanted - set(body), set(body) - wanted - optional
    if missing or extra:
        told = ", ".join(sorted(missing or extra))
        raise ArgumentError(f"{where} {'lacks' if missing else 'has the unknown key'} {told}", parameter=where)
