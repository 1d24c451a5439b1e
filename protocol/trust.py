"""Whether a script may run at all: the one place where trust in it is decided. No clock, no disk, no network.

A script runs only if its digest is the published one; an author who holds its namespace signed that; enough reviewers,
none of them the author (neither the key nor the person), approved that digest for that tier and for such a host, and
did not take it back; nobody who may do so withdrew it; and the roster that says all this is still good. How many are
enough the roster says, and whoever asks may ask for more. What cannot be proved is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol import limits
from protocol.errors import TrustError
from protocol.manifest import Manifest
from protocol.roster import Roster, needed
from protocol.signing import Envelope
from protocol.statements import Approval, Publication
from protocol.taking_back import check_not_withdrawn, check_withdrawal, not_from_the_future, opened_by, revoked_until
from protocol.tiers import Tier

__all__ = [
    "Authorised", "authorise", "check_approval", "check_manifest", "check_not_withdrawn", "check_publication",
    "check_withdrawal",
]  # fmt: skip


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
    reviewers_needed: int | Mapping[Tier, int] = 1,
    labels: Mapping[str, str] | None = None,
) -> Authorised:
    """Return what is proved about ``digest``.

    Args:
        digest: Of the bundle that shall run; that the bundle has it, ``Bundle.verify`` shows.
        publication: By an author.
        approvals: By reviewers; those that do not count are passed over. Of two by one reviewer the newer one counts.
        withdrawals: All withdrawals and revocations that are known.
        roster: The newest one that was proved.
        now: The present, read once for the whole decision.
        reviewers_needed: Different people who must have approved, by tier or for every one; the roster may need more.
        labels: Of the host where it shall run, as its owner wrote them; None where no host is meant, and approvals for
            some hosts only count as well.

    Raises:
        TrustError: It must not run; ``reason`` says why.
    """
    if roster.is_expired(now):
        raise TrustError(f"the roster, version {roster.version}, has expired", reason="expired")
    published, authors = check_publication(publication, roster, now)
    if published.digest != digest:
        raise TrustError(f"the publication is about {published.digest}, not {digest}", reason="wrong_digest")
    check_not_withdrawn(published, withdrawals, roster, now)
    taken_back = revoked_until(published, withdrawals, roster)
    counted: dict[str, Approval] = {}
    refusals: list[TrustError] = []
    for envelope in approvals[: limits.MAX_APPROVALS]:
        try:
            approval, reviewers = check_approval(envelope, published, authors, roster, now)
            _check_labels(approval, labels)
            reviewers = _standing(approval, reviewers, roster, taken_back)
        except TrustError as error:
            refusals.append(error)
            continue
        for key_id in reviewers:
            known = counted.get(key_id)
            if known is None or known.issued < approval.issued:
                counted[key_id] = approval
    people = {roster.name_of(key_id) for key_id in counted}
    enough = _enough(counted, roster, reviewers_needed)
    if len(people) < enough:
        if refusals:
            raise refusals[0]
        raise TrustError(
            f"{published.name} {published.version} has {len(people)} of {enough} approvals it needs",
            reason="not_approved",
        )
    expires = min(item.expires for item in counted.values())
    # An approval that does not count may come to count (one from the future): then nothing is said about later.
    ends = [expires, roster.expires, *(item.expires for item in roster.members if item.expires and item.expires > now)]
    return Authorised(
        published.name, published.version, digest, min(item.tier for item in counted.values()),
        min(roster.authors(published.name, now, issued=published.issued, among=authors)),
        frozenset(counted), tuple(item.grant for item in counted.values()),
        expires, now if refusals or len(approvals) > limits.MAX_APPROVALS else min(ends),
    )  # fmt: skip


def _enough(counted: Mapping[str, Approval], roster: Roster, wanted: int | Mapping[Tier, int]) -> int:
    """Return how many people must approve for the tier that those who did would let it run at."""
    tier = min((item.tier for item in counted.values()), default=Tier.COMPUTE)
    asked = wanted if isinstance(wanted, int) else needed(wanted, tier)
    return max(1, asked, needed(roster.reviewers_needed, tier))


def _check_labels(approval: Approval, labels: Mapping[str, str] | None) -> None:
    if labels is None:
        return
    missing = {key: value for key, value in approval.labels.items() if labels.get(key) != value}
    if missing:
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(missing.items()))
        raise TrustError(
            f"{approval.name} is approved for hosts with {wanted:.200}, which this host's owner does not say of it",
            reason="not_approved",
        )


def _standing(
    approval: Approval, reviewers: frozenset[str], roster: Roster, taken_back: Mapping[str, datetime]
) -> frozenset[str]:
    """Return those of an approval's reviewers who did not take it back."""
    standing = frozenset(
        key_id
        for key_id in reviewers
        if (until := taken_back.get(roster.name_of(key_id) or "?")) is None or approval.issued > until
    )
    if not standing:
        raise TrustError(
            f"{_names(reviewers, roster)} took the approval of {approval.name} {approval.version} back",
            reason="revoked",
        )
    return standing


def check_publication(envelope: Envelope, roster: Roster, now: datetime) -> tuple[Publication, frozenset[str]]:
    """Return a proved publication and the keys that signed it as authors of its namespace.

    Raises:
        TrustError: ``unsigned``, ``bad_signature``, ``unknown_key`` or ``wrong_namespace``.
    """
    if not envelope.signatures:
        raise TrustError("the publication is not signed", reason="unsigned")
    opened, published = opened_by(envelope, "publication", roster, Publication.parse)
    not_from_the_future(published.issued, now, "publication")
    if not roster.authors(published.name, now, issued=published.issued, among=opened.key_ids):
        _refuse_revoked(opened.key_ids, roster, "publication")
        raise TrustError(f"{_names(opened.key_ids, roster)} may not publish {published.name}", reason="wrong_namespace")
    return published, opened.key_ids


def check_approval(
    envelope: Envelope, published: Publication, authors: frozenset[str], roster: Roster, now: datetime
) -> tuple[Approval, frozenset[str]]:
    """Return a proved approval of ``published`` and the keys of the reviewers who count.

    Raises:
        TrustError: It does not count; ``reason`` says why.
    """
    opened, approval = opened_by(envelope, "approval", roster, Approval.parse)
    if approval.digest != published.digest:
        raise TrustError(f"the approval is about {approval.digest}, not {published.digest}", reason="wrong_digest")
    if (approval.name, approval.version) != (published.name, published.version):
        raise TrustError(
            f"the approval names {approval.name} {approval.version},"
            f" the publication {published.name} {published.version}",
            reason="mix_and_match",
        )
    not_from_the_future(approval.issued, now, "approval")
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
    reviewers = frozenset(
        roster.reviewers(approval.name, approval.tier, now, issued=approval.issued, among=opened.key_ids)
    )
    if not reviewers:
        _refuse_revoked(opened.key_ids, roster, "approval")
        raise TrustError(
            f"{_names(opened.key_ids, roster)} may not approve {approval.name} for tier {approval.tier.label}"
            f"{_ended(opened.key_ids, roster, now)}",
            reason="not_approved",
        )
    return approval, reviewers


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


def _names(key_ids: frozenset[str], roster: Roster) -> str:
    return ", ".join(sorted(roster.name_of(key_id) or "?" for key_id in key_ids))


def _ended(key_ids: frozenset[str], roster: Roster, now: datetime) -> str:
    """Return since when keys may do nothing more, as the end of a sentence; empty if that is not the reason."""
    for member in map(roster.member, sorted(key_ids)):
        if member is not None and member.expires is not None and now >= member.expires:
            return f": the key of {member.name} expired at {member.expires:%F %T} UTC"
        if member is not None and member.retired is not None:
            return f": the key of {member.name} was retired at {member.retired:%F %T} UTC"
    return ""


def _refuse_revoked(key_ids: frozenset[str], roster: Roster, what: str) -> None:
    for member in map(roster.member, sorted(key_ids)):
        if member is not None and member.revoked is not None:
            raise TrustError(
                f"the {what} is signed by a key of {member.name} that was revoked at {member.revoked:%F %T} UTC",
                reason="revoked",
            )
