"""Reviews: what a version asks for, what its code may call, what changed; approving and rejecting."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, true, update

from policies.compare import Asked, Change, compare
from protocol.bundle import Bundle
from protocol.code_parts import parts, texts
from protocol.errors import ConflictError, UnavailableError
from protocol.signing import Envelope
from protocol.tiers import Tier
from protocol.trust import check_approval, check_publication
from server import clock
from server.core import Core
from server.findings import encodable
from server.services import comments, counting, desired, history, insights
from server.services import scripts as service
from server.services.remembered import Remembered
from server.services.review_rows import brief, find, find_for, query
from server.services.visibility import Viewer, versions_for
from server.store.tables import approvals, reviews, scripts, withdrawals

__all__ = [
    "approve", "brief", "code_parts", "compared", "encoded", "files", "find", "find_for", "listed", "query", "reject",
    "show", "since",
]  # fmt: skip

MAX_READ_AT_ONCE: Final = (
    25  # versions that one page reads because nothing is kept of them; the others are told as None
)
MAX_GAINED: Final = 10  # changes of one review in a list
MAX_GAINED_TEXT: Final = 200  # characters of each
MAX_CHANGES: Final = 500  # of one review that is shown
_SUMMARIES: Final = Remembered(2_000)  # under 3 KiB each; they depend on nothing but two digests


# what changed --------------------------------------------------------------------------------------------------------


def listed(core: Core, connection: Connection, rows: Sequence[Row[Any]], viewer: Viewer) -> list[dict[str, Any]]:
    """Return reviews as a list shows them, with what each gained since the version that was approved before."""
    left = MAX_READ_AT_ONCE
    checked = comments.checked(connection, [row.id for row in rows])
    found = []
    for row in rows:
        base = _approved_before(connection, row, viewer)
        key = (row.digest, "" if base is None else base.digest, insights.made_by())
        about = _SUMMARIES.find(key)
        if about is None:
            unread = sum(insights.kept(connection, digest) is None for digest in key[:2] if digest)
            left -= unread
            if left >= 0:
                with suppress(UnavailableError):  # others are being read: then it was not, either
                    about = _summary(core, connection, row, base)
                    if not about.pop("is_open"):
                        _SUMMARIES.keep(key, about)
        told = {"checked": checked.get(row.id), **(about or {"since_approved": None, "risks": None})}
        found.append(brief(row) | told)
    return found


def _summary(core: Core, connection: Connection, row: Row[Any], base: Row[Any] | None) -> dict[str, Any]:
    changes, found, is_open = compared(core, connection, row, base)
    return {
        "since_approved": since(base, changes), "is_open": is_open,
        "risks": [{"code": risk["code"], "short": risk["short"]} for risk in found["risks"]],
    }  # fmt: skip


def since(base: Row[Any] | None, changes: Sequence[Change]) -> dict[str, Any]:
    gained = [str(change) for change in changes if change.is_gain]
    return {
        "previous": None if base is None else base.version,
        "gained": [encodable(text[:MAX_GAINED_TEXT]) for text in gained[:MAX_GAINED]],
        "more": max(0, len(gained) - MAX_GAINED),
    }


def compared(
    core: Core, connection: Connection, row: Row[Any], base: Row[Any] | None
) -> tuple[list[Change], dict[str, Any], bool]:
    """Return what the permissions changed, what reading the version finds, and whether that may still change.

    What has no version before it is compared with a script that may do nothing.
    """
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    found = insights.of(core, connection, bundle, row.author)
    now = insights.asked(bundle, found)
    if base is None:
        return compare(Asked(Tier.COMPUTE, now.language, (), is_stated=True), now), found, bool(found["missing"])
    older = core.repository.bundle(base.name, base.version, base.digest)
    read_before = insights.of(core, connection, older, base.author)
    is_open = bool(found["missing"] or read_before["missing"])
    return compare(insights.asked(older, read_before), now), found, is_open


def show(core: Core, connection: Connection, row: Row[Any], viewer: Viewer) -> dict[str, Any]:
    """Return all that a reviewer needs but the code: asked and inferred, changes, risks, tests, and the history.

    Of other versions only those are told of that the viewer may see.
    """
    bundle = core.repository.bundle(row.name, row.version, row.digest)
    base = _approved_before(connection, row, viewer)
    changes, found, _ = compared(core, connection, row, base)
    return brief(row) | {
        "since_approved": since(base, changes), "previous": None if base is None else base.version,
        "changes": [encoded(change) for change in changes[:MAX_CHANGES]],
        "more_changes": max(0, len(changes) - MAX_CHANGES),
        "risks": found["risks"], "inferred_tier": found["tier"], "inferred": found["calls"],
        "inferred_needs": found["needs"], "calls": [called["call"] for called in found["calls"]],
        "dynamic": found["dynamic"], "unknown": found["unknown"], "wrong": found["wrong"],
        "needs": [_need(need) for need in bundle.manifest.needs],
        "requires": [{"name": item.name, "digest": item.digest} for item in bundle.manifest.requires],
        "tests": [encodable(test.name[:MAX_GAINED_TEXT]) for test in bundle.manifest.tests],
        "checked": comments.checked(connection, [row.id]).get(row.id),  # the server itself runs nothing
        "manifest": service.manifest_view(bundle), "history": history.of(core, connection, row.name, viewer),
        "comments": comments.of(connection, row.id), **counting.standing(core, connection, row),
    }  # fmt: skip


def encoded(change: Change) -> dict[str, Any]:
    """Return a change as JSON data that can be written down."""
    plain = change.to_plain()
    return {key: encodable(value) if isinstance(value, str) else value for key, value in plain.items()}


def _need(need: Any) -> dict[str, Any]:
    lists = {"paths": need.paths, "commands": need.commands, "targets": need.targets, "names": need.names}
    return {"call": need.call} | {key: list(held) for key, held in lists.items() if held}


def files(core: Core, connection: Connection, row: Row[Any], viewer: Viewer) -> tuple[Bundle | None, Bundle]:
    """Return the bundle that was approved before, if there is one that the viewer may see, and that of the review."""
    base = _approved_before(connection, row, viewer)
    older = None if base is None else core.repository.bundle(base.name, base.version, base.digest)
    return older, core.repository.bundle(row.name, row.version, row.digest)


def code_parts(before: Bundle | None, after: Bundle) -> list[dict[str, Any]]:
    """Return the difference of two bundles' files, or all files if there is nothing before them."""
    return list(parts(None if before is None else texts(before), texts(after)))


def _approved_before(connection: Connection, row: Row[Any], viewer: Viewer) -> Row[Any] | None:
    """Return the newest version that was approved before this one was decided on, and that was not withdrawn since.

    Of those that the viewer may see: what is compared with a version tells what stood in that one.
    """
    is_before = reviews.c.decided_us < row.decided_us if row.decided_us is not None else true()
    return connection.execute(
        select(scripts)
        .join(reviews, reviews.c.digest == scripts.c.digest)
        .where(
            scripts.c.name == row.name, scripts.c.digest != row.digest, reviews.c.state == "approved", is_before,
            scripts.c.digest.not_in(select(withdrawals.c.digest)), versions_for(viewer),
        )
        .order_by(reviews.c.decided_us.desc())
        .limit(1)
    ).first()  # fmt: skip


# deciding ------------------------------------------------------------------------------------------------------------


async def approve(core: Core, identity: str, envelope: Envelope, principal: str) -> dict[str, Any]:
    """Take a reviewer's approval.

    Raises:
        TrustError: It does not count; says why.
        ConflictError: The review was rejected.
        DeniedError: This reviewer has said the same already.
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
            # Else one reviewer's own could push those of others out of sight.
            return brief(find(connection, identity)) | {"warnings": []}
        counting.refuse_taken_back(core, connection, row, published, reviewer, approval)
        standing = counting.counted(core, connection, row, clock.now())
        counting.refuse_repetition(standing, reviewer, approval)
        warning = counting.superseded(standing, reviewer, approval)
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
        return brief(find(connection, identity)) | {"warnings": [] if warning is None else [warning]}

    answer = await core.database.write(store)
    desired.tell_approval(core, envelope)
    return answer


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
