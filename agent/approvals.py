"""Which approvals of a bundle a host keeps when it hears of more. Pure: no clock, no disk.

- Only what proves something is added, so nobody but reviewers decides what lies beside a bundle.
- Nothing that counts is let go, whatever is said later: a server that shows an earlier, wider approval does not bring
  it back on a host that has a newer one of the same reviewer.
- What is dated later than it is here is kept as well, and counts from then on: this host's clock may be behind, and the
  server, which was told that it has been heard, does not say it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from agent import limits
from agent.cache import Entry
from agent.logs import LOG
from protocol.errors import OutriderError
from protocol.roster import Roster
from protocol.signing import Envelope, peek
from protocol.statements import Approval, Publication
from protocol.trust import check_approval, check_publication


def adding(entry: Entry, approvals: Iterable[Envelope], roster: Roster, now: datetime) -> Entry:
    """Return an entry with those of ``approvals`` that count, or will, and are not in it; itself if there are none.

    If that is more than a host keeps, it keeps of each reviewer's key the newest that counts.
    """
    more = [each for each in dict.fromkeys(approvals) if each not in entry.approvals]
    counted = _counted(entry, more, roster, now)
    if not counted:
        return entry
    together = (*(envelope for envelope, _, _ in counted), *entry.approvals)
    if len(together) > limits.MAX_APPROVALS:
        together = _newest(_counted(entry, together, roster, now))
    return replace(entry, approvals=together[: limits.MAX_APPROVALS])


def _counted(
    entry: Entry, approvals: Iterable[Envelope], roster: Roster, now: datetime
) -> list[tuple[Envelope, Approval, frozenset[str]]]:
    """Return those that count, now or from their own date on, with what they say and the keys of their reviewers."""
    found = []
    for envelope in approvals:
        try:
            then = max(now, _claimed(entry.publication, Publication), _claimed(envelope, Approval))
            published, authors = check_publication(entry.publication, roster, then)
            found.append((envelope, *check_approval(envelope, published, authors, roster, then)))
        except OutriderError as error:
            LOG.info("an approval of %s counts for nothing here: %s", entry.bundle.digest, error)
    return found


def _claimed(envelope: Envelope, kind: type[Approval] | type[Publication]) -> datetime:
    """Return when a statement says that it was made, which is not proved yet; raises as parsing does."""
    return kind.parse(peek(envelope)).issued


def _newest(counted: Iterable[tuple[Envelope, Approval, frozenset[str]]]) -> tuple[Envelope, ...]:
    newest: dict[str, tuple[Approval, Envelope]] = {}
    for envelope, approval, key_ids in counted:
        for key_id in key_ids:
            if key_id not in newest or newest[key_id][0].issued < approval.issued:
                newest[key_id] = approval, envelope
    return tuple(dict.fromkeys(envelope for _, envelope in newest.values()))
