"""The tier that a script needs by the paths in its code."""

from __future__ import annotations

import pytest

from policies.reached import tier_of_paths
from protocol.tiers import Tier


@pytest.mark.parametrize(
    ("needs", "tier"),
    [
        ([], Tier.COMPUTE),
        ([("fs.list", ["/etc"])], Tier.OBSERVE),
        ([("fs.list", ["/var/spool/postfix"])], Tier.INSPECT),
        ([("fs.list", ["/etc"]), ("fs.walk", ["/home/mia/**"])], Tier.INSPECT),
        ([("fs.walk", ["/**"])], Tier.OBSERVE),  # what lies below is asked about while it is walked
        ([("fs.read", ["/etc/shadow"])], Tier.COMPUTE),  # no tier allows it
        ([("fs.read", ["/etc/shadow", "/etc/hosts"])], Tier.INSPECT),
        ([("fs.list", ["/home/{user}/x", "/home/*"]), ("sys.uptime", [])], Tier.COMPUTE),
    ],
)
def test_lowest_tier_by_paths(needs: list[tuple[str, list[str]]], tier: Tier) -> None:
    assert tier_of_paths(needs) is tier
