"""Whether a script may run at all: the one place where trust in it is decided. No clock, no disk, no network.

A script runs only if its digest is the published one; an author who holds its namespace signed that; enough reviewers,
none of them the author (neither the key nor the person), approved that digest for that tier; nobody who may do so
withdrew it; and the roster that says all this is still good. What cannot be proved is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from protocol import limits
from protocol.errors import OutriderError, TrustError
from protocol.manifest import Manifest
from protocol.roster import Roster
from protocol.signing import Envelope, Opened, open_envelope, peek
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
    unchanged_until: datetime  # from now until then, the same is proved by the same statements and roster


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

    Args:
        digest: Of the bundle that shall run; that the bundle has it, ``Bundle.verify`` shows.
        publication: By an author.
        approvals: By reviewers; those that do not count are passed over. Of two by one reviewer the newer one counts.
        withdrawals: All that are known.
        roster: The newest one that was proved.
        now: The present, read once for the whole decision.
        reviewers_needed: Different people who must have approved.

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
        for key_id in reviewers:
            known = counted.get(key_id)
            if known is None or known.issued < approval.issued:
                counted[key_id] = approval
    people = {roster.name_of(key_id) for key_id in counted}
    if len(people) < max(1, reviewers_needed):
        if refusals:
            raise refusals[0]
        raise TrustError(
            f"{published.name} {published.version} has {len(people)} of {max(1, reviewers_needed)} approvals it needs",
            reason="not_approved",
        )
    expires = min(item.expires for item in counted.values())
    # An approval that does not count may come to count (one from the future): then nothing is said about later.
    ends = [expires, roster.expires, *(item.expires for item in roster.members if item.expires and item.expires > now)]
    return Authorised(
        published.name, published.version, digest, min(item.tier for item in counted.values()),
        min(authors & set(roster.authors(published.name, now))),
        frozenset(counted), tuple(item.grant for item in counted.values()),
        expires, now if refusals or len(approvals) > limits.MAX_APPROVALS else min(ends),
    )  # fmt: skip


def check_publication(envelope: Envelope, roster: Roster, now: datetime) -> tuple[Publication, frozenset[str]]:
    """Return a proved publication and the keys that signed it as authors of its namespace.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``wrong_namespace``.
    """
    if not envelope.signatures:
        raise TrustError("the publication is not signed", reason="unsigned")
    opened, published = _opened(envelope, "publication", roster, Publication.parse)
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
    opened, approval = _opened(envelope, "approval", roster, Approval.parse)
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
    if approval.tier > published.tier:
        raise TrustError(
            f"the approval is for tier {approval.tier.label}, the author published {published.tier.label}",
            reason="mix_and_match",
        )
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
    opened, withdrawal = _opened(envelope, "withdrawal", roster, Withdrawal.parse)
    may = set(roster.authors(withdrawal.name, now)) | set(roster.reviewers(withdrawal.name, Tier.COMPUTE, now))
    if not opened.key_ids & may:
        raise TrustError(f"this key may not withdraw {withdrawal.name}", reason="wrong_namespace")
    return withdrawal, opened.key_ids


def check_manifest(authorised: Authorised, manifest: Manifest) -> None:
    """Return if the bundle's manifest says what its author signed about it.

    Raises:
        TrustError: ``mix_and_match``.
    """
    told, proved = (manifest.name, manifest.version), (authorised.name, authorised.version)
    if told != proved:
        raise TrustError(
            f"the manifest says {' '.join(told)}, its author signed {' '.join(proved)}", reason="mix_and_match"
        )


Statement = TypeVar("Statement", Publication, Approval, Withdrawal)


def _opened(
    envelope: Envelope, kind: str, roster: Roster, parse: Callable[[Mapping[str, Any]], Statement]
) -> tuple[Opened, Statement]:
    """Return a statement by anybody in the roster; what he may say is decided by the caller."""
    try:
        opened = open_envelope(envelope, kind, roster.keys())
        return opened, parse(opened.body)
    except TrustError:
        raise
    except OutriderError as error:
        raise TrustError(f"the {kind} is malformed: {error.message}", reason="malformed") from None


def _not_from_the_future(issued: datetime, now: datetime, what: str) -> None:
    if issued > now + timedelta(seconds=limits.MAX_CLOCK_SKEW_S):
        raise TrustError(f"the {what} is dated {issued:%F %T} UTC, in the future", reason="expired")
