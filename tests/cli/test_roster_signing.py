"""Gathering signatures: who signed is counted by keys that are roots, and only if the signature is right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from world import NOW, World

from cli import roster_signing
from protocol.errors import ArgumentError, ConflictError, TooLargeError, TrustError
from protocol.limits import MAX_SIGNATURES
from protocol.roster import parse
from protocol.signing import Envelope, Signature, sign


@pytest.fixture
def world() -> World:
    return World()


def roots(world: World, *names: str, threshold: int = 2) -> dict[str, Any]:
    return {"threshold": threshold, "keys": [world.key(name).public.to_text() for name in names]}


def signed(world: World, *signers: str, version: int = 2, **changes: Any) -> Envelope:
    body = world.roster_body(version, **({"roots": roots(world, "a", "b", "c")} | changes))
    return sign("roster", body, *[world.key(name) for name in signers])


def test_signatures_of_strangers_and_wrong_ones_count_for_nothing(world: World) -> None:
    envelope = signed(world, "a", "mallory")
    assert roster_signing.standing(envelope, None).missing_own == 1
    (right, _) = envelope.signatures
    forged = Signature(world.key("b").public.key_id, right.value)
    assert roster_signing.standing(replace(envelope, signatures=(right, forged)), None).missing_own == 1
    assert roster_signing.standing(signed(world, "a", "b"), None).is_complete


def test_the_roots_before_must_sign_too(world: World) -> None:
    before = parse(world.roster_body(1, roots=roots(world, "old", "a")))
    state = roster_signing.standing(signed(world, "a", "b"), before)
    assert (state.missing_own, state.missing_before, state.is_complete) == (0, 1, False)
    assert roster_signing.standing(signed(world, "a", "b", "old"), before).is_complete


def test_a_key_that_is_no_root_signs_no_first_roster(world: World) -> None:
    """Of a later one it may be a root of the roster before, which is not always at hand."""
    first, later = signed(world, "a", version=1), signed(world, "a")
    with pytest.raises(ConflictError, match="is no root of this roster, and there is none before it"):
        roster_signing.add(first, world.key("stranger"), None)
    assert len(roster_signing.add(later, world.key("stranger"), None).signatures) == 2
    assert len(roster_signing.add(first, world.key("b"), None).signatures) == 2


def test_copies_that_were_signed_side_by_side_are_one(world: World) -> None:
    one, other = signed(world, "a"), signed(world, "b")
    both = roster_signing.gather([one, other, one])
    assert both.signatures == (*one.signatures, *other.signatures)
    assert roster_signing.check(both, None, NOW).version == 2


def test_copies_of_different_rosters_are_not_mixed(world: World) -> None:
    with pytest.raises(ConflictError, match="different rosters"):
        roster_signing.gather([signed(world, "a"), signed(world, "b", version=3)])


def test_more_signatures_than_an_envelope_holds(world: World) -> None:
    one = signed(world, "a")
    many = [replace(one, signatures=(Signature(f"{number:064x}", b"x"),)) for number in range(MAX_SIGNATURES + 1)]
    with pytest.raises(TooLargeError):
        roster_signing.gather(many)


@pytest.mark.parametrize(
    ("version", "signers", "reason"),
    [(1, ("a", "b"), "rollback"), (2, ("a",), "unknown_key"), (2, ("c", "b"), "unknown_key")],
)
def test_what_hosts_would_refuse(world: World, version: int, signers: tuple[str, ...], reason: str) -> None:
    before = signed(world, "a", "d", version=1, roots=roots(world, "a", "d"))
    with pytest.raises(TrustError) as caught:
        roster_signing.check(signed(world, *signers, version=version), before, NOW)
    assert caught.value.reason == reason


def test_what_is_signed_as_something_else_is_no_roster(world: World) -> None:
    other = replace(signed(world, "a", "b"), payload_type="application/vnd.outrider.order+json")
    with pytest.raises(TrustError, match="signed as something else"):
        roster_signing.standing(other, None)
    with pytest.raises(ArgumentError, match=r"x\.json"):
        roster_signing.read("{}", "x.json")
