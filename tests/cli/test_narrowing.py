"""What ``outrider review approve`` narrows a script to, as the host reads it."""

from __future__ import annotations

import pytest

from agent.permission import grant_layer
from cli.nouns.review import grant
from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Facts
from policies.needs import needs_layer
from policies.targets import NetTarget
from protocol.errors import ArgumentError
from protocol.manifest import parse
from protocol.tiers import Tier

REVIEW = {"calls": ["net.tcp_check", "sys.uptime"]}
NEEDS = "needs: [{call: net.tcp_check, targets: ['127.0.0.1:6379']}, {call: sys.uptime}]\n"
MANIFEST = parse("name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: inspect\n" + NEEDS)


def verdict(targets: tuple[str, ...], call: str, facts: Facts) -> str:
    granted = grant_layer(grant(REVIEW, (), (), targets))
    layers = (Layer("tier", builtin(Tier.INSPECT).rules), granted, needs_layer(MANIFEST))
    return decide_effective(Effective(tuple(layer for layer in layers if layer is not None)), call, facts).rule


def test_only_an_approval_opens_a_local_service() -> None:
    """The manifest asks for loopback; without the reviewer's word for exactly that, the host does not give it."""
    redis = Facts(target=NetTarget.of("127.0.0.1", 6379))
    assert verdict((), "net.tcp_check", redis) == "guarded targets: loopback"
    assert verdict(("127.0.0.1:6379",), "net.tcp_check", redis).startswith("inspect.yaml:")
    assert verdict(("127.0.0.1:6380",), "net.tcp_check", redis) == "the approval: no rule"
    assert verdict(("*",), "net.tcp_check", redis) == "the approval: no rule"


def test_what_reaches_nothing_stays_as_it_is() -> None:
    assert verdict(("127.0.0.1:6379",), "sys.uptime", Facts()).startswith("observe.yaml:")


def test_what_is_no_target_is_refused_by_its_option() -> None:
    with pytest.raises(ArgumentError, match=r"^--targets: '127\.1' is no target"):
        grant(REVIEW, (), (), ("127.1",))
    with pytest.raises(ArgumentError, match=r"^--targets: the script makes no call"):
        grant({"calls": ["sys.uptime"]}, (), (), ("web.example.org",))
