"""Withdrawals and revocations: who may take back what, and that what proves nothing takes nothing back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from world import DIGEST, NOW, OTHER_DIGEST, World

from protocol.errors import TrustError
from protocol.signing import Envelope
from protocol.statements import Approval, Publication, Revocation
from protocol.taking_back import check_revocation, revoked_until
from protocol.tiers import Tier
from protocol.timestamps import stamp
from protocol.trust import authorise

HOUR = timedelta(hours=1)


def revocation(world: World, *signers: str, **changes: Any) -> Envelope:
    body = {"reason": "it leaks", "digest": DIGEST, "issued": stamp(NOW)} | changes
    return world.statement("revocation", signers or ("bob",), body, without={"tier"})


def outcome(world: World, *taken: Envelope, approvals: tuple[Envelope, ...] = (), **changes: Any) -> str:
    given = approvals or (world.approval(),)
    try:
        authorise(DIGEST, world.publication(), given, taken, changes.pop("roster", world.roster()), NOW, **changes)
    except TrustError as error:
        return error.reason
    return "ran"


def test_a_reviewer_takes_back_what_they_approved(world: World) -> None:
    assert outcome(world, revocation(world)) == "revoked"


def test_what_was_approved_later_counts(world: World) -> None:
    earlier = revocation(world, issued=stamp(NOW - 2 * HOUR))  # the approval is an hour old
    assert outcome(world, earlier) == "ran"
    at_the_moment = revocation(world, issued=stamp(NOW - HOUR))
    assert outcome(world, at_the_moment) == "revoked", "at the very moment counts as before"


@pytest.mark.parametrize("changes", [{"digest": OTHER_DIGEST}, {"reason": 3}, {"more": 1}, {"issued": "yesterday"}])
def test_what_is_about_something_else_or_malformed_takes_nothing_back(world: World, changes: dict[str, Any]) -> None:
    assert outcome(world, revocation(world, **changes)) == "ran"
    assert outcome(world, revocation(world, **changes), revocation(world)) == "revoked", "nor does it hide a true one"


@pytest.mark.parametrize("signer", ["ann", "cid", "mallory"])
def test_nobody_takes_back_what_another_one_approved(world: World, signer: str) -> None:
    """Who may stop it altogether withdraws it."""
    assert outcome(world, revocation(world, signer)) == "ran"


def test_one_who_takes_back_does_not_take_the_others_with_them(world: World) -> None:
    both = (world.approval("bob", "cid"),)
    assert outcome(world, revocation(world), approvals=both) == "ran"
    assert outcome(world, revocation(world), approvals=both, reviewers_needed=2) == "not_approved"


def test_any_key_of_the_person_takes_back_even_one_that_ended(world: World) -> None:
    """A key that may not say yes any more may still say no."""
    second = world.member("cid", expires=stamp(NOW - HOUR)) | {"name": "bob"}
    roster = world.roster(keys=[world.member("ann"), world.member("bob"), second])
    assert outcome(world, revocation(world, "cid"), roster=roster) == "revoked"


def test_a_withdrawal_is_no_revocation_and_the_other_way_round(world: World) -> None:
    with pytest.raises(TrustError) as caught:
        check_revocation(world.withdrawal(), world.roster())
    assert caught.value.reason == "wrong_type"


def test_of_several_the_newest_moment_counts(world: World) -> None:
    published = Publication("checks/disk", "1.2.0", DIGEST, Tier.OBSERVE, NOW)
    several = [revocation(world, issued=stamp(NOW - number * HOUR)) for number in (2, 0, 1)]
    assert revoked_until(published, several, world.roster()) == {"bob": NOW}


def test_the_roots_withdraw_for_good(world: World) -> None:
    assert outcome(world, roster=world.roster(withdrawn=[DIGEST])) == "withdrawn"
    assert outcome(world, roster=world.roster(withdrawn=[OTHER_DIGEST])) == "ran"


def test_labels_of_an_approval(world: World) -> None:
    mail = (world.approval(grant={"labels": {"role": "mail", "env": "prod"}}),)
    assert outcome(world, approvals=mail) == "ran", "no host is meant"
    assert outcome(world, approvals=mail, labels={"role": "mail", "env": "prod", "rack": "7"}) == "ran"
    for labels in ({}, {"role": "mail"}, {"role": "web", "env": "prod"}):
        assert outcome(world, approvals=mail, labels=labels) == "not_approved"
    assert outcome(world, approvals=(*mail, world.approval("cid")), labels={}) == "ran", "another approval is for all"


@pytest.mark.parametrize("labels", [3, ["role"], {"role": 3}])
def test_labels_of_another_form_make_an_approval_malformed(world: World, labels: Any) -> None:
    assert outcome(world, approvals=(world.approval(grant={"labels": labels}),)) == "malformed"


def test_the_words_of_a_revocation() -> None:
    body = {
        "type": "revocation", "name": "a", "version": "1", "digest": DIGEST, "reason": "why", "issued": stamp(NOW),
    }  # fmt: skip
    assert Revocation.parse(body) == Revocation("a", "1", DIGEST, "why", NOW)
    assert Approval("a", "1", DIGEST, Tier.OBSERVE, {}, NOW, NOW, "").labels == {}
    assert isinstance(Revocation.parse(body).issued, datetime)
