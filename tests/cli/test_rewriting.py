"""Needs go into a manifest that a person keeps; everything else in it stays as it is."""

from __future__ import annotations

import pytest

from cli.local.rewriting import with_needs
from protocol.errors import ArgumentError
from protocol.manifest import Need, parse
from protocol.tiers import Tier

HEAD = "name: checks/a\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\n"
NEEDS = (
    Need("fs.read", paths=("/etc/hosts", '/srv/a "b": #c')),
    Need("sys.uptime"),
    Need("net.http", targets=("a:1",)),
)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "tier: observe\n",
        HEAD + "tier: observe",
        HEAD + "tier: observe  # low\nneeds: [{call: fs.list}]\ndescription: x\n",
        HEAD + "tier: observe\nneeds:\n- call: fs.list\n  paths:\n  - /a\n  # mine\n\n# about x\ndescription: x\n",
        HEAD + "needs:\n  - call: fs.list\ntier: observe\n",
        HEAD + "tier:\n  observe\n# end\n",
        "# c\n" + HEAD + "tier: observe\nneeds: []\n",
    ],
)
@pytest.mark.parametrize("needs", [NEEDS, ()])
def test_only_needs_and_tier_change(text: str, needs: tuple[Need, ...]) -> None:
    made = with_needs(text, needs, Tier.INSPECT)
    read = parse(made)
    assert (read.needs, read.tier, read.name) == (needs, Tier.INSPECT, "checks/a")
    for comment in ("# about x", "# end", "# c"):
        assert (comment in made) == (comment in text)


def test_manifest_on_one_line_is_left_alone() -> None:
    text = "{name: checks/a, version: 1.0.0, language: lua, main: main.lua, tier: observe}\n"
    with pytest.raises(ArgumentError, match="by hand"):
        with_needs(text, NEEDS, Tier.OBSERVE)
