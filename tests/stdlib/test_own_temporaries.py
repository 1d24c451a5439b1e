"""What a run made as temporary is its own to use; nothing else opens with it."""

from __future__ import annotations

import pytest

from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Effect, Facts, Rule
from policies.needs import needs_layer
from policies.paths import PathPattern
from protocol.manifest import parse
from protocol.tiers import Tier
from stdlib.catalogue import load
from stdlib.host import RunContext
from stdlib.own_temporaries import BRINGING, OTHERS, USABLE, Decided

OWN = "/tmp/outrider-run-own"
FILE = f"{OWN}/file"
OTHER = "/tmp/outrider-run-other/file"
OF_OTHERS = Rule(Effect.DENY, "*", OTHERS, paths=(PathPattern.parse("/tmp/outrider-run-*/**"),))
DENIED = Layer("this host's agent", (OF_OTHERS, Rule(Effect.ALLOW, "*", "all")))
READING = [call for call in USABLE if call in {"fs.read", "fs.list", "fs.stat", "fs.lines", "fs.hash", "fs.walk"}]


def decided(tier: Tier, *more: Layer | None) -> Decided:
    policy = builtin(tier)
    context = RunContext()
    context.temporaries.append(OWN)
    layers = (Layer(policy.name, policy.rules), *(layer for layer in more if layer is not None), DENIED)
    return Decided(Effective(layers), context)


def ceiling(text: str) -> Layer:
    layer = load_ceiling(f"highest_tier: admin\n{text}", "ceiling.yaml").layer
    assert layer is not None
    return layer


def needs(text: str) -> Layer:
    manifest = f"name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: operate\nneeds: {text}\n"
    layer = needs_layer(parse(manifest))
    assert layer is not None
    return layer


def test_every_call_that_takes_a_path_was_thought_of() -> None:
    """A new one is either used on what a run made, brings something there, or is left out by name."""
    left_out = {"fs.chmod", "fs.chown", "fs.remove"}
    catalogue = load()
    taking = {
        spec.name for row in catalogue.tables() if (spec := catalogue.find(row["name"])) is not None
        and spec.name.startswith(("fs.", "file.", "writer."))
        and (spec.is_method or any(item.is_path for item in spec.parameters))
    }  # fmt: skip
    assert taking | {"fs.undo"} == set(USABLE) | set(BRINGING) | left_out
    for name in ("fs.copy", "fs.link", "fs.rename"):
        assert name not in USABLE, "with it what may not be read could be brought to where it may"


@pytest.mark.parametrize("tier", [Tier.INSPECT, Tier.OPERATE, Tier.ADMIN])
@pytest.mark.parametrize("call", READING)
def test_ones_own_is_read_at_each_tier_that_can_make_it_and_nobody_elses(tier: Tier, call: str) -> None:
    mine = decided(tier)
    for path in (OWN, FILE, f"{OWN}/deep/er"):
        assert mine.decide(call, Facts(path=path)).allowed, path
    for path in (OTHER, f"{OWN}x/file", "/tmp/outrider-run-ow"):
        assert not mine.decide(call, Facts(path=path)).allowed, path
    assert mine.below(call, OWN) is True
    assert mine.below(call, OTHER) is False


@pytest.mark.parametrize("path", ["/root/x", "/home/ann/x", "/tmp/x", "/etc/shadow", "/home/ann/.ssh/id"])
@pytest.mark.parametrize("call", ["fs.read", "fs.lines", "fs.open", "fs.grep", "fs.upload"])
def test_where_a_link_in_there_leads_is_not_in_there(call: str, path: str) -> None:
    """A call is decided on what it opened."""
    assert not decided(Tier.OPERATE).decide(call, Facts(path=path)).allowed


def test_a_tier_that_writes_nothing_writes_nothing_there() -> None:
    for call in ("fs.write", "fs.append", "fs.unlink", "fs.symlink"):
        assert not decided(Tier.INSPECT).decide(call, Facts(path=FILE)).allowed
        assert decided(Tier.OPERATE).decide(call, Facts(path=FILE)).allowed


def test_a_tier_writes_its_own_wherever_that_lies() -> None:
    context = RunContext()
    context.temporaries.append("/run/scratch/outrider-run-own")
    policy = builtin(Tier.OPERATE)
    mine = Decided(Effective((Layer(policy.name, policy.rules),)), context)
    assert mine.decide("fs.write", Facts(path="/run/scratch/outrider-run-own/x")).allowed
    for call in BRINGING:
        assert not mine.decide(call, Facts(path="/run/scratch/outrider-run-own/x")).allowed, call
    assert not mine.decide("fs.write", Facts(path="/run/scratch/x")).allowed


def test_how_much_is_read_at_once_stays_bounded() -> None:
    assert decided(Tier.INSPECT).decide("fs.read", Facts(path=FILE, bytes=4 << 20)).allowed
    assert not decided(Tier.INSPECT).decide("fs.read", Facts(path=FILE, bytes=(4 << 20) + 1)).allowed


@pytest.mark.parametrize(
    "text",
    [
        "deny: [{call: fs.read, paths: ['/tmp/**']}]", "deny: [{call: fs.*, paths: ['/tmp/**']}]",
        "deny: [{call: fs.read}]", "deny: [{call: '*', paths: ['/**']}]",
    ],
)  # fmt: skip
def test_what_anybody_denies_stays_denied(text: str) -> None:
    assert not decided(Tier.ADMIN, ceiling(text)).decide("fs.read", Facts(path=FILE)).allowed


def test_what_somebody_is_asked_about_is_asked() -> None:
    asks = ceiling("ask: [{call: fs.read}]")
    assert decided(Tier.OPERATE, asks).decide("fs.read", Facts(path=FILE)).effect is Effect.ASK


def test_whoever_narrows_need_not_name_it_where_nothing_of_others_gets_there() -> None:
    narrow = needs(
        "[{call: fs.tempfile}, {call: fs.read, paths: [/etc/app/**]}, {call: fs.write, paths: [/etc/app/**]}]"
    )
    mine = decided(Tier.OPERATE, narrow)
    assert mine.decide("fs.read", Facts(path=FILE)).allowed
    assert mine.decide("fs.write", Facts(path=FILE)).allowed
    for call, path in (
        ("fs.read", "/etc/other"), ("fs.read", OTHER), ("fs.list", FILE), ("fs.append", FILE), ("fs.copy", FILE),
    ):  # fmt: skip
        assert not mine.decide(call, Facts(path=path)).allowed, (call, path)


@pytest.mark.parametrize("call", BRINGING)
def test_whoever_narrows_what_is_read_is_not_got_around_by_bringing_it(call: str) -> None:
    """What may be moved and not read: moved in there it could be read."""
    narrow = needs(
        f"[{{call: fs.tempdir}}, {{call: fs.read, paths: [/etc/app/**]}}, {{call: {call}, paths: [/tmp/**, /srv/**]}}]"
    )
    mine = decided(Tier.OPERATE, narrow)
    assert mine.decide(call, Facts(path=FILE)).allowed
    assert not mine.decide("fs.read", Facts(path=FILE)).allowed
    named = needs(
        f"[{{call: fs.read, paths: [/etc/app/**, /tmp/outrider-run-*/**]}}, {{call: {call}, paths: [/tmp/**]}}]"
    )
    assert decided(Tier.OPERATE, named).decide("fs.read", Facts(path=FILE)).allowed
    assert not decided(Tier.OPERATE, named).decide("fs.read", Facts(path=OTHER)).allowed


@pytest.mark.parametrize("rules", [
    "allow: [{call: fs.copy, paths: [/tmp/*/sub/**]}, {call: fs.read, paths: [/etc/app/**]}]",
    "allow: [{call: fs.read, paths: [/etc/app/**]}]\nask: [{call: fs.rename, paths: [/tmp/**]}]",
    "allow: [{call: fs.link, paths: [/tmp/outrider-run-own]}, {call: fs.read, paths: [/etc/app/**]}]",
])  # fmt: skip
def test_whatever_little_may_be_brought_there_counts(rules: str) -> None:
    assert not decided(Tier.OPERATE, ceiling(rules)).decide("fs.read", Facts(path=FILE)).allowed


def test_what_the_shipped_tiers_let_be_brought_there_they_let_be_brought_to_where_it_is_read() -> None:
    """So the reading of one's own opens nothing of others that was shut."""
    for tier in (Tier.INSPECT, Tier.OPERATE):
        policy = builtin(tier)
        effective = Effective((Layer(policy.name, policy.rules),))
        there = Facts(path="/var/lib/app/x")
        for call in BRINGING:
            if decide_effective(effective, call, Facts(path=FILE)).allowed:
                assert decide_effective(effective, call, there).allowed, (tier, call)
                for reading in ("fs.read", "fs.open", "fs.list", "fs.upload"):
                    assert decide_effective(effective, reading, there).allowed, (tier, reading)


def test_before_anything_was_made_nothing_is_open() -> None:
    policy = builtin(Tier.OPERATE)
    nobody = Decided(Effective((Layer(policy.name, policy.rules), DENIED)), RunContext())
    assert not nobody.decide("fs.read", Facts(path=FILE)).allowed
    assert not nobody.decide("fs.write", Facts(path=FILE)).allowed
