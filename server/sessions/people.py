"""Who is in one terminal, what each may do there, and who has the keyboard. Sans-I/O.

- Observers watch. Peers may also type, when they have the keyboard. Moderators may take it, pause everybody and end the
  session. The owner is who opened it, from however many devices.
- Whoever types acts on the host: besides the owner, only who stands on an access grant of their own for it may. A
  moderator without one pauses and ends, and cannot type.
- One has the keyboard at a time. Who has it gives it; the owner and moderators may take it; a peer may ask, and may
  take it when nobody has it.
- Where moderators are required, nothing typed goes through while too few are there. Nobody moderates themselves: who
  has the keyboard does not count, and who opened a session is never a moderator in it.
- Every change is told to everybody and goes on record; what is returned says what to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from protocol.errors import ConflictError, DeniedError, NotFoundError


class Role(StrEnum):
    """What somebody is in a terminal."""

    OWNER = "owner"
    PEER = "peer"
    OBSERVER = "observer"
    MODERATOR = "moderator"


_MAY_TYPE = frozenset({Role.OWNER, Role.PEER, Role.MODERATOR})
_MAY_TAKE = frozenset({Role.OWNER, Role.MODERATOR})
_MAY_END = frozenset({Role.OWNER, Role.MODERATOR})


@dataclass(frozen=True, slots=True)
class Person:
    """One connection of somebody."""

    id: str
    principal: str
    role: Role
    has_access: bool = True  # an access grant lets them do here what the session does; the owner opened it by one
    may_type: bool = field(init=False)  # whether they may have the keyboard at all

    def __post_init__(self) -> None:
        object.__setattr__(self, "may_type", self.role in _MAY_TYPE and self.has_access)

    def to_plain(self) -> dict[str, Any]:
        """Return it as it is told."""
        return {"id": self.id, "who": self.principal, "role": self.role.value}


class Party:
    """The people of one terminal.

    Args:
        moderators: How many must be there before anything typed goes through.
    """

    def __init__(self, moderators: int = 0) -> None:
        self.people: dict[str, Person] = {}
        self.keyboard: str | None = None  # id of who has it
        self.paused_by: str | None = None  # principal
        self._moderators = moderators

    @property
    def is_held(self) -> bool:
        """Whether nothing typed goes through now, whoever typed it."""
        return self.paused_by is not None or self.moderators_missing > 0

    @property
    def moderators_missing(self) -> int:
        """How many more moderators must come."""
        if not self._moderators:  # as with most; asked for each key
            return 0
        holder = self.people.get(self.keyboard or "")
        there = {person.principal for person in self.people.values() if person.role is Role.MODERATOR}
        return max(0, self._moderators - len(there - {holder.principal if holder else None}))

    def join(self, person: Person) -> list[dict[str, Any]]:
        """Somebody comes. An owner has the keyboard at once, unless it was given away."""
        self.people[person.id] = person
        told = [{"what": "joined", **person.to_plain()}]
        holder = self.people.get(self.keyboard or "")
        if person.role is Role.OWNER and (holder is None or holder.role is Role.OWNER):
            told += self._to(person)
        return told

    def leave(self, identity: str) -> list[dict[str, Any]]:
        """Somebody goes; the keyboard goes back to the owner, if there."""
        person = self.people.pop(identity, None)
        if person is None:
            return []
        told = [{"what": "left", **person.to_plain()}]
        if self.keyboard == identity:
            self.keyboard = None
            owners = [each for each in self.people.values() if each.role is Role.OWNER]
            told += self._to(owners[-1]) if owners else [{"what": "keyboard", "id": None, "who": None, "role": None}]
        return told

    def check_typing(self, identity: str) -> None:
        """Return if what this person types goes through now.

        Raises:
            DeniedError: An observer's does not.
            ConflictError: Somebody else has the keyboard, it is paused, or moderators are missing.
        """
        person = self.people.get(identity)
        if (
            person is None or not person.may_type or self.keyboard != identity
            or self.paused_by is not None or self._moderators
        ):  # fmt: skip  # not the usual case, which is looked at for each key
            self._check(identity, is_typed=True)

    def check_interrupting(self, identity: str) -> None:
        """Return if this person may interrupt what runs now: as they may type, and during a pause as well.

        A pause holds what is typed, and not what runs; who would type next may still stop it.
        """
        self._check(identity, is_typed=False)

    def _check(self, identity: str, *, is_typed: bool) -> None:
        person = self._find(identity)
        if not person.may_type:
            raise DeniedError(f"{_who(person)} does not type", rule="session: role")
        if self.moderators_missing:
            raise ConflictError(f"waiting for {self.moderators_missing} more moderator(s)")
        if is_typed and self.paused_by is not None:
            raise ConflictError(f"paused by {self.paused_by}")
        if self.keyboard != identity:
            holder = self.people.get(self.keyboard or "")
            raise ConflictError(
                f"{holder.principal} has the keyboard" if holder else "nobody has the keyboard: take it"
            )

    def has_typist(self, principal: str) -> bool:
        """Whether somebody is here who may have the keyboard, on whatever device."""
        return any(each.principal == principal and each.may_type for each in self.people.values())

    def ask(self, identity: str) -> list[dict[str, Any]]:
        """Somebody wants the keyboard.

        Raises:
            DeniedError: An observer cannot have it.
        """
        person = self._find(identity)
        if not person.may_type:
            raise DeniedError(f"{_who(person)} cannot have the keyboard", rule="session: role")
        if self.keyboard is None:
            return self._to(person)
        return [{"what": "asked", **person.to_plain()}]

    def take(self, identity: str) -> list[dict[str, Any]]:
        """Somebody takes the keyboard.

        Raises:
            DeniedError: Their role does not let them, while somebody has it.
        """
        person = self._find(identity)
        if person.may_type and (person.role in _MAY_TAKE or self.keyboard is None):
            return self._to(person) if self.keyboard != identity else []
        hint = "; ask for it" if person.may_type else ""
        raise DeniedError(f"{_who(person)} does not take the keyboard{hint}", rule="session: role")

    def give(self, identity: str, to: str) -> list[dict[str, Any]]:
        """Who has the keyboard gives it away.

        Args:
            to: The id or the name of somebody who is there.

        Raises:
            DeniedError: They do not have it, or the other one may not type.
            NotFoundError: The other one is not there.
        """
        person = self._find(identity)
        if self.keyboard != identity and person.role not in _MAY_TAKE:
            raise DeniedError("only who has the keyboard gives it", rule="session: role")
        found = [each for each in self.people.values() if to in (each.id, each.principal) and each.id != identity]
        able = [each for each in found if each.may_type]
        if found and not able:
            raise DeniedError(f"{to} only watches", rule="session: role")
        if not able:
            raise NotFoundError(f"{to:.100} is not here")
        return self._to(able[-1])

    def pause(self, identity: str) -> list[dict[str, Any]]:
        """A moderator stops all typing.

        Raises:
            DeniedError: They are no moderator.
        """
        person = self._moderator(identity)
        self.paused_by = person.principal
        return [{"what": "paused", **person.to_plain()}]

    def resume(self, identity: str) -> list[dict[str, Any]]:
        """A moderator lets it go on; raises as :meth:`pause`."""
        person = self._moderator(identity)
        self.paused_by = None
        return [{"what": "resumed", **person.to_plain()}]

    def check_ending(self, identity: str) -> Person:
        """Return who it is, if they may end the session.

        Raises:
            DeniedError: They may not.
        """
        person = self._find(identity)
        if person.role not in _MAY_END:
            raise DeniedError(f"{_a(person.role)} does not end the session", rule="session: role")
        return person

    def _moderator(self, identity: str) -> Person:
        person = self._find(identity)
        if person.role is not Role.MODERATOR:
            raise DeniedError("only a moderator pauses", rule="session: role")
        return person

    def _find(self, identity: str) -> Person:
        person = self.people.get(identity)
        if person is None:
            raise NotFoundError("they are not here")
        return person

    def _to(self, person: Person) -> list[dict[str, Any]]:
        self.keyboard = person.id
        return [{"what": "keyboard", **person.to_plain()}]


def _who(person: Person) -> str:
    role = _a(person.role)
    return role if person.has_access or person.role is Role.OBSERVER else f"{role} without an access grant of their own"


def _a(role: Role) -> str:
    return f"an {role}" if role in (Role.OBSERVER, Role.OWNER) else f"a {role}"
