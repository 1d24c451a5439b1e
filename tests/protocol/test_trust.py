"""Whether a script may run at all: every way in which the proof can be incomplete, old, foreign or turned round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from world import DIGEST, NOW, OTHER_DIGEST, World

from protocol import limits
from protocol.errors import TrustError
from protocol.manifest import implied
from protocol.signing import Envelope, Signature, add_signature, canonical_json, payload_type
from protocol.tiers import Tier
from protocol.timestamps import stamp
from protocol.trust import Authorised, authorise, check_manifest, check_withdrawal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def judge(world: World, *, digest: str = DIGEST, **changes: Any) -> Authorised:
    """Authorise what is in order but for the changes."""
    given: dict[str, Any] = {
        "publication": world.publication(), "approvals": [world.approval()], "withdrawals": [],
        "roster": world.roster(), "now": NOW,
    } | changes  # fmt: skip
    return authorise(digest, **given)


def refusal(world: World, **changes: Any) -> str:
    with pytest.raises(TrustError) as caught:
        judge(world, **changes)
    return caught.value.reason


def id_of(world: World, name: str) -> str:
    return world.key(name).public.key_id


def test_what_is_in_order_runs(world: World) -> None:
    found = judge(world)
    assert (found.name, found.version, found.digest, found.tier) == ("checks/disk", "1.2.0", DIGEST, Tier.OBSERVE)
    assert (found.author_key_id, found.reviewer_key_ids) == (id_of(world, "ann"), {id_of(world, "bob")})
    assert (found.grants, found.expires) == (({},), NOW + 7 * DAY)


def forged(envelope: Envelope) -> Envelope:
    return replace(envelope, payload=envelope.payload.replace(b"1.2.0", b"1.2.1"))


def unsigned(envelope: Envelope) -> Envelope:
    return replace(envelope, signatures=())


def odd(world: World, kind: str, signer: str) -> Envelope:
    body = canonical_json({"type": kind, "more": 1})
    return add_signature(Envelope(payload_type(kind), body, ()), world.key(signer))


PUBLICATIONS: list[tuple[str, Callable[[World], Envelope]]] = [
    ("unsigned", lambda w: unsigned(w.publication())),
    ("bad_signature", lambda w: forged(w.publication())),
    ("unknown_key", lambda w: w.publication("mallory")),
    ("wrong_type", lambda w: w.approval("ann")),
    ("malformed", lambda w: odd(w, "publication", "ann")),
    ("malformed", lambda w: w.publication(tier="root")),
    ("wrong_namespace", lambda w: w.publication("dan")),  # author of checksums
    ("wrong_namespace", lambda w: w.publication("bob")),  # only a reviewer
    ("wrong_namespace", lambda w: w.publication("ann", name="checksums/disk")),
    ("wrong_namespace", lambda w: w.publication("ann", name="other/disk")),
    ("wrong_digest", lambda w: w.publication(digest=OTHER_DIGEST)),
    ("expired", lambda w: w.publication(issued=stamp(NOW + HOUR))),
]


@pytest.mark.parametrize(("reason", "publication"), PUBLICATIONS)
def test_a_publication_that_proves_nothing(
    world: World, reason: str, publication: Callable[[World], Envelope]
) -> None:  # fmt: skip
    assert refusal(world, publication=publication(world)) == reason


APPROVALS: list[tuple[str, Callable[[World], Envelope]]] = [
    ("unsigned", lambda w: unsigned(w.approval())),
    ("bad_signature", lambda w: forged(w.approval())),
    ("unknown_key", lambda w: w.approval("mallory")),
    ("wrong_type", lambda w: w.publication("bob")),
    ("malformed", lambda w: odd(w, "approval", "bob")),
    ("malformed", lambda w: w.approval(grant=[])),
    ("wrong_digest", lambda w: w.approval(digest=OTHER_DIGEST)),
    ("mix_and_match", lambda w: w.approval(version="1.2.1")),
    ("mix_and_match", lambda w: w.approval(name="checks/other")),
    ("mix_and_match", lambda w: w.approval(tier="inspect")),  # more than its author published
    ("expired", lambda w: w.approval(expires=stamp(NOW))),
    ("expired", lambda w: w.approval(issued=stamp(NOW + HOUR))),
    ("self_approval", lambda w: w.approval("ann")),
    ("self_approval", lambda w: w.approval("ann", "bob")),  # an author among others
    ("not_approved", lambda w: w.approval("dan")),  # no reviewer
    ("not_approved", lambda w: w.approval("oli")),
]


@pytest.mark.parametrize(("reason", "approval"), APPROVALS)
def test_an_approval_that_does_not_count(world: World, reason: str, approval: Callable[[World], Envelope]) -> None:
    assert refusal(world, approvals=[approval(world)]) == reason
    assert judge(world, approvals=[approval(world), world.approval()]).reviewer_key_ids == {id_of(world, "bob")}, (
        "nor does it spoil one that does"
    )


def test_no_approval_at_all(world: World) -> None:
    assert refusal(world, approvals=[]) == "not_approved"
    assert refusal(world, approvals=[], reviewers_needed=0) == "not_approved", "none is never enough"


def test_a_reviewers_tier_and_namespace_bound_what_he_may_approve(world: World) -> None:
    inspect = world.publication(tier="inspect")
    assert refusal(world, publication=inspect, approvals=[world.approval("cid", tier="inspect")]) == "not_approved"
    assert judge(world, publication=inspect, approvals=[world.approval("cid")]).tier is Tier.OBSERVE
    elsewhere = world.publication("dan", name="checksums/a")
    assert (
        refusal(world, publication=elsewhere, approvals=[world.approval("cid", name="checksums/a")]) == "not_approved"
    )


def test_nobody_approves_his_own_script_with_another_key(world: World) -> None:
    """Four eyes are those of two people, not of two keys."""
    second = world.member("bob") | {"name": "ann"}  # bob's key in ann's hand
    roster = world.roster(keys=[world.member("ann"), second, world.member("cid")])
    assert refusal(world, roster=roster) == "self_approval"
    assert judge(world, roster=roster, approvals=[world.approval("cid")]).reviewer_key_ids == {id_of(world, "cid")}


def test_who_signed_the_publication_too_cannot_approve_it(world: World) -> None:
    """Also if he is no author of the namespace: he stands on that side now."""
    assert refusal(world, publication=world.publication("ann", "bob")) == "self_approval"


def test_an_author_everywhere_who_may_review_all_needs_another(world: World) -> None:
    mine = world.publication("eve")
    assert refusal(world, publication=mine, approvals=[world.approval("eve")]) == "self_approval"
    assert judge(world, publication=mine).author_key_id == id_of(world, "eve")


def test_different_people_are_counted_not_keys_or_envelopes(world: World) -> None:
    two = [world.approval("bob"), world.approval("cid")]
    assert len(judge(world, approvals=two, reviewers_needed=2).reviewer_key_ids) == 2
    assert len(judge(world, approvals=[world.approval("bob", "cid")], reviewers_needed=2).reviewer_key_ids) == 2
    assert refusal(world, reviewers_needed=2) == "not_approved"
    assert refusal(world, approvals=[world.approval("bob")] * 2, reviewers_needed=2) == "not_approved"
    assert refusal(world, approvals=two, reviewers_needed=3) == "not_approved"
    one_person = world.roster(keys=[world.member("ann"), world.member("bob"), world.member("cid") | {"name": "bob"}])
    assert refusal(world, approvals=two, reviewers_needed=2, roster=one_person) == "not_approved"
    twice = world.approval("bob")
    doubled = replace(twice, signatures=twice.signatures * 2)
    assert refusal(world, approvals=[doubled], reviewers_needed=2) == "not_approved"


def test_the_lowest_tier_and_the_first_end_of_all_that_count(world: World) -> None:
    """Each approval narrows; none lends its width to another."""
    approvals = [
        world.approval("bob", tier="inspect", expires=stamp(NOW + 9 * DAY), grant={"a": 1}),
        world.approval("cid", tier="observe", expires=stamp(NOW + 2 * DAY), grant={"b": 1}),
    ]
    found = judge(world, publication=world.publication(tier="inspect"), approvals=approvals, reviewers_needed=2)
    assert (found.tier, found.expires) == (Tier.OBSERVE, NOW + 2 * DAY)
    assert sorted(map(str, found.grants)) == ["{'a': 1}", "{'b': 1}"]


@pytest.mark.parametrize("is_newer_first", [True, False])
def test_of_two_approvals_by_one_reviewer_the_newer_counts(world: World, is_newer_first: bool) -> None:
    """A reviewer who thought again must not be outvoted by himself, in whichever order a server tells it."""
    approvals = [
        world.approval(grant={"new": 1}, issued=stamp(NOW - HOUR)),
        world.approval(grant={"old": 1}, issued=stamp(NOW - 2 * HOUR)),
    ]
    assert judge(world, approvals=approvals if is_newer_first else approvals[::-1]).grants == ({"new": 1},)


def test_a_clock_a_little_behind_is_forgiven(world: World) -> None:
    edge = stamp(NOW + timedelta(seconds=limits.MAX_CLOCK_SKEW_S))
    assert judge(world, publication=world.publication(issued=edge), approvals=[world.approval(issued=edge)])
    past = stamp(NOW + timedelta(seconds=limits.MAX_CLOCK_SKEW_S + 1))
    assert refusal(world, approvals=[world.approval(issued=past)]) == "expired"


def test_an_expired_roster_proves_nothing(world: World) -> None:
    assert refusal(world, roster=world.roster(expires=stamp(NOW))) == "expired"


def test_keys_that_expired_prove_nothing(world: World) -> None:
    def with_expired(name: str) -> Any:
        members = [world.member(other) for other in ("ann", "bob") if other != name]
        return world.roster(keys=[*members, world.member(name, expires=stamp(NOW))])

    assert refusal(world, roster=with_expired("ann")) == "wrong_namespace"
    assert refusal(world, roster=with_expired("bob")) == "not_approved"


def test_a_key_that_left_the_roster_is_unknown(world: World) -> None:
    assert refusal(world, roster=world.roster(keys=[world.member("bob")])) == "unknown_key"


# withdrawals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["ann", "bob", "cid", "eve"])
def test_an_author_or_a_reviewer_of_the_namespace_withdraws(world: World, signer: str) -> None:
    assert refusal(world, withdrawals=[world.withdrawal(signer)]) == "withdrawn"


IDLE: list[Callable[[World], Envelope]] = [
    lambda w: unsigned(w.withdrawal()),
    lambda w: forged(w.withdrawal()),
    lambda w: w.withdrawal("mallory"),
    lambda w: w.withdrawal("dan"),  # author of another namespace
    lambda w: w.withdrawal("dan", name="checksums/disk"),  # his own namespace, but our digest
    lambda w: w.withdrawal("oli"),
    lambda w: w.withdrawal(digest=OTHER_DIGEST),
    lambda w: odd(w, "withdrawal", "bob"),
    lambda w: Envelope(payload_type("withdrawal"), b"\xff", (Signature("x", b"x"),)),
]


@pytest.mark.parametrize("withdrawal", IDLE)
def test_a_withdrawal_that_proves_nothing_withdraws_nothing(
    world: World, withdrawal: Callable[[World], Envelope]
) -> None:
    """Else anybody could stop any check; and it must not hide a true one that follows."""
    assert judge(world, withdrawals=[withdrawal(world)])
    assert refusal(world, withdrawals=[withdrawal(world), world.withdrawal()]) == "withdrawn"


def test_a_refused_withdrawal_says_why(world: World) -> None:
    for envelope, reason in [
        (unsigned(world.withdrawal()), "unsigned"),
        (forged(world.withdrawal()), "bad_signature"),
        (world.withdrawal("mallory"), "unknown_key"),
        (world.withdrawal("dan"), "wrong_namespace"),
    ]:
        with pytest.raises(TrustError) as caught:
            check_withdrawal(envelope, world.roster(), NOW)
        assert caught.value.reason == reason


def test_withdrawn_goes_before_approved(world: World) -> None:
    many = [world.approval("bob"), world.approval("cid"), world.approval("eve")]
    assert refusal(world, approvals=many, withdrawals=[world.withdrawal()]) == "withdrawn"


# the manifest ---------------------------------------------------------------------------------------------------------


def test_the_manifest_must_say_what_was_signed(world: World) -> None:
    """A bundle that calls itself something else would be shown, recorded and throttled as that."""
    proved = judge(world)
    right = replace(implied("main.lua", Tier.OBSERVE), name="checks/disk", version="1.2.0")
    check_manifest(proved, right)
    changes: tuple[dict[str, Any], ...] = ({"name": "checks/other"}, {"version": "1.2.1"})
    for change in changes:
        with pytest.raises(TrustError) as caught:
            check_manifest(proved, replace(right, **change))
        assert caught.value.reason == "mix_and_match"
