"""What no call reaches, at whatever tier: the files in which the owner and the keys of a host have their word."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.own_files import guarded
from agent.permission import grant_layer
from policies.ceiling import DEFAULT, Ceiling, load_ceiling
from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.load import builtin
from policies.model import Facts
from protocol.tiers import Tier

WRITTEN = [
    "highest_tier: admin\n", "highest_tier: admin\nallow: [{call: '*'}]\n",
    "highest_tier: admin\nallow: [{call: 'fs.*', paths: [/**]}]\ndeny: [{call: fs.read, paths: [/etc/**]}]\n",
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "below" / "agent"
    made.mkdir(parents=True)
    return made


def admin(ceiling: Ceiling) -> Effective:
    """Return all that may be had: tier admin, a grant of everything, and what the owner allows."""
    policy, granted = builtin(Tier.ADMIN), grant_layer({"allow": [{"call": "*"}]})
    assert granted is not None
    assert ceiling.layer is not None
    return Effective((Layer(policy.name, policy.rules), granted, ceiling.layer))


def is_allowed(ceiling: Ceiling, call: str, path: Path | str) -> bool:
    verdict = decide_effective(admin(ceiling), call, Facts(path=str(path)))
    assert verdict.allowed or verdict.rule.startswith("the agent's own files: deny"), verdict
    return verdict.allowed


@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize(
    "call", ["fs.read", "fs.write", "fs.stat", "file.write", "net.unix", "proc.spawn", "state.put"]
)
def test_nothing_in_the_directory_is_reached(state: Path, text: str, call: str) -> None:
    ceiling = guarded(load_ceiling(text, "ceiling.yaml"), state)
    for name in ("", "ceiling.yaml", "frozen.json", "identity.key", "control.sock", "journal/x/y"):
        assert not is_allowed(ceiling, call, state / name)


@pytest.mark.parametrize("call", ["fs.read", "fs.write", "fs.rename", "fs.remove"])
def test_what_lies_beside_it_is(state: Path, call: str) -> None:
    ceiling = guarded(load_ceiling(WRITTEN[1], "ceiling.yaml"), state)
    for path in (state.parent / "agent.log", f"{state}-2/ceiling.yaml", state.parent / "x" / "agent", "/"):
        assert is_allowed(ceiling, call, path)


@pytest.mark.parametrize("call", ["fs.rename", "fs.remove", "fs.rmdir", "fs.chmod", "fs.chown"])
def test_nor_is_it_moved_with_what_it_lies_in(state: Path, call: str) -> None:
    """Under another name it would be any directory."""
    ceiling = guarded(load_ceiling(WRITTEN[0], "ceiling.yaml"), state)
    for parent in list(state.parents)[:-1]:
        assert not is_allowed(ceiling, call, parent)
    assert is_allowed(ceiling, "fs.stat", state.parent)
    assert is_allowed(ceiling, "fs.write", state.parent)


def test_where_the_owner_has_said_nothing_too(state: Path) -> None:
    assert guarded(DEFAULT, state).layer is not None
    assert not is_allowed(guarded(DEFAULT, state), "fs.read", state / "identity.key")


def test_a_walk_from_above_looks_at_each_and_one_within_at_none(state: Path) -> None:
    effective = admin(guarded(load_ceiling(WRITTEN[0], "ceiling.yaml"), state))
    assert decide_below(effective, "fs.walk", str(state)) is False
    assert decide_below(effective, "fs.walk", str(state.parent)) is None
    assert decide_below(effective, "fs.walk", "/usr/share/doc") is not False


def test_the_way_there_is_the_real_one(state: Path, tmp_path: Path) -> None:
    """Calls are decided on what was opened; a link that the owner named would be no name of that."""
    (tmp_path / "link").symlink_to(state)
    ceiling = guarded(load_ceiling(WRITTEN[0], "ceiling.yaml"), tmp_path / "link")
    assert not is_allowed(ceiling, "fs.write", state / "ceiling.yaml")


@pytest.mark.parametrize("call", ["fs.rename", "fs.unlink", "fs.remove", "fs.undo"])
def test_no_link_on_the_way_there_is_replaced(state: Path, tmp_path: Path, call: str) -> None:
    """An agent that is started anew would find a directory of somebody else's there, and their ceiling in it."""
    (tmp_path / "disk").symlink_to("below")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/outrider").symlink_to(f"../{state.name}-too/../disk/agent")
    (tmp_path / f"{state.name}-too").mkdir()
    ceiling = guarded(load_ceiling(WRITTEN[0], "ceiling.yaml"), tmp_path / "lib/outrider")
    for link in ("lib/outrider", "disk", "lib", f"{state.name}-too", "below"):
        assert not is_allowed(ceiling, call, tmp_path / link)
    assert not is_allowed(ceiling, "fs.write", state / "ceiling.yaml")
    assert is_allowed(ceiling, call, tmp_path / "lib/other")
    assert is_allowed(ceiling, "fs.stat", tmp_path / "lib/outrider")


def test_a_way_that_leads_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round/x")
    assert not is_allowed(guarded(DEFAULT, tmp_path / "round"), "fs.unlink", tmp_path / "round")


def test_a_name_that_reads_like_a_pattern_is_guarded(tmp_path: Path) -> None:
    odd = tmp_path / "a*[b]?"
    ceiling = guarded(load_ceiling(WRITTEN[0], "ceiling.yaml"), odd)
    assert not is_allowed(ceiling, "fs.write", odd / "ceiling.yaml")
    assert is_allowed(ceiling, "fs.write", tmp_path / "abbb" / "ceiling.yaml")
