"""Whether an access grant lets somebody open a session. Pure; no grant means no.

A grant says who, which kinds of session, up to which tier, on which hosts, as which users, on which paths, to which
targets, and until when. Everything that is asked must lie within one and the same grant. It opens a door of the server
and nothing more: the host's ceiling and its owner decide as ever, and the host gets what the grant narrows to.

Loopback, cloud metadata and the like must be named by the grant: a session that names them itself has no right to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.paths import PathPattern
from policies.targets import GUARDED, METADATA_NAMES, TargetPattern, guards
from policies.users import read_users
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from server.services.permits import GROUP, ROLE, check_who
from server.services.targets import Target

KINDS: Final = ("terminal", "command", "files", "forward")
BOUND_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "paths": ("files",), "targets": ("forward",), "users": ("terminal", "command"),
}  # fmt: skip
MAX_ITEMS: Final = 64
_LOOPBACK: Final = dict(GUARDED)["loopback"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant is about, and what a request asks for."""

    kinds: tuple[str, ...]
    tier: Tier  # the highest
    target: Target  # hosts
    users: tuple[str, ...] = ()  # whom a terminal or command may be of; none: anybody
    paths: tuple[str, ...] = ()  # of files; none: all that the tier has
    targets: tuple[str, ...] = ()  # of forwards; none: all that are not guarded

    def to_plain(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "kinds": list(self.kinds), "tier": self.tier.label, "target": self.target.text, "users": list(self.users),
            "paths": list(self.paths), "targets": list(self.targets),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """One grant."""

    id: str
    who: str  # a principal, @group or role:NAME
    scope: Scope
    expires_us: int | None = None
    revoked_us: int | None = None

    def is_in_force(self, now_us: int) -> bool:
        """Tell whether it holds now."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)

    def is_for(self, principal: str, roles: Iterable[str], groups: Iterable[str]) -> bool:
        """Tell whether this is somebody's."""
        if self.who.startswith(GROUP):
            return self.who in groups
        if self.who.startswith(ROLE):
            return self.who.removeprefix(ROLE) in roles
        return self.who == principal

    def objection(self, asked: Asked) -> str | None:
        """Return why it does not allow what is asked; None if it does."""
        scope = self.scope
        if asked.kind not in scope.kinds:
            return f"it is for {', '.join(scope.kinds)}"
        if asked.tier > scope.tier:
            return f"it ends at tier {scope.tier.label}"
        if not scope.target.matches(asked.agent, asked.name, asked.labels):
            return f"{asked.name} is not one of {scope.target.text}"
        others = [user for user in asked.users if scope.users and user not in scope.users]
        if others:
            return f"it is for {', '.join(scope.users)}, not for {others[0]}"
        granted = [TargetPattern.parse(text) for text in scope.targets]
        for pattern in asked.named:
            if not any(_lies_within(pattern, one) for one in granted):
                return f"{pattern.text} is guarded, and it does not name it"
        return None

    def narrowing(self, kind: str) -> dict[str, Any]:
        """Return the layer that the host adds to its own; empty where the grant narrows nothing."""
        scope = self.scope
        if kind == "files" and scope.paths:
            return {"allow": [{"calls": ["fs.*", "file.*", "writer.*"], "paths": list(scope.paths)}]}
        if kind == "forward" and scope.targets:
            calls = ["net.forward", "net.listen"]
            return {"allow": [{"calls": calls, "targets": list(scope.targets)}, {"call": "listener.accept"}]}
        return {}


@dataclass(frozen=True, slots=True)
class Asked:
    """A session that somebody wants to open."""

    kind: str
    tier: Tier
    agent: str
    name: str
    labels: Mapping[str, str]
    named: Sequence[TargetPattern] = ()  # guarded targets that the session's own grant names
    users: Sequence[str] = ()  # of the host, whom its own grant names


def read_scope(plain: Mapping[str, Any]) -> Scope:
    """Return the scope in plain values.

    Raises:
        ArgumentError: Something of it is wrong; names what.
    """
    kinds = tuple(dict.fromkeys(plain["kinds"]))
    odd = [kind for kind in kinds if kind not in KINDS]
    if odd or not kinds:
        raise ArgumentError(f"{odd[:1] or 'none'} is no kind of session (known: {', '.join(KINDS)})", parameter="kinds")
    lists = {name: tuple(plain.get(name) or ()) for name in BOUND_BY}
    for name, items in lists.items():
        if len(items) > MAX_ITEMS:
            raise ArgumentError(f"{name}: at most {MAX_ITEMS}", parameter=name)
        free = [kind for kind in kinds if kind not in BOUND_BY[name]]
        if items and free:
            raise ArgumentError(
                f"{name} bound sessions of kind {' and '.join(BOUND_BY[name])}, not {free[0]}: make two of it",
                parameter=name,
            )
    for text in lists["paths"]:
        PathPattern.parse(text, where="paths")
    for text in lists["targets"]:
        TargetPattern.parse(text, where="targets")
    return Scope(kinds, Tier.parse(plain["tier"]), Target.parse(plain["target"]), **lists)


def read_new_scope(plain: Mapping[str, Any]) -> Scope:
    """Return the scope of a grant or request that is to be kept; raises as :func:`read_scope`.

    One that was kept before is read whatever it names: a host refuses the users that can be nobody's names.
    """
    scope = read_scope(plain)
    if scope.users:
        read_users(scope.users, parameter="users")
    return scope


def read(row: Any) -> AccessGrant:
    """Return the grant of a row of the table."""
    return AccessGrant(row.id, row.who, read_scope(row.scope), row.expires_us, row.revoked_us)


def guarded_targets(grant: Mapping[str, Any]) -> list[TargetPattern]:
    """Return the patterns of a session's own grant that name what is guarded.

    What cannot be read is passed over here: the host refuses the whole session for it.
    """
    found: list[TargetPattern] = []
    for effect in ("allow", "ask"):
        rules = grant.get(effect)
        for rule in rules if isinstance(rules, list) else ():
            texts = rule.get("targets") if isinstance(rule, dict) else None
            for text in texts if isinstance(texts, list) else ():
                try:
                    pattern = TargetPattern.parse(str(text))
                except ArgumentError:
                    continue
                if _names_guarded(pattern):
                    found.append(pattern)
    return found


def named_users(grant: Mapping[str, Any]) -> list[str]:
    """Return the users whom a session's own grant names; what cannot be read is passed over as in
    :func:`guarded_targets`.
    """
    found: list[str] = []
    for effect in ("allow", "ask"):
        rules = grant.get(effect)
        for rule in rules if isinstance(rules, list) else ():
            users = rule.get("users") if isinstance(rule, dict) else None
            found += [user for user in users if isinstance(user, str)] if isinstance(users, list) else []
    return list(dict.fromkeys(found))


def check_name(text: str) -> str:
    """Return ``text`` if it can name somebody; ArgumentError if not."""
    return check_who(text)


def _names_guarded(pattern: TargetPattern) -> bool:
    if pattern.network is None:
        return pattern.name == "localhost" or pattern.name in METADATA_NAMES
    network = pattern.network
    if network.num_addresses == 1:
        return bool(guards(str(network.network_address)))
    return any(
        network.version == item.version and network.subnet_of(item)  # type: ignore[arg-type]  # one version
        for _, networks in GUARDED
        for item in networks
    )


def _lies_within(pattern: TargetPattern, granted: TargetPattern) -> bool:
    """Tell whether all that a pattern names is named by a grant's."""
    if granted.ports and not (pattern.ports and all(_has(granted, low, high) for low, high in pattern.ports)):
        return False
    if pattern.network is None:
        return pattern.name == granted.name
    if granted.network is None:
        return granted.name == "localhost" and any(_inside(pattern.network, item) for item in _LOOPBACK)
    return _inside(pattern.network, granted.network)


def _inside(network: Any, other: Any) -> bool:
    return network.version == other.version and bool(network.subnet_of(other))


def _has(granted: TargetPattern, low: int, high: int) -> bool:
    return any(first <= low and high <= last for first, last in granted.ports)
