"""What a run may do: every layer must allow, and every limit is the smallest of all."""

from __future__ import annotations

from typing import Any

import pytest
from premises import approved, script
from world import NOW, World

from agent.permission import effective_policy, grant_layer
from policies.ceiling import Ceiling, load_ceiling
from policies.decide import Effective, decide_effective
from policies.load import builtin
from policies.model import Facts
from protocol.errors import TrustError
from protocol.tiers import Tier
from protocol.trust import authorise


def effective(
    world: World, *, tier: str = "inspect", more: str = "", grants: tuple[dict[str, Any], ...] = ({},),
    ceiling: str = "", timeout_s: float | None = None,
) -> Effective:  # fmt: skip
    bundle = script(tier=tier, more=more)
    entry = approved(world, bundle)
    about = {"digest": bundle.digest, "tier": tier}
    approvals = [
        world.approval(name, grant=grant, **about) for name, grant in zip(("bob", "eve"), grants, strict=False)
    ]
    proved = authorise(bundle.digest, entry.publication, approvals, [], world.roster(), NOW)
    return effective_policy(
        proved, bundle.manifest, load_ceiling(ceiling, "ceiling.yaml") if ceiling else Ceiling(), timeout_s=timeout_s
    )


def allows(policy: Effective, path: str, call: str = "fs.read") -> bool:
    return decide_effective(policy, call, Facts(path=path, bytes=1)).allowed


LOGS = {"allow": [{"call": "fs.read", "paths": ["/var/log/**"]}]}
SYSLOG = {"allow": [{"call": "fs.read", "paths": ["/var/log/syslog"]}]}
NEEDS = 'needs: [{call: fs.read, paths: ["/var/log/**"]}]\n'


def test_without_more_words_the_tier_decides(world: World) -> None:
    policy = effective(world)
    assert allows(policy, "/var/log/syslog")
    assert not allows(policy, "/etc/shadow")
    assert policy.limits == builtin(Tier.INSPECT).limits


@pytest.mark.parametrize(
    "narrowed",
    [
        {"grants": (LOGS,)},
        {"grants": (LOGS, {})},
        {"more": NEEDS},
        {"ceiling": "allow:\n  - {call: fs.read, paths: [/var/log/**]}\n"},
        {"ceiling": "deny:\n  - {call: fs.read, paths: [/etc/**]}\n"},
        {"grants": ({"deny": [{"call": "fs.read", "paths": ["/etc/**"]}]},)},
    ],
)
def test_each_layer_narrows(world: World, narrowed: dict[str, Any]) -> None:
    """Reviewer, author and owner can each take away, whatever the others allow."""
    policy = effective(world, **narrowed)
    assert allows(policy, "/var/log/syslog")
    assert not allows(policy, "/etc/hostname")
    assert allows(effective(world), "/etc/hostname"), "the tier would"


def test_of_two_approvals_both_must_allow(world: World) -> None:
    policy = effective(world, grants=(LOGS, SYSLOG))
    assert allows(policy, "/var/log/syslog")
    assert not allows(policy, "/var/log/auth.log")


@pytest.mark.parametrize("widening", [{"allow": [{"call": "fs.read"}]}, {"allow": [{"call": "*"}]}])
def test_no_grant_widens_the_tier(world: World, widening: dict[str, Any]) -> None:
    assert not allows(effective(world, grants=(widening,)), "/etc/shadow")
    assert not decide_effective(effective(world, grants=(widening,)), "proc.kill", Facts()).allowed


def test_the_tier_that_was_approved_decides_not_the_manifests(world: World) -> None:
    bundle = script(tier="inspect")
    entry = approved(world, bundle, tier="observe")
    proved = authorise(bundle.digest, entry.publication, list(entry.approvals), [], world.roster(), NOW)
    assert not allows(effective_policy(proved, bundle.manifest, Ceiling()), "/var/log/syslog")


def test_what_a_script_says_of_itself_needs_no_line(world: World) -> None:
    """Or every grant and every ceiling would have to list it."""
    policy = effective(world, grants=(LOGS,), more=NEEDS, ceiling="allow:\n  - {call: fs.read}\n")
    assert decide_effective(policy, "check.metric", Facts()).allowed


# limits --------------------------------------------------------------------------------------------------------------


def test_a_manifest_narrows_the_limits_of_its_tier(world: World) -> None:
    limits = effective(
        world,
        more="limits: {wall: 3s, cpu: 1s, memory: 16MiB, output: 1KiB, calls: 5, log_lines: 3, metrics: 2, rows: 1}\n",
    ).limits
    assert (limits.wall_s, limits.cpu_s, limits.memory_bytes) == (3.0, 1.0, 16 << 20)
    assert (limits.output_bytes, limits.calls, limits.log_lines) == (1 << 10, 5, 3)
    assert (limits.metrics, limits.rows) == (2, 1)


def test_no_manifest_widens_them(world: World) -> None:
    wide = (
        "limits: {wall: 1h, cpu: 1h, memory: 8GiB, output: 1GiB, calls: 1000000000, open_files: 900, processes: 99, "
        "log_lines: 900000, metrics: 900000, rows: 900000}\n"
    )
    assert effective(world, more=wide).limits == builtin(Tier.INSPECT).limits


@pytest.mark.parametrize(
    ("narrowed", "wall_s"),
    [
        ({"timeout_s": 4.0}, 4.0),
        ({"timeout_s": 4.0, "more": "limits: {wall: 3s}\n"}, 3.0),
        ({"timeout_s": 4.0, "ceiling": "limits: {wall: 2s}\n"}, 2.0),
        ({"timeout_s": 4.0, "grants": ({"limits": {"wall": "1s"}},)}, 1.0),
        ({"timeout_s": 86_400.0}, builtin(Tier.INSPECT).limits.wall_s),
    ],
)
def test_the_shortest_time_counts(world: World, narrowed: dict[str, Any], wall_s: float) -> None:
    assert effective(world, **narrowed).limits.wall_s == wall_s


# grants --------------------------------------------------------------------------------------------------------------


def test_an_empty_grant_is_no_layer() -> None:
    assert grant_layer({}) is None


@pytest.mark.parametrize(
    ("grant", "says"),
    [
        ({"alow": []}, "alow"),
        ({"allow": []}, "allow"),
        ({"allow": None}, "allow"),
        ({"allow": [{"call": "fs.read", "paths": []}]}, "paths"),
        ({"allow": "fs.read"}, "allow"),
        ({"allow": [{"call": "fs.read", "path": "/etc"}]}, "path"),
        ({"allow": [{"call": "fs.read", "paths": ["etc/hostname"]}]}, "paths"),
        ({"limits": {"wall": 5}}, "wall"),
        ({"limits": {"wal": "5s"}}, "wal"),
        ({"highest_tier": "admin"}, "highest_tier"),
        ({"allow": [{"call": "x" * 2_000_000}]}, "over"),
    ],
)
def test_a_grant_that_cannot_be_understood_grants_nothing(grant: dict[str, Any], says: str) -> None:
    """It was signed, but what was meant by it is not known: the run is refused, not run without it."""
    with pytest.raises(TrustError, match=says) as caught:
        grant_layer(grant)
    assert caught.value.reason == "malformed"
