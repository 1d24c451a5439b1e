"""Targets across layers: what must be declared, who may grant what is guarded, and what a wish is worth."""

from __future__ import annotations

from typing import Any

import pytest

from agent.permission import grant_layer
from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin, load_policy
from policies.model import Effect, Facts
from policies.needs import needs_layer
from policies.targets import NetTarget
from protocol.errors import ArgumentError
from protocol.manifest import parse
from protocol.tiers import Tier

HEAD = "name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: inspect\n"


def layers(needs: str = "", *, grant: object = None, ceiling: str = "", tier: Tier = Tier.INSPECT) -> Effective:
    """The layers of a run as the agent puts them together."""
    made = [Layer("tier", builtin(tier).rules), grant_layer({"allow": grant} if grant else {})]
    made += [needs_layer(parse(HEAD + needs)), load_ceiling(ceiling, "ceiling.yaml").layer]
    return Effective(tuple(layer for layer in made if layer is not None))


def allowed(
    effective: Effective, host: str, port: int = 443, address: str | None = None, call: str = "net.tcp_check"
) -> bool:
    target = NetTarget.of(host, port)
    return decide_effective(effective, call, Facts(target=target.at(address) if address else target)).allowed


WEB = "needs: [{call: net.tcp_check, targets: ['web.example.org:443', '10.0.0.0/8:443']}]\n"
LOCAL = "needs: [{call: net.tcp_check, targets: ['127.0.0.1:6379', localhost]}]\n"


def test_a_probe_reaches_what_is_declared() -> None:
    made = layers(WEB)
    assert allowed(made, "web.example.org")
    assert allowed(made, "web.example.org", address="192.0.2.1")
    assert allowed(made, "10.1.2.3")
    assert not allowed(made, "web.example.org", 80)
    assert not allowed(made, "other.example.org")
    assert not allowed(made, "11.1.2.3")
    assert not allowed(made, "ten.example.org"), "a network does not declare the names that are looked up"


@pytest.mark.parametrize("needs", ["", "needs: [{call: net.tcp_check}]\n", "needs: [{call: 'net.*'}]\n"])
def test_what_is_not_declared_is_out_of_reach(needs: str) -> None:
    """An inspecting script that may choose its targets is a scanner of the network it runs in."""
    assert not allowed(layers(needs), "web.example.org", address="192.0.2.1")
    assert not allowed(layers(needs, tier=Tier.OPERATE), "web.example.org", address="192.0.2.1")
    assert allowed(layers(needs, tier=Tier.ADMIN), "web.example.org", address="192.0.2.1")


def test_an_approval_declares_as_well() -> None:
    grant = [{"call": "net.tcp_check", "targets": ["web.example.org:443"]}]
    assert allowed(layers(grant=grant), "web.example.org")
    assert not allowed(layers(grant=grant), "other.example.org")


def test_a_ceiling_declares_nothing() -> None:
    ceiling = "allow: [{call: 'net.*', targets: ['*']}]\n"
    assert not allowed(layers(ceiling=ceiling), "web.example.org")
    assert allowed(layers(WEB, ceiling=ceiling), "web.example.org")


def test_a_ceiling_of_networks_waits_for_the_address() -> None:
    ceiling = "allow: [{call: 'net.*', targets: [192.0.2.0/24]}]\n"
    assert allowed(layers(WEB, ceiling=ceiling), "web.example.org")
    assert allowed(layers(WEB, ceiling=ceiling), "web.example.org", address="192.0.2.1")
    assert not allowed(layers(WEB, ceiling=ceiling), "web.example.org", address="198.51.100.1")


def test_a_wish_is_no_grant() -> None:
    """A manifest that could open loopback for itself would open every service that trusts its own host."""
    verdict = decide_effective(layers(LOCAL), "net.tcp_check", Facts(target=NetTarget.of("127.0.0.1", 6379)))
    assert (verdict.effect, verdict.rule) == (Effect.DENY, "guarded targets: loopback")
    assert verdict.reason == "127.0.0.1:6379 is loopback, which only a rule that names it allows, and a manifest cannot"


@pytest.mark.parametrize(
    "granted",
    [
        {"grant": [{"call": "net.*", "targets": ["127.0.0.0/8"]}]},
        {"grant": [{"call": "net.tcp_check", "targets": ["127.0.0.1:6379"]}]},
        {"ceiling": "allow: [{call: 'net.*', targets: [127.0.0.1, '*']}]\n"},
    ],
)
def test_who_may_grant_what_is_guarded(granted: dict[str, Any]) -> None:
    assert allowed(layers(LOCAL, **granted), "127.0.0.1", 6379)
    assert not allowed(layers(LOCAL, **granted), "169.254.169.254", 6379)


@pytest.mark.parametrize(
    "granted",
    [
        {"grant": [{"call": "net.*"}]}, {"grant": [{"call": "net.*", "targets": ["*", "0.0.0.0/0"]}]},
        {"grant": [{"call": "net.http", "targets": ["127.0.0.1"]}]}, {"ceiling": "allow: [{call: '*'}]\n"},
        {"ceiling": "deny: [{call: fs.read}]\n"}, {"ceiling": "deny: [{call: net.tcp_check, targets: [127.0.0.1]}]\n"},
    ],
)  # fmt: skip
def test_what_does_not_grant_it(granted: dict[str, Any]) -> None:
    assert not allowed(layers(LOCAL, **granted), "127.0.0.1", 6379)


def test_rebinding_ends_where_a_name_leads_to_loopback() -> None:
    """The ceiling grants loopback to somebody; a name that another script declared must not lead there."""
    ceiling = "allow: [{call: 'net.*', targets: ['*', 127.0.0.1]}]\n"
    needs = "needs: [{call: net.tcp_check, targets: ['web.example.org:443']}]\n"
    assert allowed(layers(needs, ceiling=ceiling), "web.example.org", address="192.0.2.1")
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "0.0.0.0"):
        assert not allowed(layers(needs, ceiling=ceiling), "web.example.org", address=address)


def test_admin_reaches_everything_but_what_is_guarded() -> None:
    made = layers(tier=Tier.ADMIN)
    for address in ("192.0.2.1", "10.0.0.1", "2001:db8::1"):
        assert allowed(made, address, call="net.connect")
    for address in ("127.0.0.1", "::1", "169.254.169.254", "fe80::1", "metadata.google.internal"):
        assert not allowed(made, address, call="net.connect")


def test_a_policy_file_of_ones_own_grants() -> None:
    text = "tier: inspect\nallow: [{call: net.tcp_check, targets: ['localhost:6379']}]\n"
    made = Effective((Layer("mine", load_policy(text, "mine.yaml").rules),))
    assert allowed(made, "localhost", 6379, "127.0.0.1")
    assert not allowed(made, "localhost", 6380, "127.0.0.1")


def test_the_method_decides_what_http_may_do() -> None:
    needs = "needs: [{call: net.http, targets: [web.example.org]}]\n"
    for tier, method, may in ((Tier.INSPECT, "GET", True), (Tier.INSPECT, "POST", False), (Tier.OPERATE, "POST", True)):
        facts = Facts(target=NetTarget.of("web.example.org", 80), arguments=(method,))
        assert decide_effective(layers(needs, tier=tier), "net.http", facts).allowed is may


def test_wrong_targets_are_refused_with_their_place() -> None:
    with pytest.raises(ArgumentError, match=r"^manifest\.yaml: needs: '1\.2\.3\.4/8' is no target: .*host bits"):
        needs_layer(parse(HEAD + "needs: [{call: net.tcp_check, targets: [1.2.3.4/8]}]\n"))
    with pytest.raises(ArgumentError, match=r"^x\.yaml:4: deny\[0\]\.targets: 'web:0' is no target"):
        load_policy("tier: observe\ndeny:\n  - call: a\n    targets: ['web:0']\n", "x.yaml")
    with pytest.raises(ArgumentError, match=r"^x\.yaml:4: ask\[0\]\.declared: only a rule that allows"):
        load_policy("tier: observe\nask:\n  - call: a\n    declared: true\n", "x.yaml")


def test_a_question_lets_nothing_guarded_through_that_no_rule_names() -> None:
    """Whoever says yes to `db.example.org` must not have opened the metadata service that it leads to."""
    ceiling = "ask: [{call: net.connect}]\n"
    effective = layers(ceiling=ceiling + "allow: [{call: '*'}]\n", tier=Tier.ADMIN)
    target = NetTarget.of("db.example.org", 80)
    assert decide_effective(effective, "net.connect", Facts(target=target)).effect is Effect.ASK
    led = Facts(target=target.at("169.254.169.254"))
    assert decide_effective(effective, "net.connect", led).effect is Effect.DENY


def test_a_question_may_name_what_is_guarded() -> None:
    effective = layers(
        "needs: [{call: net.connect, targets: ['127.0.0.1:5432']}]\n",
        ceiling="ask: [{call: net.connect, targets: ['127.0.0.1:5432']}]\n", tier=Tier.ADMIN,
    )  # fmt: skip
    named = Facts(target=NetTarget.of("127.0.0.1", 5432))
    assert decide_effective(effective, "net.connect", named).effect is Effect.ASK
    other = Facts(target=NetTarget.of("127.0.0.1", 5433))
    assert decide_effective(effective, "net.connect", other).effect is Effect.DENY
