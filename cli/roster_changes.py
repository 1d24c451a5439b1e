"""What one roster changes over another: who signs, how many review, who may do what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from protocol.members import Member, Role
from protocol.roster import Roster
from protocol.signing import PublicKey
from protocol.tiers import Tier
from protocol.timestamps import stamp

SHORT = 16  # hexadecimal digits of a key's id that are shown


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    sign: str  # + - or ~
    what: str  # version, expires, root, threshold, reviewers, withdrawn or key
    text: str

    def to_plain(self) -> dict[str, str]:
        """Return it as JSON data."""
        return {"sign": self.sign, "what": self.what, "text": self.text}

    def __str__(self) -> str:
        return f"{self.sign} {self.what} {self.text}"


def compare(before: Roster, after: Roster) -> list[Change]:
    """Return every difference of two rosters; none if one says what the other says."""
    changes: list[Change] = []
    changes += _value("version", before.version, after.version)
    changes += _value("expires", stamp(before.expires), stamp(after.expires))
    changes += _sets("root", map(key_text, before.roots.values()), map(key_text, after.roots.values()))
    changes += _value("threshold", before.root_threshold, after.root_threshold)
    changes += _value("reviewers", table_text(before.reviewers_needed), table_text(after.reviewers_needed))
    changes += _sets("withdrawn", before.withdrawn, after.withdrawn)
    changes += _members(before, after)
    return changes


def _value(what: str, before: object, after: object) -> Iterator[Change]:
    if before != after:
        yield Change("~", what, f"{before} -> {after}")


def _sets(what: str, before: Iterable[str], after: Iterable[str]) -> Iterator[Change]:
    old, new = set(before), set(after)
    yield from (Change("+", what, text) for text in sorted(new - old))
    yield from (Change("-", what, text) for text in sorted(old - new))


def _members(before: Roster, after: Roster) -> Iterator[Change]:
    old = {member.key.key_id: member for member in before.members}
    new = {member.key.key_id: member for member in after.members}
    for member in after.members:
        was = old.get(member.key.key_id)
        if was is None:
            yield Change("+", "key", _member_text(member))
        elif was != member:
            yield Change("~", "key", f"{_member_text(was)} -> {_what_of(member, was)}")
    yield from (Change("-", "key", _member_text(member)) for member in before.members if member.key.key_id not in new)


def _member_text(member: Member) -> str:
    return f"{member.name} {key_text(member.key)}: {_what_of(member)}"


def _what_of(member: Member, was: Member | None = None) -> str:
    named = [] if was is None or was.name == member.name else [member.name]
    return ", ".join([*named, *map(role_text, member.roles), *ends_text(member)]) or "nothing"


def role_text(role: Role) -> str:
    """Return what a role lets a key do."""
    words = [role.role]
    if role.role in ("author", "reviewer"):
        words.append(role.namespace or ("everywhere" if role.role == "author" else ""))
    if role.role != "author":
        words.append(f"up to {role.tier.label}")
    return " ".join(filter(None, words))


def ends_text(member: Member) -> list[str]:
    """Return the ends of a key, each with its moment."""
    ends: list[tuple[str, datetime | None]] = [
        ("expires", member.expires), ("retired", member.retired), ("revoked", member.revoked)
    ]  # fmt: skip
    return [f"{word} {stamp(moment)}" for word, moment in ends if moment is not None]


def key_text(key: PublicKey) -> str:
    """Return the begin of a key's id, enough to tell keys apart by eye."""
    return key.key_id[:SHORT]


def table_text(table: Mapping[Tier, int]) -> str:
    """Return how many reviewers each tier needs."""
    return ", ".join(f"{count} from {tier.label} on" for tier, count in sorted(table.items())) or "1"
