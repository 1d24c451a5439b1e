"""The attacker wants what nobody approved to run, under the pretext that it is only tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from premises import AGENT
from siege import CAREFUL, TRUSTING, Siege, approved, script
from world import DIGEST, NOW

from agent.cache import Entry
from protocol.bundle import Bundle
from protocol.signing import sign
from protocol.timestamps import stamp

TRIALS = CAREFUL + "dry_runs: true\n"


@pytest.fixture(autouse=True)
def _lenient(siege: Siege) -> None:
    siege.allow(TRIALS)


def unapproved(siege: Siege, bundle: Bundle | None = None, *authors: str) -> str:
    entry = approved(siege.world, bundle or script())
    about = {"digest": entry.bundle.digest, "tier": entry.bundle.manifest.tier.label}
    publication = siege.world.publication(*authors, **about)
    return siege.offer(Entry(entry.bundle, publication, ()))


def order(siege: Siege, digest: str, *signers: str, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "order", "action": "run", "agents": [AGENT], "digest": digest, "parameters": {}, "dry_run": True,
        "issued": stamp(NOW), "expires": stamp(NOW.replace(hour=13)), "nonce": "n1",
    } | changes  # fmt: skip
    return sign("order", body, *[siege.world.key(name) for name in signers or ("bob",)]).to_plain()


async def tried(siege: Siege, digest: str, *signers: str, **changes: Any) -> str:
    return await siege.attempt(digest, dry_run=True, order=order(siege, digest, *signers, **changes))


@pytest.mark.parametrize("signer", ["bob", "oli"])
async def test_what_is_in_order_is_tried(siege: Siege, signer: str) -> None:
    """The attacks below fail for their reason: a reviewer's or an operator's order lets it be tried, once."""
    digest = unapproved(siege)
    assert await tried(siege, digest, signer) == "ran"
    (start,) = [record for record in siege.records() if record.kind == "run.start"]
    assert (start.data["dry_run"], start.data["trial"]) == (True, True)
    assert await tried(siege, digest, signer) == "replayed_token"


async def test_without_an_order(siege: Siege) -> None:
    assert await siege.attempt(unapproved(siege), dry_run=True) == "not_approved"


async def test_on_the_servers_word(siege: Siege) -> None:
    siege.allow(TRUSTING + "dry_runs: true\n")
    assert await siege.attempt(unapproved(siege), dry_run=True) == "not_approved"


async def test_for_real_with_the_order_of_a_trial(siege: Siege) -> None:
    digest = unapproved(siege)
    assert await siege.attempt(digest, order=order(siege, digest)) == "not_approved"


async def test_for_real_with_the_order_of_a_trial_of_what_is_approved(siege: Siege) -> None:
    """A reviewer's order is good for dry runs alone, and an operator's that says dry is as well."""
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest, order=order(siege, digest)) == "operator_signature_required"
    assert await siege.attempt(digest, order=order(siege, digest, "oli")) == "mix_and_match"


async def test_with_the_order_of_a_real_run(siege: Siege) -> None:
    digest = unapproved(siege)
    assert await tried(siege, digest, "oli", dry_run=False) == "mix_and_match"
    assert await tried(siege, digest, "bob", dry_run=False) == "operator_signature_required"


@pytest.mark.parametrize("ceiling", [CAREFUL, TRUSTING, CAREFUL + "dry_runs: false\n"])
async def test_where_the_owner_did_not_allow_it(siege: Siege, ceiling: str) -> None:
    siege.allow(ceiling)
    assert await tried(siege, unapproved(siege), "oli") == "not_approved"


async def test_above_the_ceiling(siege: Siege) -> None:
    siege.allow("highest_tier: observe\ndry_runs: true\n")
    assert await tried(siege, unapproved(siege, script(tier="inspect"))) == "above_ceiling"


async def test_above_the_tier_of_who_orders_it(siege: Siege) -> None:
    assert await tried(siege, unapproved(siege, script(tier="operate")), "bob") == "operator_signature_required"
    assert await tried(siege, unapproved(siege, script(tier="admin")), "oli") == "operator_signature_required"


async def test_what_was_withdrawn(siege: Siege) -> None:
    digest = unapproved(siege)
    await siege.withdraw(siege.world.withdrawal(digest=digest))
    assert await tried(siege, digest) == "withdrawn"


async def test_by_the_order_of_another_digest(siege: Siege) -> None:
    digest = unapproved(siege)
    other = order(siege, DIGEST)
    assert await siege.attempt(digest, dry_run=True, order=other) == "mix_and_match"


async def test_other_bytes_under_the_digest_that_was_ordered(siege: Siege) -> None:
    digest = unapproved(siege)
    siege.offer(replace(siege.server.bundles[digest], bundle=script("return 'mine'\n")), digest)
    assert await tried(siege, digest) == "wrong_digest"


@pytest.mark.parametrize(
    ("authors", "reason"), [(("mallory",), "unknown_key"), (("dan",), "wrong_namespace"), (("bob",), "wrong_namespace")]
)
async def test_what_no_author_of_its_name_published(siege: Siege, authors: tuple[str, ...], reason: str) -> None:
    assert await tried(siege, unapproved(siege, None, *authors), "oli") == reason


async def test_by_its_own_author(siege: Siege) -> None:
    """Eve writes and reviews; alone, or with another's hand lent to the publication, she tries nothing of her own."""
    assert await tried(siege, unapproved(siege, None, "eve"), "eve") == "self_approval"
    assert await tried(siege, unapproved(siege, None, "ann", "eve"), "eve") == "self_approval"
    assert await tried(siege, unapproved(siege, script("return 2\n")), "ann", "oli") == "self_approval"


@pytest.mark.parametrize("signer", ["ann", "dan", "mallory"])
async def test_by_the_order_of_nobody_who_may(siege: Siege, signer: str) -> None:
    assert await tried(siege, unapproved(siege, None, "eve"), signer) in {"operator_signature_required", "unknown_key"}


async def test_what_it_requires_must_be_approved(siege: Siege) -> None:
    library = script("return {}\n", name="checks/rates")
    siege.offer(replace(approved(siege.world, library), approvals=()))
    pins = f'requires: [{{name: checks/rates, digest: "{library.digest}"}}]\n'
    user = script("return require('checks/rates')\n", more=pins)
    assert await tried(siege, unapproved(siege, user)) == "not_approved"


async def test_a_trial_changes_nothing(siege: Siege, tmp_path: Path) -> None:
    target = tmp_path / "new"
    digest = unapproved(siege, script(f'fs.write("{target}", "x")\nreturn 1\n', tier="operate"))
    assert await tried(siege, digest, "oli") == "ran"
    (write,) = [record for record in siege.records() if record.call == "fs.write"]
    assert write.outcome == "dry"
    assert not target.exists()
