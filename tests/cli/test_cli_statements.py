"""What is shown of signed statements: a name only where that person's key really signed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.statements import describe, narrowed, read_roster
from protocol.roster import Roster
from protocol.signing import PrivateKey, sign

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ROOT, TOM, STRANGER = PrivateKey.generate(), PrivateKey.generate(), PrivateKey.generate()
APPROVAL = {
    "type": "approval", "name": "checks/x", "version": "1.0.0", "digest": f"sha256:{'0' * 64}", "tier": "observe",
    "grant": {}, "issued": "2026-11-01T00:00:00Z", "expires": "2026-12-01T00:00:00Z", "reason": "CHG-118",
}  # fmt: skip


def envelope(body: dict[str, Any], key: PrivateKey, kind: str = "approval") -> dict[str, Any]:
    return dict(json.loads(sign(kind, body, key).to_json()))


@pytest.fixture
def roster() -> Roster:
    body = {
        "type": "roster", "version": 1, "issued": "2026-11-01T00:00:00Z", "expires": "2027-11-01T00:00:00Z",
        "roots": {"threshold": 1, "keys": [ROOT.public.to_text()]},
        "keys": [{"name": "tom", "key": TOM.public.to_text(), "roles": [{"role": "reviewer", "tier": "inspect"}]}],
    }  # fmt: skip
    found = read_roster({"envelope": envelope(body, ROOT, "roster")})
    assert found is not None
    return found


def test_signed_by_somebody_of_the_roster(roster: Roster) -> None:
    told = describe(envelope(APPROVAL, TOM), "approval", roster, NOW)
    assert (told["by"], told["state"]) == ("tom", "ok")
    assert (told["tier"], told["reason"], told["expires"]) == ("observe", "CHG-118", "2026-12-01T00:00:00Z")


def test_expired(roster: Roster) -> None:
    told = describe(envelope({**APPROVAL, "expires": "2026-11-25T12:00:00Z"}, TOM), "approval", roster, NOW)
    assert told["state"] == "expired"


def test_stranger_is_not_given_a_name(roster: Roster) -> None:
    told = describe(envelope(APPROVAL, STRANGER), "approval", roster, NOW)
    assert told["by"] == f"key {STRANGER.public.key_id[:16]}"
    assert told["state"] == "no key of the roster signed it"


def test_without_a_roster_there_are_only_keys() -> None:
    assert describe(envelope(APPROVAL, TOM), "approval", None, NOW)["by"].startswith("key ")


def test_signature_taken_from_another_statement(roster: Roster) -> None:
    """Somebody who owns the database can write any text into it, but not sign it."""
    forged = envelope({**APPROVAL, "tier": "admin"}, STRANGER)
    forged["signatures"] = envelope(APPROVAL, TOM)["signatures"]
    assert "signature" in describe(forged, "approval", roster, NOW)["state"]


def test_statement_of_another_kind(roster: Roster) -> None:
    told = describe(envelope(APPROVAL, TOM, "approval"), "withdrawal", roster, NOW)
    assert "signed as something else" in told["state"]


@pytest.mark.parametrize("damaged", [{}, {"payload": "?"}, {"payloadType": "x", "payload": "bm8=", "signatures": []}])
def test_damaged_envelope_is_told_of_and_is_no_crash(roster: Roster, damaged: dict[str, Any]) -> None:
    told = describe(damaged, "approval", roster, NOW)
    assert told["by"] is None
    assert told["state"]


@pytest.mark.parametrize(
    "answer", [None, {}, {"envelope": {}}, {"envelope": envelope({"type": "roster"}, ROOT, "roster")}]
)
def test_no_roster(answer: dict[str, Any] | None) -> None:
    assert read_roster(answer) is None


@pytest.mark.parametrize(
    ("grant", "text"),
    [
        ({}, ""),
        (None, ""),
        ({"allow": "all"}, ""),
        ({"allow": [{"call": "fs.read", "paths": ["/etc/**", "/srv"]}]}, "fs.read /etc/** /srv"),
        ({"allow": [{"call": "sys.cpu"}, {"call": "proc.command", "commands": ["df"]}]}, "sys.cpu; proc.command df"),
    ],
)
def test_what_an_approval_narrows_to(grant: object, text: str) -> None:
    assert narrowed(grant) == text
