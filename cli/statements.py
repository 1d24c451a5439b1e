"""Signed statements as people read them: who said it, for which tier, when, until when, why.

A name is shown only for a signature that was verified with that person's key in the roster; the roster itself is the
server's word here, as everything on this screen is. What counts on a host, the agent of that host decides for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cli.ages import day, parse_time
from cli.grants import narrowed
from cli.output import Column, field
from protocol.errors import OutriderError
from protocol.roster import Roster, parse
from protocol.signing import Envelope, open_envelope, peek

SHORT_KEY = 16  # hexadecimal digits of a key's id that are shown; enough to tell keys apart by eye


def read_roster(answer: Mapping[str, Any] | None) -> Roster | None:
    """Return the roster in the server's answer; None if it has none, or none that can be read."""
    try:
        return parse(peek(Envelope.from_json((answer or {})["envelope"])))
    except (OutriderError, KeyError):
        return None


def describe(
    envelope: Mapping[str, Any], kind: str, roster: Roster | None, now: datetime | None = None
) -> dict[str, Any]:
    """Return what a statement says, with ``by`` (who signed it) and ``state`` (ok, expired, or what is wrong)."""
    try:
        signed = Envelope.from_json(envelope)
        body = peek(signed)
    except OutriderError as error:
        return {"by": None, "state": error.message}
    told = {**body, "by": ", ".join(signer(item.key_id, roster) for item in signed.signatures) or None}
    return {**told, "state": _state(signed, kind, body, roster, now or datetime.now(UTC))}


def signer(key_id: str, roster: Roster | None) -> str:
    """Return who holds a key, or the begin of its id."""
    return (roster.name_of(key_id) if roster else None) or f"key {key_id[:SHORT_KEY]}"


def _state(signed: Envelope, kind: str, body: Mapping[str, Any], roster: Roster | None, now: datetime) -> str:
    try:
        open_envelope(signed, kind, roster.keys() if roster else {})
    except OutriderError as error:
        reason = getattr(error, "reason", "")
        return "no key of the roster signed it" if reason == "unknown_key" else error.message
    expires = parse_time(body.get("expires") or "")
    return "expired" if expires is not None and expires <= now else "ok"


APPROVALS = (
    field("approved by", "by"),
    field("tier", "tier"),
    Column("on", lambda told: day(told.get("issued"))),
    Column("until", lambda told: day(told.get("expires"))),
    field("state", "state"),
    Column("narrowed to", lambda told: narrowed(told.get("grant"))),
    field("reason", "reason"),
)
WITHDRAWALS = (
    field("withdrawn by", "by"),
    Column("on", lambda told: day(told.get("issued"))),
    field("state", "state"),
    field("reason", "reason"),
)
