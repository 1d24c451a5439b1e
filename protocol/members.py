"""The people of a roster: a key, the name of who holds it, what it may do, and until when.

Three ends of a key are told apart, because what it signed before has another fate with each:

- ``expires``: after it the key proves nothing, nor does what it signed.
- ``retired``: what it says it signed before stays good, what is dated later proves nothing. A signer dates a statement,
  so this is for a key that is known to be destroyed, and never for one that others may have.
- ``revoked``: nothing that it ever signed is good. It stays in the roster so that everybody can say why, and so that
  its holder is still known as an author of what it signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol.errors import ArgumentError
from protocol.signing import PublicKey
from protocol.tiers import Tier
from protocol.timestamps import moment

ROLES = ("author", "reviewer", "operator", "schedule")
#: Of a schedule key whose role names no tier: nothing that changes a host.
SCHEDULE_TIER = Tier.INSPECT


@dataclass(frozen=True, slots=True)
class Role:
    """One thing that a key may do."""

    role: str  # one of ROLES
    namespace: str = ""  # path prefix on whole segments; empty: everywhere
    tier: Tier = Tier.COMPUTE  # for reviewer, operator and schedule: up to which tier


@dataclass(frozen=True, slots=True)
class Member:
    """One key of the roster, with the name of who holds it."""

    name: str
    key: PublicKey
    roles: tuple[Role, ...]
    expires: datetime | None = None
    retired: datetime | None = None
    revoked: datetime | None = None

    def is_good(self, issued: datetime, now: datetime) -> bool:
        """Tell whether what this key says it signed at ``issued`` proves anything at ``now``."""
        is_over = self.expires is not None and now >= self.expires
        is_late = self.retired is not None and issued >= self.retired
        return not (is_over or is_late or self.revoked is not None)


def covers(namespace: str, name: str) -> bool:
    """Tell whether ``name`` lies in ``namespace``; whole segments only, so ``checks`` does not cover ``checksums``."""
    return namespace == "" or name == namespace or name.startswith(namespace + "/")


def read_members(items: list[Any]) -> tuple[Member, ...]:
    """Return the members in a roster's ``keys``.

    Raises:
        ArgumentError: Names the place.
    """
    members = tuple(_member(f"keys[{index}]", item) for index, item in enumerate(items))
    if len({member.key.key_id for member in members}) != len(members):
        raise ArgumentError("a key stands twice in the roster", parameter="keys")
    _one_spelling(members)
    return members


def _one_spelling(members: tuple[Member, ...]) -> None:
    """Refuse two people who differ in nothing that an eye sees: people are counted and told apart by their names."""
    spelled: dict[str, str] = {}
    for index, member in enumerate(members):
        other = spelled.setdefault(member.name.casefold(), member.name)
        if other != member.name:
            raise ArgumentError(
                f"keys[{index}].name: {member.name!r:.60} and {other!r:.60} differ in case only",
                parameter=f"keys[{index}]",
            )


def _member(where: str, item: object) -> Member:
    if not isinstance(item, dict):
        raise ArgumentError(f"{where} is not a mapping", parameter=where)
    only(item, {"name", "key", "roles"}, where, {"expires", "retired", "revoked"})
    name = item["name"]
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"{where}.name must be text", parameter=where)
    if not name.isprintable() or name != name.strip():
        raise ArgumentError(f"{where}.name has characters that cannot be seen", parameter=where)
    roles = tuple(_role(f"{where}.roles[{at}]", role) for at, role in enumerate(listed(item["roles"], where)))
    ends = {
        end: moment(item[end], parameter=f"{where}.{end}") if end in item else None
        for end in ("expires", "retired", "revoked")
    }
    return Member(name, PublicKey.from_text(item["key"], where=f"{where}.key"), roles, **ends)


def _role(where: str, item: object) -> Role:
    if not isinstance(item, dict) or item.get("role") not in ROLES:
        raise ArgumentError(f"{where} must have a role of {', '.join(ROLES)}", parameter=where)
    role = item["role"]
    wanted = {"author": {"namespace"}, "reviewer": {"tier"}, "operator": {"tier"}, "schedule": set()}[role]
    optional = {"reviewer": {"namespace"}, "schedule": {"tier"}}.get(role, set())
    only(item, {"role", *wanted}, where, optional)
    namespace = item.get("namespace", "")
    if not isinstance(namespace, str) or namespace.startswith("/") or namespace.endswith("/"):
        raise ArgumentError(f"{where}.namespace must be a path without slashes at its ends", parameter=where)
    default = SCHEDULE_TIER if role == "schedule" else Tier.COMPUTE
    return Role(role, namespace, Tier.parse(item["tier"], where=where) if "tier" in item else default)


def listed(value: object, where: str) -> list[Any]:
    """Return a list; ArgumentError if it is none."""
    if not isinstance(value, list):
        raise ArgumentError(f"{where} must be a list", parameter=where)
    return value


def only(body: Mapping[str, Any], wanted: Set[str], where: str, optional: Set[str] = frozenset()) -> None:
    """Return if ``body`` has what is wanted and nothing unknown; ArgumentError if not."""
    missing, extra = wanted - set(body), set(body) - wanted - optional
    if missing or extra:
        told = ", ".join(sorted(missing or extra))
        raise ArgumentError(f"{where} {'lacks' if missing else 'has the unknown key'} {told}", parameter=where)
