"""The attacker puts together what honest people signed about different things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from siege import CAREFUL, Siege, approved, order, script


@pytest.mark.parametrize("changes", [{"version": "1.2.1"}, {"name": "checks/other"}])
async def test_an_approval_of_another_version_or_script(siege: Siege, changes: dict[str, Any]) -> None:
    entry = approved(siege.world, script())
    other = siege.world.approval(digest=entry.bundle.digest, **changes)
    assert await siege.attempt(siege.offer(replace(entry, approvals=(other,)))) == "mix_and_match"


async def test_an_approval_for_more_than_was_published(siege: Siege) -> None:
    entry = approved(siege.world, script(), tier="inspect")
    assert await siege.attempt(siege.offer(entry)) == "mix_and_match"


async def test_a_manifest_that_calls_itself_something_else(siege: Siege) -> None:
    entry = approved(siege.world, script(name="checks/other"))
    about = {"digest": entry.bundle.digest}
    signed = replace(entry, publication=siege.world.publication(**about), approvals=(siege.world.approval(**about),))
    assert await siege.attempt(siege.offer(signed)) == "mix_and_match"


async def test_two_rosters_of_one_version(siege: Siege) -> None:
    """A different view for each host, made by roots that signed twice."""
    assert await siege.roster(1, keys=[siege.world.member("bob")]) == "untrusted"
    assert await siege.recorded("roster.set") == ["mix_and_match"]


@pytest.mark.parametrize(
    "changes",
    [{"agents": ["agt_fedcba9876543210"]}, {"parameters": {"device": "sda"}}, {"action": "schedule", "schedule": {}}],
)
async def test_an_order_for_another_host_parameter_or_purpose(siege: Siege, changes: dict[str, Any]) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    assert await siege.attempt(digest, order=order(siege.world, digest, **changes)) == "mix_and_match"


async def test_an_order_about_another_script(siege: Siege) -> None:
    siege.allow(CAREFUL)
    one, other = (siege.offer(approved(siege.world, script(f"return {number}\n"))) for number in (1, 2))
    assert await siege.attempt(one, order=order(siege.world, other)) == "mix_and_match"
