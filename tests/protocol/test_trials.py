"""What proves that a version may be tried: everything but approvals; and that nobody tries their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from world import DIGEST, NOW, OTHER_DIGEST, World

from protocol.errors import TrustError
from protocol.signing import Envelope
from protocol.tiers import Tier
from protocol.trials import check_not_own, prove_triable


def test_a_publication_is_enough_and_gives_its_tier(world: World) -> None:
    found = prove_triable(DIGEST, world.publication(tier="inspect"), [], world.roster(), NOW)
    assert (found.proved.name, found.proved.tier, found.proved.grants) == ("checks/disk", Tier.INSPECT, ())
    assert found.proved.reviewer_key_ids == frozenset()
    assert found.author_key_ids == {world.key("ann").public.key_id}


REFUSED: list[tuple[str, Callable[[World], Envelope]]] = [
    ("unknown_key", lambda world: world.publication("mallory")),
    ("wrong_namespace", lambda world: world.publication("bob")),
    ("wrong_digest", lambda world: world.publication(digest=OTHER_DIGEST)),
    ("wrong_type", lambda world: world.approval("ann")),
]


@pytest.mark.parametrize(("reason", "publication"), REFUSED)
def test_without_a_publication_nothing_is_tried(
    world: World, reason: str, publication: Callable[[World], Envelope]
) -> None:
    with pytest.raises(TrustError) as caught:
        prove_triable(DIGEST, publication(world), [], world.roster(), NOW)
    assert caught.value.reason == reason


def test_what_was_withdrawn_and_by_what_has_expired(world: World) -> None:
    with pytest.raises(TrustError) as caught:
        prove_triable(DIGEST, world.publication(), [world.withdrawal()], world.roster(), NOW)
    assert caught.value.reason == "withdrawn"
    with pytest.raises(TrustError) as caught:
        prove_triable(DIGEST, world.publication(), [], world.roster(), NOW + timedelta(days=31))
    assert caught.value.reason == "expired"


def test_another_key_of_the_same_person_is_the_same_person(world: World) -> None:
    second = world.member("eve") | {"key": world.key("eve-2").public.to_text()}
    roster = world.roster(keys=[world.member(name) for name in ("ann", "bob")] + [world.member("eve"), second])
    of = frozenset({world.key("eve").public.key_id})
    check_not_own(of, frozenset({world.key("bob").public.key_id}), roster)
    for signers in ({"eve"}, {"eve-2"}, {"bob", "eve-2"}):
        with pytest.raises(TrustError) as caught:
            check_not_own(of, frozenset(world.key(name).public.key_id for name in signers), roster)
        assert caught.value.reason == "self_approval"
