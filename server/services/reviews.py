"""Reviews: what a version asks for, what its code may call, what changed; approving and rejecting."""

from __future__ import annotations

import difflib
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from protocol.bundle import Bundle
from protocol.errors import ConflictError, NotFoundError
from protocol.signing import Envelope
from protocol.trust import check_approval, check_publication
from server import clock
from server.core import Core
from server.services import scripts as service
from server.store.tables import approvals, reviews, scripts

MAX_DIFF_CHARACTERS = 256 << 10  # of a difference shown; the files themselves are always there


def find(connection: Connection, identity: str) -> Row[Any]:
    """Return a review with its script.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = connection.execute(_joined().where(reviews.c.id == identity)).first()
    if row is None:
        raise NotFoundError(f"there is no review {identity[:40]!r}")
    return row


def _joined() -> Any:
    return select(
        reviews, scripts.c.name, scripts.c.version, scripts.c.tier, scripts.c.author, scripts.c.publication
    ).join(scripts, scripts.c.digest == reviews.c.digest)


def query(state: str | None) -> Any:
    """Return the query for reviews of one state, or all."""
    return _joined() if state is None else _joined().where(reviews.c.state == state)


def brief(row: Row[Any]) -> dict[str, Any]:
    """Return a review as a list shows it."""
    return {
        "id": row.id, "script": row.name, "version": row.version, "digest": row.digest, "tier": row.tier,
        "author": row.author, "state": row.state, "created": clock.text(row.created_us),
        "decided": clock.text(row.decided_us), "decided_by": row.decided_by, "reason": row.reason,
    }  # fmt: skip


def show(core: Core, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """Return all that a reviewer needs: asked tier, inferred calls and tier, needs, files, and the difference to the
    version that was approved before."""
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    found = service.analysis_of(bundle)
    unknown = {**found.unknown, **{".".join(names): places for names, places in found.absent.items()}}
    before = _approved_before(core, connection, row)
    return brief(row) | {
        "inferred_tier": found.tier.label, "calls": sorted(found.calls), "dynamic": list(found.dynamic),
        "unknown": [f"{name} ({', '.join(places)})" for name, places in sorted(unknown.items())],
        "needs": [
            {"call": need.call} | ({"paths": list(need.paths)} if need.paths else {}) for need in bundle.manifest.needs
        ],
        "manifest": service.manifest_view(bundle), "files": service.texts(bundle),
        "previous": None if before is None else before.manifest.version,
        "diff": None if before is None else difference(before, bundle),
    }  # fmt: skip


def _approved_before(core: Core, connection: Connection, row: Row[Any]) -> Bundle | None:
    older = connection.execute(
        select(scripts)
        .join(reviews, reviews.c.digest == scripts.c.digest)
        .where(scripts.c.name == row.name, scripts.c.digest != row.digest, reviews.c.state == "approved")
        .order_by(reviews.c.decided_us.desc())
        .limit(1)
    ).first()
    return None if older is None else core.repository.bundle(older.name, older.version, older.digest)


def difference(before: Bundle, after: Bundle) -> str:
    """Return the unified difference of two bundles' files."""
    old, new = service.texts(before), service.texts(after)
    parts: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        lines = difflib.unified_diff(
            old.get(path, "").splitlines(), new.get(path, "").splitlines(),
            f"{before.manifest.version}/{path}", f"{after.manifest.version}/{path}", lineterm="",
        )  # fmt: skip
        parts += lines
    text = "\n".join(parts)
    if len(text) <= MAX_DIFF_CHARACTERS:
        return text
    return text[:MAX_DIFF_CHARACTERS] + f"\n(cut: {len(text)} characters in all)"


async def approve(core: Core, identity: str, envelope: Envelope, principal: str) -> dict[str, Any]:
    """Take a reviewer's approval.

    Raises:
        TrustError: It does not count; says why.
        ConflictError: The review was rejected.
    """
    row = await core.database.read(lambda connection: find(connection, identity))
    published, authors = check_publication(Envelope.from_json(row.publication), core.roster, clock.now())
    approval, reviewers = check_approval(envelope, published, authors, core.roster, clock.now())
    reviewer = core.roster.name_of(min(reviewers)) or "?"
    is_same = (approvals.c.digest == row.digest) & (approvals.c.envelope == envelope.to_json())

    def store(connection: Connection) -> dict[str, Any]:
        if find(connection, identity).state == "rejected":
            raise ConflictError(f"review {identity} was rejected; publish a new version")
        if connection.execute(select(approvals.c.id).where(is_same)).first() is not None:
            return brief(find(connection, identity))  # else one reviewer's own could push those of others out of sight
        connection.execute(
            insert(approvals).values(
                digest=row.digest, reviewer=reviewer, envelope=envelope.to_json(), stored_us=clock.now_us()
            )
        )
        script = service.by_digest(connection, row.digest)
        if service.status(core, connection, script) == service.APPROVED:
            _decide(connection, identity, "approved", reviewer, approval.reason)
        core.ledger.append(
            connection, call="review.approve", principal=principal,
            arguments={
                "review": identity, "script": row.name, "version": row.version, "digest": row.digest,
                "reviewer": reviewer, "tier": approval.tier.label, "reason": approval.reason,
            },
        )  # fmt: skip
        return brief(find(connection, identity))

    return await core.database.write(store)


async def reject(core: Core, identity: str, reason: str, principal: str) -> dict[str, Any]:
    """Reject a review that is open.

    Raises:
        ConflictError: It is decided already.
    """

    def store(connection: Connection) -> dict[str, Any]:
        row = find(connection, identity)
        if row.state != "open":
            raise ConflictError(f"review {identity} is {row.state} already")
        _decide(connection, identity, "rejected", principal, reason)
        core.ledger.append(
            connection, call="review.reject", principal=principal,
            arguments={"review": identity, "script": row.name, "version": row.version, "reason": reason},
        )  # fmt: skip
        return brief(find(connection, identity))

    return await core.database.write(store)


def _decide(connection: Connection, identity: str, state: str, who: str, reason: str) -> None:
    connection.execute(
        update(reviews)
        .where(reviews.c.id == identity)
        .values(state=state, decided_us=clock.now_us(), decided_by=who, reason=reason)
    )
