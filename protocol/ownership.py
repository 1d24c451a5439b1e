"""Who owns a name, and how it is handed over. Pure.

A name belongs to whoever published it first; its owners alone publish further versions. That only ever narrows what
the roster allows, which every agent checks by itself: a transfer makes nobody an author of a namespace.

- An owner is a name in the roster, so a key can be changed without losing what it owned.
- Names whose owners are no authors of them any more are free for whoever the roster lets publish them.
- A transfer is signed by an owner and must be newer than the one before: an old one that is shown again does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from protocol import limits
from protocol.errors import ArgumentError, DeniedError, OutriderError, TrustError
from protocol.roster import Roster
from protocol.signing import Envelope, open_envelope
from protocol.timestamps import moment, stamp

MAX_OWNERS = 16  # of one name; people who are asked about it


@dataclass(frozen=True, slots=True)
class Transfer:
    """An owner says: these own this name from now on."""

    name: str
    to: tuple[str, ...]  # names in the roster
    reason: str
    issued: datetime

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Transfer:
        """Return the transfer in a body that was proved; ArgumentError if it has another form."""
        if set(body) != {"type", "name", "to", "reason", "issued"} or body["type"] != "transfer":
            raise ArgumentError("the transfer does not have its fields", parameter="transfer")
        name, to, reason = body["name"], body["to"], body["reason"]
        if not isinstance(name, str) or not 0 < len(name) <= limits.MAX_NAME_CHARACTERS:
            raise ArgumentError("the transfer's name must be text", parameter="name")
        if not isinstance(reason, str) or len(reason) > limits.MAX_TEXT_CHARACTERS:
            raise ArgumentError("the transfer's reason must be text", parameter="reason")
        if (
            not isinstance(to, list)
            or not 1 <= len(to) <= MAX_OWNERS
            or not all(isinstance(each, str) and each and "\n" not in each for each in to)
        ):
            raise ArgumentError(f"a transfer is to 1 to {MAX_OWNERS} names of the roster", parameter="to")
        return cls(name, tuple(to), reason, moment(body["issued"], parameter="issued"))

    def body(self) -> dict[str, Any]:
        """Return the body to sign."""
        return {
            "type": "transfer", "name": self.name, "to": list(self.to), "reason": self.reason,
            "issued": stamp(self.issued),
        }  # fmt: skip


def authors_by_name(roster: Roster, name: str, now: datetime) -> frozenset[str]:
    """Return the people whom the roster lets publish ``name``."""
    return frozenset(person for key_id in roster.authors(name, now) if (person := roster.name_of(key_id)) is not None)


def owners_after(
    owners: Sequence[str], signers: frozenset[str], roster: Roster, name: str, now: datetime
) -> tuple[str, ...]:
    """Return who owns ``name`` once one of ``signers`` has published a version of it.

    Args:
        owners: As they are; nobody if the name is new.
        signers: People who signed the version and may publish in its namespace.
        roster: The newest one.
        name: Of the script.
        now: The present.

    Raises:
        DeniedError: It belongs to others.
    """
    living = authors_by_name(roster, name, now) & set(owners)
    if signers & living:
        return tuple(owners)
    if living:
        raise DeniedError(
            f"{name} belongs to {', '.join(sorted(living))}, who can hand it over (outrider script transfer)",
            rule="ownership",
        )
    return tuple(sorted(signers))


def check_transfer(
    envelope: Envelope, owners: Sequence[str], since: datetime | None, roster: Roster, now: datetime
) -> Transfer:
    """Return a transfer that counts.

    Args:
        envelope: The signed statement.
        owners: Of the name that it is about, as they are.
        since: When the transfer that made them owners was issued; None if there was none.
        roster: The newest one.
        now: The present.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key``, ``malformed``, ``expired`` or ``rollback``.
        DeniedError: An owner did not sign it, or the roster does not let one of the new owners publish the name.
    """
    try:
        opened = open_envelope(envelope, "transfer", roster.keys())
        transfer = Transfer.parse(opened.body)
    except TrustError:
        raise
    except OutriderError as error:
        raise TrustError(f"the transfer is malformed: {error.message}", reason="malformed") from None
    if transfer.issued > now + timedelta(seconds=limits.MAX_CLOCK_SKEW_S):
        raise TrustError(f"the transfer is dated {transfer.issued:%F %T} UTC, in the future", reason="expired")
    if since is not None and transfer.issued <= since:
        raise TrustError("the transfer is not newer than the one before it", reason="rollback")
    may = roster.authors(transfer.name, now)
    signers = {roster.name_of(key_id) for key_id in opened.key_ids if key_id in may}
    if not signers & set(owners):
        raise DeniedError(f"only an owner can hand over {transfer.name}: {', '.join(owners)}", rule="ownership")
    outside = sorted(set(transfer.to) - authors_by_name(roster, transfer.name, now))
    if outside:
        raise DeniedError(
            f"the roster does not let {', '.join(outside)} publish {transfer.name}; the roots decide that first",
            rule="ownership",
        )
    return transfer
