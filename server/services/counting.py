"""Which approvals of a version count, by whom, and how many there must be; and taking one back.

What a host says may differ: it goes by its own roster, its owner's ceiling and labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from protocol.errors import DeniedError, TrustError
from protocol.signing import Envelope
from protocol.statements import Approval, Publication
from protocol.taking_back import check_revocation, revoked_until
from protocol.tiers import Tier
from protocol.timestamps import stamp
from protocol.trust import check_approval, check_publication
from server import clock
from server.core import Core
from server.services import desired, scripts
from server.services.review_rows import brief, find
from server.store.tables import reviews, revocations

MIN_LONGER: Final = timedelta(days=1)  # by which a second approval that says the same must end later, to be a renewal


class Counted(NamedTuple):
    """One person's approval that counts now."""

    name: str
    approval: Approval


def counted(core: Core, connection: Connection, row: Row[Any], now: datetime) -> list[Counted]:
    """Return the approvals of a version that count, of each person the newest."""
    given, taken = scripts.statements(connection, row.digest)
    try:
        published, authors = check_publication(Envelope.from_json(row.publication), core.roster, now)
    except TrustError:
        return []
    newest: dict[str, Approval] = {}
    until = revoked_until(published, taken, core.roster)
    for envelope in given:
        for name, approval in _people(core, envelope, published, authors, now):
            is_taken_back = name in until and approval.issued <= until[name]
            if not is_taken_back and (name not in newest or newest[name].issued < approval.issued):
                newest[name] = approval
    return [Counted(name, approval) for name, approval in sorted(newest.items())]


def _people(
    core: Core, envelope: Envelope, published: Publication, authors: frozenset[str], now: datetime
) -> list[tuple[str, Approval]]:
    try:
        approval, key_ids = check_approval(envelope, published, authors, core.roster, now)
    except TrustError:
        return []
    return [(core.roster.name_of(key_id) or "?", approval) for key_id in key_ids]


def refuse_repetition(found: list[Counted], name: str, approval: Approval) -> None:
    """Return if an approval says something that its reviewer has not said already.

    Raises:
        DeniedError: It does not; a refusal that is on the record.
    """
    for each in found:
        said = each.approval
        is_longer = approval.expires >= said.expires + MIN_LONGER
        if each.name == name and (said.tier, said.grant) == (approval.tier, approval.grant) and not is_longer:
            raise DeniedError(
                f"{name} has approved {approval.name} {approval.version} already, until {said.expires:%F %T} UTC",
                rule="one approval of each person",
            )


def refuse_taken_back(
    core: Core, connection: Connection, row: Row[Any], published: Publication, name: str, approval: Approval
) -> None:
    """Return if an approval is dated later than what its reviewer took back.

    Raises:
        TrustError: ``revoked``: it is not, so it would count for nothing.
    """
    _, taken = scripts.statements(connection, row.digest)
    until = revoked_until(published, taken, core.roster).get(name)
    if until is not None and approval.issued <= until:
        raise TrustError(
            f"{name} took approvals of {approval.name} {approval.version} back that are dated up to {until:%F %T} UTC",
            reason="revoked",
        )


def superseded(found: Iterable[Counted], reviewer: str, approval: Approval) -> str | None:
    """Return what to say to a reviewer whose approval stands already with something else; None if there is none."""
    earlier = [each for each in found if each.name == reviewer]
    if not any((each.approval.tier, each.approval.grant) != (approval.tier, approval.grant) for each in earlier):
        return None
    return (
        f"{reviewer} has approved it before, for something else: this approval takes the place of that one, on each"
        " host as soon as it is connected"
    )


def standing(core: Core, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return who approves a version now, and how many must."""
    found = counted(core, connection, row, clock.now())
    tier = min((each.approval.tier for each in found), default=Tier.parse(row.tier))
    return {
        "reviewers": scripts.reviewers_needed(core, tier),
        "approved_by": [
            {
                "name": each.name, "tier": each.approval.tier.label, "grant": each.approval.grant,
                "expires": stamp(each.approval.expires), "reason": each.approval.reason,
            }
            for each in found
        ],
    }  # fmt: skip


async def revoke(core: Core, identity: str, envelope: Envelope, principal: str) -> dict[str, Any]:
    """Take what a reviewer approved of a version back, and tell all agents.

    Raises:
        TrustError: The statement proves nothing, or is about another version.
        DeniedError: Its signer approves nothing of it now.
        NotFoundError: There is no such review.
    """
    revocation, key_ids = check_revocation(envelope, core.roster)
    names = sorted({core.roster.name_of(key_id) or "?" for key_id in key_ids})

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        if (row.digest, row.name, row.version) != (revocation.digest, revocation.name, revocation.version):
            raise TrustError("the revocation is about another version than this review", reason="mix_and_match")
        is_same = (revocations.c.digest == row.digest) & (revocations.c.envelope == envelope.to_json())
        if connection.execute(select(revocations.c.id).where(is_same)).first() is not None:
            return brief(row)
        if not any(each.name in names for each in counted(core, connection, row, clock.now())):
            raise DeniedError(
                f"{', '.join(names)} approves nothing of {row.name} {row.version} now", rule="one's own approval"
            )
        connection.execute(
            insert(revocations).values(
                digest=row.digest, reviewer=names[0], envelope=envelope.to_json(), stored_us=clock.now_us()
            )
        )
        script = scripts.by_digest(connection, row.digest)
        if row.state == "approved" and scripts.status(core, connection, script) != scripts.APPROVED:
            _reopen(connection, identity)
        core.ledger.append(
            connection, call="review.revoke", principal=principal,
            arguments={
                "review": identity, "script": row.name, "version": row.version, "digest": row.digest,
                "reviewer": names[0], "reason": revocation.reason,
            },
        )  # fmt: skip
        return brief(find(connection, identity))

    answer = await core.database.write(store)
    desired.push_all(core)
    return answer


def _reopen(connection: Connection, identity: str) -> None:
    nothing = {"decided_us": None, "decided_by": None, "reason": None}
    connection.execute(update(reviews).where(reviews.c.id == identity).values(state="open", **nothing))
