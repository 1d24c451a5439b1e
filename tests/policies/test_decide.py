"""Golden verdicts: tier by call by facts. A change here is a change of what a tier may do, and needs a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide, decide_below, decide_effective, never, require_language
from policies.load import builtin, load_policy
from policies.model import Effect, Facts, Rule
from policies.paths import PathPattern
from protocol.errors import ArgumentError, DeniedError
from protocol.tiers import Tier
from stdlib.catalogue import load as load_catalogue

GOLDEN = [
    # tier, call, facts, effect, words of the rule
    ("compute", "check.metric", Facts(), "allow", "compute.yaml"),
    ("compute", "time.sleep", Facts(), "allow", "compute.yaml"),
    ("compute", "fs.stat", Facts(path="/etc/hostname"), "deny", "no rule"),
    ("compute", "proc.list", Facts(), "deny", "no rule"),
    ("observe", "fs.stat", Facts(path="/etc/hostname"), "allow", "observe.yaml"),
    ("observe", "fs.space", Facts(path="/"), "allow", "observe.yaml"),
    ("observe", "fs.list", Facts(path="/etc/ssh"), "deny", "observe.yaml"),
    ("observe", "fs.list", Facts(path="/etc"), "allow", "observe.yaml"),
    ("observe", "fs.read", Facts(path="/etc/hostname"), "deny", "no rule"),
    ("observe", "proc.command", Facts(command="df"), "deny", "no rule"),
    ("observe", "log.info", Facts(), "allow", "compute.yaml"),
    ("inspect", "fs.read", Facts(path="/etc/hostname", bytes=100), "allow", "inspect.yaml"),
    ("inspect", "fs.read", Facts(path="/etc/hostname", bytes=5 << 20), "deny", "no rule"),
    ("inspect", "fs.read", Facts(path="/etc/shadow"), "deny", "inspect.yaml"),
    ("inspect", "fs.stat", Facts(path="/root/.ssh/id_ed25519"), "deny", "inspect.yaml"),
    ("inspect", "fs.read", Facts(path="/home/mia/notes"), "deny", "no rule"),
    ("inspect", "proc.command", Facts(command="df", program="/usr/bin/df", arguments=()), "allow", "inspect.yaml"),
    ("inspect", "proc.command", Facts(command="df"), "deny", "no rule"),  # the name alone says nothing
    ("inspect", "proc.command", Facts(command="bash"), "deny", "no rule"),
    ("operate", "proc.command", Facts(command="restart"), "allow", "operate.yaml"),
    ("operate", "fs.read", Facts(path="/etc/shadow"), "deny", "inspect.yaml"),
    ("admin", "proc.exec", Facts(), "allow", "admin.yaml"),
    ("admin", "fs.read", Facts(path="/etc/ssh/ssh_host_ed25519_key"), "deny", "inspect.yaml"),
]


@pytest.mark.parametrize(("tier", "call", "facts", "effect", "words"), GOLDEN)
def test_golden_verdicts(tier: str, call: str, facts: Facts, effect: str, words: str) -> None:
    verdict = decide(builtin(Tier.parse(tier)), call, facts)
    assert verdict.effect == effect
    assert words in verdict.rule
    assert verdict.allowed == (effect == "allow")
    assert bool(verdict.reason) == (effect != "allow"), "who is refused is told why"


@pytest.mark.parametrize("tier", list(Tier))
def test_unknown_call_is_denied_below_admin(tier: Tier) -> None:
    """No rule means deny; only admin's rule names every call."""
    assert decide(builtin(tier), "fs.shred", Facts()).allowed == (tier is Tier.ADMIN)


def test_no_call_is_allowed_below_its_tier() -> None:
    """The tier in the declaration and the tier's policy must tell the same story."""
    for spec in load_catalogue():
        facts = Facts(path="/etc/hostname", command="df", bytes=1)
        for tier in Tier:
            if tier < spec.tier:
                assert not decide(builtin(tier), spec.name, facts).allowed, (spec.name, tier)


def test_every_layer_must_allow() -> None:
    observe, inspect = (builtin(Tier.parse(word)) for word in ("observe", "inspect"))
    both = Effective((Layer("tier", inspect.rules, inspect.limits), Layer("ceiling", observe.rules, observe.limits)))
    assert decide_effective(both, "fs.stat", Facts(path="/etc/hostname")).allowed
    verdict = decide_effective(both, "fs.read", Facts(path="/etc/hostname"))
    assert verdict.effect is Effect.DENY
    assert "ceiling" in verdict.rule
    assert both.limits.processes == 0, "the smaller limit counts"
    assert not decide_effective(Effective(()), "fs.stat", Facts(path="/")).allowed, "no policy at all: deny"


BAD = [
    ("tier: observe\nlimits: {wall: 10 parsecs}\n", "x.yaml:2: limits.wall: '10 parsecs' is not a duration"),
    ("tier: root\n", "x.yaml:1: tier: 'root' is not a tier"),
    ("tier: observe\nalow: []\n", "x.yaml:2: alow: unknown key 'alow' (did you mean 'allow'?"),
    ("tier: observe\nallow:\n  - call: fs read\n", "x.yaml:3: allow[0].call: 'fs read' is not a call"),
    ("tier: observe\nallow:\n  - call: fs.read\n    paths: [etc/**]\n", "x.yaml:4: allow[0].paths: 'etc/**'"),
    ("tier: observe\nallow:\n  - call: fs.read\n    paths: [/a/../b]\n", "x.yaml:4: allow[0].paths:"),
    ("tier: observe\nextends: admin\n", "x.yaml:2: extends: a policy of tier observe cannot extend admin"),
    ("tier: observe\ntier: admin\n", "x.yaml:2: the key 'tier' stands twice"),
    ("tier: &a observe\n", "x.yaml:1: anchors and aliases are not allowed"),
    ("tier: [\n", "x.yaml:2: "),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_wrong_policy_is_refused_with_file_line_and_key(text: str, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load_policy(text, "x.yaml")
    assert str(caught.value).startswith(words)


def test_a_layer_can_take_luajit_away() -> None:
    """The owner of a host may want the one interpreter only; the others need no rule."""
    tier = builtin(Tier.OBSERVE)
    layers = [Layer(tier.name, tier.rules)]
    require_language(Effective(tuple(layers)), "luajit")
    ceiling = load_ceiling("deny: [{call: language.luajit}]\n", "ceiling.yaml").layer
    assert ceiling is not None
    with pytest.raises(DeniedError, match=r"ceiling.yaml:1 deny language.luajit"):
        require_language(Effective((*layers, ceiling)), "luajit")
    for language in ("lua", "python"):
        require_language(Effective((*layers, ceiling)), language)


def test_luajit_needs_a_rule() -> None:
    """No rule means no, here as everywhere."""
    policy = load_policy("tier: observe\nallow: [{call: fs.stat}]\n", "mine.yaml")
    with pytest.raises(DeniedError, match="no rule"):
        require_language(Effective((Layer(policy.name, policy.rules),)), "luajit")


_TREES = ["/**", "/a/**", "/a/*/**", "/a/b", "/a/*", "/a/b/**", "/*/b/**", "/a/**/c", "/a/b/c"]
_OBJECTS = ["/", "/a", "/b", "/a/b", "/a/c", "/a/b/c", "/a/b/d", "/a/c/c", "/b/b/c", "/a/b/c/d", "/a/x/y/c"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Effect)),
            st.lists(st.sampled_from(_TREES), max_size=2),
            st.lists(st.sampled_from(_TREES), max_size=1),
        ),
        max_size=4,
    ),
    st.sampled_from(["/", "/a", "/a/b", "/b", "/a/b/c"]),
)
def test_what_is_said_about_a_directory_holds_for_everything_below_it(
    rows: list[tuple[Effect, list[str], list[str]]], directory: str
) -> None:
    """Each object below is decided as the whole was; where it depends, nothing is said."""
    rules = tuple(
        Rule(
            effect,
            "fs.walk",
            "x:1",
            tuple(map(PathPattern.parse, paths)),
            exceptions=tuple(map(PathPattern.parse, excepted)) if effect is Effect.ALLOW else (),
        )
        for effect, paths, excepted in rows
    )
    effective = Effective((Layer("x", rules),))
    told = decide_below(effective, "fs.walk", directory)
    below = [path for path in _OBJECTS if path != directory and path.startswith(directory.rstrip("/") + "/")]
    if told is not None:
        assert {decide_effective(effective, "fs.walk", Facts(path=path)).allowed for path in below} <= {told}
    if not rules:
        assert told is False


@pytest.mark.parametrize(
    ("layers", "rule"),
    [
        ([[("allow", "fs.read", ["/a"])]], None),
        ([[("ask", "fs.*", [])]], None),
        ([[("allow", "*", [])], [("deny", "fs.read", ["/a"]), ("allow", "*", [])]], None),
        ([[("allow", "*", [])], [("allow", "sys.*", [])]], "two: no rule"),
        ([[("allow", "*", []), ("deny", "fs.*", [])]], "x.yaml:1 deny fs.*"),
        ([[("deny", "fs.read", ["/a"])]], "one: no rule"),
        ([], "no rule"),
    ],
)
def test_what_is_allowed_on_no_facts(layers: list[list[tuple[str, str, list[str]]]], rule: str | None) -> None:
    """So that nothing is opened for it. What depends on the facts is decided on those."""
    made = [
        Layer(
            name,
            tuple(
                Rule(Effect(effect), call, "x.yaml:1", tuple(map(PathPattern.parse, paths)))
                for effect, call, paths in rules
            ),
        )
        for name, rules in zip(("one", "two"), layers, strict=False)
    ]
    verdict = never(Effective(tuple(made)), "fs.read")
    assert (None if verdict is None else verdict.rule) == rule
    assert verdict is None or verdict.effect is Effect.DENY


@pytest.mark.parametrize("tier", list(Tier))
def test_what_a_tier_never_allows_is_denied_on_all_facts(tier: Tier) -> None:
    policy = builtin(tier)
    effective = Effective((Layer(policy.name, policy.rules),))
    for call, facts in (
        ("fs.read", Facts(path="/etc/hostname")),
        ("sys.uptime", Facts()),
        ("tty.open", Facts(command="x")),
    ):
        if never(effective, call) is not None:
            assert not decide_effective(effective, call, facts).allowed
