"""Whose a name is: first come, first served; handed over by an owner alone, and never beyond what the roster allows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from world import NOW, World

from protocol.errors import ArgumentError, DeniedError, TrustError
from protocol.ownership import Transfer, check_transfer, owners_after
from protocol.signing import Envelope, sign
from protocol.timestamps import stamp

NAME = "checks/disk"


def told(world: World, *signers: str, **changes: Any) -> Envelope:
    body = {"type": "transfer", "name": NAME, "to": ["eve"], "reason": "", "issued": stamp(NOW)} | changes
    return sign("transfer", body, *[world.key(name) for name in signers or ("ann",)])


def test_a_name_is_its_first_publishers(world: World) -> None:
    roster = world.roster()
    assert owners_after((), frozenset({"ann"}), roster, NAME, NOW) == ("ann",)
    assert owners_after(("ann",), frozenset({"ann"}), roster, NAME, NOW) == ("ann",)
    assert owners_after(("ann", "eve"), frozenset({"eve"}), roster, NAME, NOW) == ("ann", "eve")
    with pytest.raises(DeniedError, match="belongs to ann"):
        owners_after(("ann",), frozenset({"eve"}), roster, NAME, NOW)


def test_a_name_whose_owners_are_gone_is_free(world: World) -> None:
    """People leave; the roots, who alone take them out of the roster, thereby free what they owned."""
    roster = world.roster(keys=[world.member("bob"), world.member("eve")])
    assert owners_after(("ann",), frozenset({"eve"}), roster, NAME, NOW) == ("eve",)


def test_an_owner_hands_over(world: World) -> None:
    found = check_transfer(told(world, to=["eve", "ann"]), ["ann"], None, world.roster(), NOW)
    assert (found.name, found.to) == (NAME, ("eve", "ann"))
    assert Transfer.parse(found.body()) == found


@pytest.mark.parametrize("signer", ["eve", "dan", "bob", "oli"])
def test_nobody_else_hands_over(world: World, signer: str) -> None:
    with pytest.raises(DeniedError, match="only an owner"):
        check_transfer(told(world, signer), ["ann"], None, world.roster(), NOW)


@pytest.mark.parametrize("to", [["dan"], ["bob"], ["zoe"], ["eve", "dan"]])
def test_a_transfer_gives_nobody_a_namespace(world: World, to: list[str]) -> None:
    with pytest.raises(DeniedError, match="the roster does not let"):
        check_transfer(told(world, to=to), ["ann"], None, world.roster(), NOW)


def test_an_owner_who_may_not_publish_any_more_hands_nothing_over(world: World) -> None:
    roster = world.roster(keys=[world.member("ann", roles=[{"role": "author", "namespace": "x"}]), world.member("eve")])
    with pytest.raises(DeniedError, match="only an owner"):
        check_transfer(told(world), ["ann"], None, roster, NOW)


@pytest.mark.parametrize("since", [NOW, NOW + timedelta(seconds=1)])
def test_an_old_transfer_shown_again_does_nothing(world: World, since: datetime) -> None:
    """ann -> eve -> ann, and then the first one once more: without this it would make eve the owner."""
    with pytest.raises(TrustError) as caught:
        check_transfer(told(world), ["ann"], since, world.roster(), NOW)
    assert caught.value.reason == "rollback"


def test_a_forged_transfer(world: World) -> None:
    envelope = told(world)
    forged = Envelope(envelope.payload_type, envelope.payload.replace(b"eve", b"ann"), envelope.signatures)
    for bad, reason in [
        (forged, "bad_signature"),
        (Envelope(envelope.payload_type, envelope.payload, ()), "unsigned"),
        (world.withdrawal("ann"), "wrong_type"),
        (told(world, issued=stamp(NOW + timedelta(hours=1))), "expired"),
        (told(world, more=1), "malformed"),
        (told(world, to=[]), "malformed"),
        (told(world, to=["a\nb"]), "malformed"),
    ]:
        with pytest.raises(TrustError) as caught:
            check_transfer(bad, ["ann"], None, world.roster(), NOW)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "changes", [{"to": "eve"}, {"to": [1]}, {"name": ""}, {"name": 1}, {"reason": None}, {"to": ["x"] * 17}]
)
def test_a_malformed_transfer(changes: dict[str, Any]) -> None:
    body = {"type": "transfer", "name": NAME, "to": ["eve"], "reason": "", "issued": stamp(NOW)} | changes
    with pytest.raises(ArgumentError):
        Transfer.parse(body)
