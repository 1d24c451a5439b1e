"""Whether a script may run at all: the one place where trust in it is decided. No clock, no disk, no network.

A script runs only if its digest is the published one; an author who holds its namespace signed that; enough reviewers,
none of them the author (neither the key nor the person), approved that digest for that tier; nobody who may do so
withdrew it; and the roster that says all this is still good. What cannot be proved is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from protocol import limits
from protocol.errors import ArgumentError, TrustError
from protocol.roster import Roster
from protocol.signing import Envelope, open_envelope, peek
from protocol.statements import Approval, Publication, Withdrawal
from protocol.tiers import Tier


@dataclass(frozen=True, slots=True)
class Authorised:
    """What was proved about a digest."""

    name: str
    version: str
    digest: str
    tier: Tier  # that it was approved for
    author_key_id: str
    reviewer_key_ids: frozenset[str]
    grants: tuple[dict[str, Any], ...]  # of every approval that counted; each narrows
    expires: datetime  # when the first approval that counted ends


def authorise(
    digest: str,
    publication: Envelope,
    approvals: Sequence[Envelope],
    withdrawals: Sequence[Envelope],
    roster: Roster,
    now: datetime,
    *,
    reviewers_needed: int = 1,
) -> Authorised:
    """Return what is proved about ``digest``.

    Raises:
        TrustError: It must not run; ``reason`` says why.
    """
    if roster.is_expired(now):
        raise TrustError(f"the roster, version {roster.version}, has expired", reason="expired")
    published, authors = check_publication(publication, roster, now)
    if published.digest != digest:
        raise TrustError(f"the publication is about {published.digest}, not {digest}", reason="wrong_digest")
    check_not_withdrawn(published, withdrawals, roster, now)
    counted: dict[str, Approval] = {}
    refusals: list[TrustError] = []
    for envelope in approvals[: limits.MAX_APPROVALS]:
        try:
            approval, reviewers = check_approval(envelope, published, authors, roster, now)
        except TrustError as error:
            refusals.append(error)
            continue
        counted |= dict.fromkeys(reviewers, approval)
    people = {roster.name_of(key_id) for key_id in counted}
    if len(people) < max(1, reviewers_needed):
        if refusals:
            raise refusals[0]
        raise TrustError(
            f"{published.name} {published.version} has {len(people)} of {max(1, reviewers_needed)} approvals it needs",
            reason="not_approved",
        )
    return Authorised(
        published.name, published.version, digest, min(item.tier for item in counted.values()), min(authors),
        frozenset(counted), tuple(item.grant for item in counted.values()),
        min(item.expires for item in counted.values()),
    )  # fmt: skip


def check_publication(envelope: Envelope, roster: Roster, now: datetime) -> tuple[Publication, frozenset[str]]:
    """Return a proved publication and the keys that signed it as authors of its namespace.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``wrong_namespace``.
    """
    if not envelope.signatures:
        raise TrustError("the publication is not signed", reason="unsigned")
    opened = open_envelope(envelope, "publication", roster.keys())
    published = Publication.parse(opened.body)
    _not_from_the_future(published.issued, now, "publication")
    authors = opened.key_ids & set(roster.authors(published.name, now))
    if not authors:
        names = ", ".join(sorted(roster.name_of(key_id) or "?" for key_id in opened.key_ids))
        raise TrustError(f"{names} may not publish {published.name}", reason="wrong_namespace")
    return published, opened.key_ids


def check_approval(
    envelope: Envelope, published: Publication, authors: frozenset[str], roster: Roster, now: datetime
) -> tuple[Approval, frozenset[str]]:
    """Return a proved approval of ``published`` and the keys of the reviewers who count.

    Raises:
        TrustError: It does not count; ``reason`` says why.
    """
    opened = open_envelope(envelope, "approval", roster.keys())
    approval = Approval.parse(opened.body)
    if approval.digest != published.digest:
        raise TrustError(f"the approval is about {approval.digest}, not {published.digest}", reason="wrong_digest")
    if (approval.name, approval.version) != (published.name, published.version):
        raise TrustError(
            f"the approval names {approval.name} {approval.version},"
            f" the publication {published.name} {published.version}",
            reason="mix_and_match",
        )
    _not_from_the_future(approval.issued, now, "approval")
    if now >= approval.expires:
        raise TrustError(f"the approval of {approval.name} expired at {approval.expires:%F %T} UTC", reason="expired")
    people = {roster.name_of(key_id) for key_id in authors}
    if any(key_id in authors or roster.name_of(key_id) in people for key_id in opened.key_ids):
        raise TrustError("an author cannot approve their own script", reason="self_approval")
    reviewers = opened.key_ids & set(roster.reviewers(approval.name, approval.tier, now))
    if not reviewers:
        names = ", ".join(sorted(roster.name_of(key_id) or "?" for key_id in opened.key_ids))
        raise TrustError(
            f"{names} may not approve {approval.name} for tier {approval.tier.label}", reason="not_approved"
        )
    return approval, reviewers


def check_not_withdrawn(published: Publication, withdrawals: Sequence[Envelope], roster: Roster, now: datetime) -> None:
    """Return if nobody who may do so has withdrawn the digest.

    Raises:
        TrustError: ``withdrawn``.
    """
    for envelope in withdrawals:
        try:
            if peek(envelope).get("digest") != published.digest:
                continue
            withdrawal, _ = check_withdrawal(envelope, roster, now)
        except (TrustError, ArgumentError):  # a withdrawal that proves nothing withdraws nothing
            continue
        if withdrawal.digest == published.digest:
            raise TrustError(
                f"{published.name} {published.version} was withdrawn: {withdrawal.reason:.200}", reason="withdrawn"
            )


def check_withdrawal(envelope: Envelope, roster: Roster, now: datetime) -> tuple[Withdrawal, frozenset[str]]:
    """Return a proved withdrawal and who signed it: an author of the namespace, or a reviewer of it.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``wrong_namespace``.
    """
    opened = open_envelope(envelope, "withdrawal", roster.keys())
    withdrawal = Withdrawal.parse(opened.body)
    may = set(roster.authors(withdrawal.name, now)) | set(roster.reviewers(withdrawal.name, Tier.COMPUTE, now))
    if not opened.key_ids & may:
        raise TrustError(f"this key may not withdraw {withdrawal.name}", reason="wrong_namespace")
    return withdrawal, opened.key_ids


def _not_from_the_future(issued: datetime, now: datetime, what: str) -> None:
    if issued > now + timedelta(seconds=limits.MAX_CLOCK_SKEW_S):
        raise TrustError(f"the {what} is dated {issued:%F %T} UTC, in the future", reason="expired")
