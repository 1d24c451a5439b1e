"""A script gets no more than its manifest asked for."""

from __future__ import annotations

import pytest

from policies.decide import Effective, Layer, decide_effective
from policies.load import builtin
from policies.model import Facts
from policies.needs import needs_layer
from protocol.errors import ArgumentError
from protocol.manifest import Manifest, parse
from protocol.tiers import Tier

HEAD = "name: a/b\nversion: 1.0.0\nlanguage: lua\nmain: main.lua\ntier: inspect\n"


def manifest(needs: str) -> Manifest:
    return parse(HEAD + needs)


def effective(needs: str) -> Effective:
    layer = needs_layer(manifest(needs))
    assert layer is not None
    return Effective((Layer("tier", builtin(Tier.INSPECT).rules), layer))


def test_no_needs_ask_for_all_that_the_tier_allows() -> None:
    assert needs_layer(manifest("")) is None
    assert needs_layer(manifest("needs: []\n")) is None


@pytest.mark.parametrize(
    ("call", "facts", "allowed"),
    [
        ("fs.read", Facts(path="/var/log/syslog", bytes=1), True),
        ("fs.read", Facts(path="/etc/hostname", bytes=1), False),  # the tier would
        ("fs.list", Facts(path="/var/log"), False),  # the tier would
        ("fs.stat", Facts(path="/etc/hostname"), False),
        ("proc.command", Facts(command="df", program="/usr/bin/df", arguments=("-P",)), True),
        ("proc.command", Facts(command="ss"), False),
        ("sys.memory", Facts(), True),
        ("sys.cpu", Facts(), True),
        ("net.interfaces", Facts(), False),
        ("check.metric", Facts(), True),  # touches nothing
        ("log.info", Facts(), True),
        ("proc.exec", Facts(), False),
    ],
)
def test_only_what_is_needed_is_allowed(call: str, facts: Facts, allowed: bool) -> None:
    """A reviewer who reads the needs must have read all that the script can do."""
    needs = (
        "needs:\n  - {call: fs.read, paths: [/var/log/**]}\n  - {call: proc.command, commands: [df]}\n"
        "  - {call: sys.*}\n"
    )
    assert decide_effective(effective(needs), call, facts).allowed is allowed


@pytest.mark.parametrize("path", ["/etc/shadow", "/home/mia/notes"])
def test_asking_for_more_than_the_tier_gets_nothing(path: str) -> None:
    needs = "needs: [{call: fs.read, paths: [/**]}, {call: proc.exec}]\n"
    assert not decide_effective(effective(needs), "fs.read", Facts(path=path, bytes=1)).allowed
    assert not decide_effective(effective(needs), "proc.exec", Facts()).allowed


def test_a_refusal_names_the_needs() -> None:
    verdict = decide_effective(effective("needs: [{call: sys.memory}]\n"), "sys.cpu", Facts())
    assert verdict.rule == "the manifest's needs: no rule"


def test_a_path_that_is_no_pattern_is_refused_with_its_origin() -> None:
    with pytest.raises(ArgumentError, match=r"^manifest\.yaml: needs: .*/a\*\*"):
        needs_layer(manifest("needs: [{call: fs.read, paths: ['/a**']}]\n"))
