"""What one roster changes over another: nothing that matters may be missing from the list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "protocol"))

from world import NOW, World

from cli.roster_changes import compare
from protocol.roster import parse
from protocol.timestamps import stamp

DIGEST = "sha256:" + "ab" * 32


def told(world: World, **changes: Any) -> list[str]:
    return [str(change) for change in compare(parse(world.roster_body()), parse(world.roster_body(**changes)))]


def test_the_same_roster_changes_nothing() -> None:
    assert told(World()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"expires": "2027-01-01T00:00:00Z"}, "~ expires 2026-12-23T12:00:00Z -> 2027-01-01T00:00:00Z"),
        ({"reviewers": {"operate": 2, "admin": 3}}, "~ reviewers 1 -> 2 from operate on, 3 from admin on"),
        ({"withdrawn": [DIGEST]}, f"+ withdrawn {DIGEST}"),
    ],
)
def test_each_field(changes: dict[str, Any], said: str) -> None:
    assert told(World(), **changes) == [said]


def test_roots_and_their_threshold() -> None:
    world = World()
    roots = {"threshold": 2, "keys": [world.key(name).public.to_text() for name in ("root", "r2")]}
    assert told(world, roots=roots) == [f"+ root {world.key('r2').public.key_id[:16]}", "~ threshold 1 -> 2"]


def test_who_came_went_and_may_do_something_else() -> None:
    world = World()
    ann, *others = (world.member(name) for name in ("ann", "cid", "dan", "eve", "oli"))
    ann |= {"roles": [{"role": "author", "namespace": ""}], "revoked": stamp(NOW)}
    new = {"name": "zoe", "key": world.key("zoe").public.to_text(), "roles": [{"role": "operator", "tier": "admin"}]}
    ids = {name: world.key(name).public.key_id[:16] for name in ("ann", "bob", "zoe")}
    assert told(world, keys=[ann, *others, new]) == [
        f"~ key ann {ids['ann']}: author checks -> author everywhere, revoked 2026-11-23T12:00:00Z",
        f"+ key zoe {ids['zoe']}: operator up to admin",
        f"- key bob {ids['bob']}: reviewer up to inspect",
    ]


def test_a_key_that_changes_hands() -> None:
    """People are told apart by their names; a change of one must be seen."""
    world = World()
    members = [world.member(name) for name in ("ann", "bob", "cid", "dan", "eve", "oli")]
    members[1] |= {"name": "ann"}
    (change,) = told(world, keys=members)
    assert change.endswith(": reviewer up to inspect -> ann, reviewer up to inspect")
