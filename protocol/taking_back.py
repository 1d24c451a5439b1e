"""Withdrawals and revocations: what takes back that a script may run.

A withdrawal ends a digest for good: an author of its namespace or a reviewer of it says so. A revocation ends what its
signer approved up to a moment; approving again later counts again. Both only ever take away, so whoever brings one is
not asked how: a signature is enough, and one that came once is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from protocol import limits
from protocol.errors import OutriderError, TrustError
from protocol.roster import Roster
from protocol.signing import Envelope, Opened, open_envelope, payload_type, peek
from protocol.statements import Approval, Publication, Revocation, Withdrawal
from protocol.tiers import Tier

Statement = TypeVar("Statement", Publication, Approval, Withdrawal, Revocation)
REVOCATION = payload_type("revocation")


def opened_by(
    envelope: Envelope, kind: str, roster: Roster, parse: Callable[[Mapping[str, Any]], Statement]
) -> tuple[Opened, Statement]:
    """Return a statement by anybody in the roster; what they may say is decided by the caller.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key``, ``wrong_type`` or ``malformed``.
    """
    try:
        opened = open_envelope(envelope, kind, roster.keys())
        return opened, parse(opened.body)
    except TrustError:
        raise
    except OutriderError as error:
        raise TrustError(f"the {kind} is malformed: {error.message}", reason="malformed") from None


def not_from_the_future(issued: datetime, now: datetime, what: str) -> None:
    """Return if a statement is not dated later than clocks may differ; TrustError ``expired`` if it is."""
    if issued > now + timedelta(seconds=limits.MAX_CLOCK_SKEW_S):
        raise TrustError(f"the {what} is dated {issued:%F %T} UTC, in the future", reason="expired")


def check_not_withdrawn(published: Publication, withdrawals: Sequence[Envelope], roster: Roster, now: datetime) -> None:
    """Return if neither the roots nor anybody who may do so has withdrawn the digest.

    Raises:
        TrustError: ``withdrawn``.
    """
    if published.digest in roster.withdrawn:
        raise TrustError(
            f"{published.name} {published.version} was withdrawn by the roster, version {roster.version}",
            reason="withdrawn",
        )
    for envelope in withdrawals:
        try:
            if envelope.payload_type == REVOCATION or peek(envelope).get("digest") != published.digest:
                continue
            withdrawal, _ = check_withdrawal(envelope, roster, now)
        except OutriderError:  # a withdrawal that proves nothing withdraws nothing
            continue
        # The name counts too: who holds another namespace may not withdraw this script by naming its digest there.
        if (withdrawal.digest, withdrawal.name) == (published.digest, published.name):
            raise TrustError(
                f"{published.name} {published.version} was withdrawn: {withdrawal.reason:.200}", reason="withdrawn"
            )


def check_withdrawal(envelope: Envelope, roster: Roster, now: datetime) -> tuple[Withdrawal, frozenset[str]]:
    """Return a proved withdrawal and who signed it: an author of the namespace, or a reviewer of it.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``wrong_namespace``.
    """
    opened, withdrawal = opened_by(envelope, "withdrawal", roster, Withdrawal.parse)
    issued = withdrawal.issued
    may = set(roster.authors(withdrawal.name, now, issued=issued))
    may |= set(roster.reviewers(withdrawal.name, Tier.COMPUTE, now, issued=issued))
    if not opened.key_ids & may:
        raise TrustError(f"this key may not withdraw {withdrawal.name}", reason="wrong_namespace")
    return withdrawal, opened.key_ids


def check_revocation(envelope: Envelope, roster: Roster) -> tuple[Revocation, frozenset[str]]:
    """Return a proved revocation and the keys that signed it.

    It takes back what the holders of those keys approved, whatever became of the keys since: one that may not say
    "yes" any more may still say "no".

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``malformed``.
    """
    opened, revocation = opened_by(envelope, "revocation", roster, Revocation.parse)
    return revocation, opened.key_ids


def revoked_until(published: Publication, envelopes: Sequence[Envelope], roster: Roster) -> dict[str, datetime]:
    """Return until when each person's approvals of a digest are taken back; nobody stands there who took none back."""
    until: dict[str, datetime] = {}
    for envelope in envelopes:
        if envelope.payload_type != REVOCATION:
            continue
        try:
            if peek(envelope).get("digest") != published.digest:
                continue
            revocation, key_ids = check_revocation(envelope, roster)
        except OutriderError:  # one that proves nothing takes nothing back
            continue
        for name in (roster.name_of(key_id) or "?" for key_id in key_ids):
            until[name] = max(until.get(name, revocation.issued), revocation.issued)
    return until
