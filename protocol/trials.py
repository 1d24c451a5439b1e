"""Whether a version under review may be tried: run dry on a host whose owner lets reviewers do that. Pure.

Nobody need have approved it; that is what a trial is before. All else that proves a script is proved of it as well: its
digest, its author's publication, that nobody withdrew it, a good roster. Who orders the trial answers for it with a
signature, so nobody orders one of what they published themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from protocol.errors import TrustError
from protocol.roster import Roster
from protocol.signing import Envelope
from protocol.trust import Authorised, check_not_withdrawn, check_publication


@dataclass(frozen=True, slots=True)
class Triable:
    """What was proved about a version that may be tried, and whose it is."""

    proved: Authorised  # at the tier that its author published it for, without approvals
    author_key_ids: frozenset[str]


def prove_triable(
    digest: str, publication: Envelope, withdrawals: Sequence[Envelope], roster: Roster, now: datetime
) -> Triable:
    """Return what is proved about ``digest`` without its approvals.

    Args:
        digest: Of the bundle that shall be tried; that the bundle has it, ``Bundle.verify`` shows.
        publication: By an author.
        withdrawals: All that are known.
        roster: The newest one that was proved.
        now: The present.

    Raises:
        TrustError: It must not even be tried; ``reason`` says why, as of :func:`protocol.trust.authorise`.
    """
    if roster.is_expired(now):
        raise TrustError(f"the roster, version {roster.version}, has expired", reason="expired")
    published, authors = check_publication(publication, roster, now)
    if published.digest != digest:
        raise TrustError(f"the publication is about {published.digest}, not {digest}", reason="wrong_digest")
    check_not_withdrawn(published, withdrawals, roster, now)
    proved = Authorised(
        published.name, published.version, digest, published.tier,
        min(roster.authors(published.name, now, issued=published.issued, among=authors)),
        frozenset(), (), roster.expires, now,
    )  # fmt: skip
    return Triable(proved, authors)


def check_not_own(author_key_ids: frozenset[str], ordered_by: frozenset[str], roster: Roster) -> None:
    """Return if none of those who ordered a trial is an author of what is tried, neither by key nor as a person.

    Raises:
        TrustError: ``self_approval``.
    """
    people = {roster.name_of(key_id) for key_id in author_key_ids}
    if any(key_id in author_key_ids or roster.name_of(key_id) in people for key_id in ordered_by):
        raise TrustError("an author cannot order a trial of their own script", reason="self_approval")
