"""What happened to a script: published, tried, approved, rejected, revoked, withdrawn; by whom, and why.

The statements were proved when they were taken; here they are only told. Whether one still counts is for
:mod:`protocol.trust` to say, with the roster of the moment.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from protocol.signing import Envelope, peek
from server import clock
from server.core import Core
from server.services import trials
from server.services.visibility import Viewer, versions_for
from server.store.tables import approvals, reviews, revocations, scripts, withdrawals

MAX_EVENTS: Final = 100  # newest first


def of(core: Core, connection: Connection, name: str, viewer: Viewer) -> list[dict[str, Any]]:
    """Return the newest events of those versions of a script that a viewer may see, newest first."""
    is_of = (scripts.c.name == name) & versions_for(viewer)
    events = [
        *_published(connection, is_of), *_approvals(connection, is_of), *_rejected(connection, is_of),
        *_withdrawn(core, connection, is_of), *_revoked(connection, is_of), *_tried(connection, is_of),
    ]  # fmt: skip
    events.sort(key=lambda event: event["us"], reverse=True)
    return [_shown(event) for event in events[:MAX_EVENTS]]


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {"time": clock.text(event["us"]), **{key: value for key, value in event.items() if key != "us"}}


def _event(us: int, what: str, version: str, by: str | None, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("reason", "tier", "grant", "expires", "host", "run", "status"))
    return {"us": us, "what": what, "version": version, "by": by} | empty | more


def _published(connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = select(scripts).where(is_of).order_by(scripts.c.published_us.desc()).limit(MAX_EVENTS)
    return [
        _event(row.published_us, "published", row.version, row.author, tier=row.tier)
        for row in connection.execute(query)
    ]


def approvals_of(connection: Connection, digest: str) -> list[dict[str, Any]]:
    """Return the newest approvals of one version, newest first."""
    return [_shown(event) for event in _approvals(connection, scripts.c.digest == digest)]


def _approvals(connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = (
        select(approvals, scripts.c.version)
        .join(scripts, scripts.c.digest == approvals.c.digest)
        .where(is_of)
        .order_by(approvals.c.stored_us.desc())
        .limit(MAX_EVENTS)
    )
    found = []
    for row in connection.execute(query):
        said = peek(Envelope.from_json(row.envelope))
        found.append(
            _event(
                row.stored_us, "approved", row.version, row.reviewer, reason=said.get("reason"), tier=said.get("tier"),
                grant=said.get("grant"), expires=said.get("expires"),
            )
        )  # fmt: skip
    return found


def _rejected(connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = (
        select(reviews, scripts.c.version)
        .join(scripts, scripts.c.digest == reviews.c.digest)
        .where(is_of, reviews.c.state == "rejected")
        .order_by(reviews.c.decided_us.desc())
        .limit(MAX_EVENTS)
    )
    return [
        _event(row.decided_us, "rejected", row.version, row.decided_by, reason=row.reason)
        for row in connection.execute(query)
    ]


def _tried(connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    return [
        _event(
            row.created_us, "tried", row.of_version, row.principal, reason=row.purpose or None, host=row.host,
            run=row.id, status=row.status,
        )
        for row in trials.events(connection, is_of, MAX_EVENTS)
    ]  # fmt: skip


def _revoked(connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = (
        select(revocations, scripts.c.version)
        .join(scripts, scripts.c.digest == revocations.c.digest)
        .where(is_of)
        .order_by(revocations.c.stored_us.desc())
        .limit(MAX_EVENTS)
    )
    found = []
    for row in connection.execute(query):
        reason = peek(Envelope.from_json(row.envelope)).get("reason")
        found.append(_event(row.stored_us, "revoked", row.version, row.reviewer, reason=reason))
    return found


def _withdrawn(core: Core, connection: Connection, is_of: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = (
        select(withdrawals, scripts.c.version)
        .join(scripts, scripts.c.digest == withdrawals.c.digest)
        .where(is_of)
        .order_by(withdrawals.c.stored_us.desc())
        .limit(MAX_EVENTS)
    )
    found = []
    for row in connection.execute(query):
        envelope = Envelope.from_json(row.envelope)
        names = [core.roster.name_of(each.key_id) for each in envelope.signatures]
        by = next((each for each in names if each is not None), None)
        found.append(_event(row.stored_us, "withdrawn", row.version, by, reason=peek(envelope).get("reason")))
    return found
