"""The roster: who may do what, and that nobody can put an older, another or a stranger's one in its place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import NOW, World

from protocol.errors import ArgumentError, TrustError
from protocol.roster import TrustedRoster, covers, parse
from protocol.signing import Envelope, sign
from protocol.tiers import Tier
from protocol.timestamps import stamp


def roots(world: World, threshold: int, *names: str) -> dict[str, Any]:
    return {"threshold": threshold, "keys": [world.key(name).public.to_text() for name in names]}


def signed(world: World, *signers: str, version: int = 1, **changes: Any) -> Envelope:
    return sign("roster", world.roster_body(version, **changes), *[world.key(name) for name in signers or ("root",)])


def pinned(world: World, *names: str, threshold: int = 1) -> TrustedRoster:
    keys = [world.key(name).public for name in names or ("root",)]
    return TrustedRoster({key.key_id: key for key in keys}, threshold)


def refusal(trusted: TrustedRoster, envelope: Envelope) -> str:
    """Return why the envelope is refused; what was trusted before must still be."""
    before = (trusted.current, trusted.envelope)
    with pytest.raises(TrustError) as caught:
        trusted.update(envelope, NOW)
    assert (trusted.current, trusted.envelope) == before
    return caught.value.reason


def test_a_newer_roster_replaces_the_older(world: World) -> None:
    trusted = pinned(world)
    for version in (1, 2, 7):
        assert trusted.update(signed(world, version=version), NOW).version == version
    assert trusted.current is not None
    assert trusted.current.version == 7


def test_rollback_is_refused(world: World) -> None:
    """A server that was taken over would bring back the roster in which the lost key still counts."""
    trusted = pinned(world)
    trusted.update(signed(world, version=5), NOW)
    assert refusal(trusted, signed(world, version=4)) == "rollback"


def test_two_rosters_of_one_version_are_refused(world: World) -> None:
    trusted = pinned(world)
    first = signed(world, version=5)
    trusted.update(first, NOW)
    assert refusal(trusted, signed(world, version=5, keys=[])) == "mix_and_match"
    assert trusted.update(first, NOW).version == 5, "the same again is no other one"


@pytest.mark.parametrize(("age", "refused"), [(timedelta(seconds=1), False), (timedelta(0), True)])
def test_expiry_is_exact(world: World, age: timedelta, refused: bool) -> None:
    """An attacker who holds updates back wins only until then."""
    envelope = signed(world, expires=stamp(NOW + age))
    if refused:
        assert refusal(pinned(world), envelope) == "expired"
    else:
        assert not pinned(world).update(envelope, NOW).is_expired(NOW)


def test_who_may_sign(world: World) -> None:
    trusted = pinned(world)
    assert refusal(trusted, sign("roster", world.roster_body())) == "unsigned"
    assert refusal(trusted, signed(world, "ann")) == "unknown_key"
    wrong = Envelope(signed(world).payload_type, signed(world).payload + b" ", signed(world).signatures)
    assert refusal(trusted, wrong) == "bad_signature"
    assert refusal(trusted, sign("order", {"type": "order"}, world.key("root"))) == "wrong_type"


def test_two_of_three_roots_need_two_different_ones(world: World) -> None:
    names = ("r1", "r2", "r3")
    body = roots(world, 2, *names)
    trusted = pinned(world, *names, threshold=2)
    assert refusal(trusted, signed(world, "r1", roots=body)) == "unknown_key"
    assert refusal(trusted, signed(world, "r1", "mallory", roots=body)) == "unknown_key"
    assert trusted.update(signed(world, "r3", "r1", roots=body), NOW).root_threshold == 2


def test_new_roots_need_the_old_threshold_and_their_own(world: World) -> None:
    """Else one root that was stolen, or one that does not exist, takes the fleet over."""
    trusted = pinned(world, "a", "b", threshold=2)
    trusted.update(signed(world, "a", "b", version=1, roots=roots(world, 2, "a", "b")), NOW)
    moved = roots(world, 2, "c", "d")
    assert refusal(trusted, signed(world, "a", "b", version=2, roots=moved)) == "unknown_key", "not by the new"
    assert refusal(trusted, signed(world, "c", "d", version=2, roots=moved)) == "unknown_key", "not by the old"
    assert refusal(trusted, signed(world, "a", "c", "d", version=2, roots=moved)) == "unknown_key", "not by enough"
    assert refusal(trusted, signed(world, "a", "b", "c", version=2, roots=moved)) == "unknown_key", "not by enough new"
    trusted.update(signed(world, "a", "b", "c", "d", version=2, roots=moved), NOW)
    assert refusal(trusted, signed(world, "a", "b", version=3, roots=roots(world, 2, "a", "b"))) == "unknown_key"
    trusted.update(signed(world, "c", "d", version=3, roots=moved), NOW)


def test_who_was_away_over_two_changes_of_the_roots_finds_the_way(world: World) -> None:
    """The step in between has expired since; it proves nothing, and the next one follows from it."""
    old = stamp(NOW - timedelta(days=1))
    trusted = pinned(world, "a")
    trusted.update(signed(world, "a", version=1, roots=roots(world, 1, "a")), NOW)
    step = signed(world, "a", "b", version=2, roots=roots(world, 1, "b"), expires=old)
    newest = signed(world, "b", "c", version=3, roots=roots(world, 1, "c"))
    assert refusal(trusted, newest) == "unknown_key", "it does not follow from the first"
    assert trusted.update(step, NOW).is_expired(NOW)
    assert trusted.update(newest, NOW).version == 3
    assert refusal(trusted, signed(world, "c", version=4, roots=roots(world, 1, "c"), expires=old)) == "expired"


def test_a_lower_threshold_needs_the_higher_one_once_more(world: World) -> None:
    trusted = pinned(world, "a", "b", threshold=2)
    lower = roots(world, 1, "a", "b")
    assert refusal(trusted, signed(world, "a", roots=lower)) == "unknown_key"
    trusted.update(signed(world, "a", "b", roots=lower), NOW)
    trusted.update(signed(world, "a", version=2, roots=lower), NOW)


def test_a_root_listed_twice_counts_once(world: World) -> None:
    with pytest.raises(ArgumentError, match="threshold of roots is impossible"):
        parse(world.roster_body(roots=roots(world, 2, "a", "a")))


@pytest.mark.parametrize("threshold", [0, 2])
def test_impossible_pins_are_refused(world: World, threshold: int) -> None:
    with pytest.raises(ArgumentError):
        pinned(world, threshold=threshold)


# resuming -------------------------------------------------------------------------------------------------------------


def test_a_stored_roster_guards_against_rollback_after_a_restart(world: World) -> None:
    resumed = TrustedRoster.resume(signed(world, version=5), NOW)
    assert refusal(resumed, signed(world, version=4)) == "rollback"
    assert refusal(resumed, signed(world, version=5, keys=[])) == "mix_and_match"
    resumed.update(signed(world, version=6), NOW)


def test_an_expired_stored_roster_still_guards(world: World) -> None:
    resumed = TrustedRoster.resume(signed(world, version=5, expires=stamp(NOW - timedelta(days=1))), NOW)
    assert resumed.current is not None
    assert resumed.current.is_expired(NOW)
    assert refusal(resumed, signed(world, version=4)) == "rollback"
    assert refusal(resumed, signed(world, "ann", version=6)) == "unknown_key"


def test_a_damaged_stored_roster_is_refused(world: World) -> None:
    stored = signed(world)
    with pytest.raises(TrustError):
        TrustedRoster.resume(Envelope(stored.payload_type, stored.payload + b" ", stored.signatures), NOW)
    with pytest.raises(ArgumentError):
        TrustedRoster.resume(Envelope(stored.payload_type, b"{}", stored.signatures), NOW)


def test_roots_changed_before_a_restart_stay_changed(world: World) -> None:
    trusted = pinned(world, "a")
    trusted.update(signed(world, "a", roots=roots(world, 1, "a")), NOW)
    trusted.update(signed(world, "a", "b", version=2, roots=roots(world, 1, "b")), NOW)
    assert trusted.envelope is not None
    resumed = TrustedRoster.resume(trusted.envelope, NOW)
    assert refusal(resumed, signed(world, "a", version=3, roots=roots(world, 1, "a"))) == "unknown_key"


# who may do what ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "name", "inside"),
    [
        ("", "checks/disk", True),
        ("checks", "checks/disk", True),
        ("checks", "checks", True),
        ("checks", "checks/disk/deep", True),
        ("checks", "checksums/disk", False),
        ("checks/disk", "checks", False),
        ("checks/disk", "checks/disks", False),
        ("checks", "my/checks/disk", False),
    ],
)
def test_a_namespace_covers_whole_segments(namespace: str, name: str, inside: bool) -> None:
    assert covers(namespace, name) is inside


def test_each_key_may_do_what_its_roles_say(world: World) -> None:
    roster = world.roster()

    def names(keys: dict[str, Any]) -> set[str | None]:
        return {roster.name_of(key_id) for key_id in keys}

    assert names(roster.authors("checks/disk", NOW)) == {"ann", "eve"}
    assert names(roster.authors("checksums/disk", NOW)) == {"dan", "eve"}
    assert names(roster.reviewers("checks/disk", Tier.OBSERVE, NOW)) == {"bob", "cid", "eve"}
    assert names(roster.reviewers("checks/disk", Tier.INSPECT, NOW)) == {"bob", "eve"}
    assert names(roster.reviewers("other/disk", Tier.OBSERVE, NOW)) == {"bob", "eve"}
    assert names(roster.reviewers("checks/disk", Tier.ADMIN, NOW)) == {"eve"}
    assert names(roster.operators(Tier.OPERATE, NOW)) == {"oli"}
    assert names(roster.operators(Tier.ADMIN, NOW)) == set()
    assert names(roster.schedulers(Tier.INSPECT, NOW)) == {"oli"}
    assert names(roster.schedulers(Tier.OPERATE, NOW)) == set(), "without a tier: nothing that changes a host"
    assert roster.name_of("0" * 64) is None


def test_a_key_that_expired_may_do_nothing_but_is_still_known(world: World) -> None:
    roster = world.roster(keys=[world.member("ann", expires=stamp(NOW))])
    assert roster.authors("checks/disk", NOW - timedelta(seconds=1))
    assert not roster.authors("checks/disk", NOW)
    assert roster.name_of(world.key("ann").public.key_id) == "ann"


# form -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": True},
        {"version": "1"},
        {"version": 1 << 53},
        {"more": 1},
        {"issued": "yesterday"},
        {"expires": None},
        {"roots": []},
        {"roots": {"threshold": 1}},
        {"roots": {"threshold": 1, "keys": []}},
        {"roots": {"threshold": 1, "keys": ["x"]}},
        {"roots": {"threshold": 1, "keys": "x"}},
        {"keys": {}},
        {"keys": ["ann"]},
    ],
)
def test_a_roster_of_another_form_is_refused(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        parse(world.roster_body() | change)


@pytest.mark.parametrize("missing", ["version", "issued", "expires", "roots", "keys"])
def test_a_missing_field_is_named(world: World, missing: str) -> None:
    body = world.roster_body()
    del body[missing]
    with pytest.raises(ArgumentError, match=f"roster lacks {missing}"):
        parse(body)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 3},
        {"key": "ed25519:x"},
        {"more": 1},
        {"expires": "soon"},
        {"roles": "author"},
        {"roles": ["author"]},
        {"roles": [{"role": "root"}]},
        {"roles": [{"role": ["author"]}]},
        {"roles": [{"role": "author"}]},
        {"roles": [{"role": "author", "namespace": "/a"}]},
        {"roles": [{"role": "author", "namespace": "a/"}]},
        {"roles": [{"role": "author", "namespace": 3}]},
        {"roles": [{"role": "author", "namespace": "a", "tier": "admin"}]},
        {"roles": [{"role": "reviewer"}]},
        {"roles": [{"role": "reviewer", "tier": "root"}]},
        {"roles": [{"role": "operator", "tier": "admin", "namespace": "a"}]},
        {"roles": [{"role": "schedule", "tier": "root"}]},
        {"name": "ann "},
        {"name": "a\u200bnn"},
        {"name": "BOB"},
        {"retired": 3},
        {"revoked": "soon"},
    ],
)
def test_a_member_of_another_form_is_refused_with_its_place(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"keys\[1\]"):
        parse(world.roster_body(keys=[world.member("bob"), world.member("ann") | change]))


def test_a_key_stands_once_in_a_roster(world: World) -> None:
    """With two entries the wrong one of them might be asked for the name."""
    with pytest.raises(ArgumentError, match="stands twice"):
        parse(world.roster_body(keys=[world.member("ann"), world.member("ann") | {"name": "bob"}]))
