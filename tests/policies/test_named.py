"""Rules about names: which scripts may be called and which secrets used; what is declared must stand in the needs."""

from __future__ import annotations

import pytest

from policies.decide import Effective, Layer, decide_effective
from policies.load import load_policy
from policies.model import Facts
from policies.needs import needs_layer
from protocol.errors import ArgumentError, DocumentError
from protocol.manifest import parse

POLICY = """tier: operate
allow:
  - call: script.call
    declared: true
  - call: secret
    names: [db-password, api/**]
deny:
  - call: script.call
    names: [ops/**]
"""
MANIFEST = """name: checks/a
version: 1.0.0
language: lua
main: main.lua
tier: operate
needs:
  - call: script.call
    names: [checks/**, ops/reboot]
  - call: secret
"""


def effective(needs: str = MANIFEST) -> Effective:
    policy = load_policy(POLICY, "own.yaml")
    asked = needs_layer(parse(needs))
    layers = (Layer(policy.name, policy.rules), *((asked,) if asked is not None else ()))
    return Effective(layers)


@pytest.mark.parametrize(
    ("call", "name", "is_allowed"),
    [
        ("script.call", "checks/b", True),
        ("script.call", "other/b", False),
        ("script.call", "ops/reboot", False),
        ("script.call", None, False),
        ("secret", "db-password", True),
        ("secret", "api/key", True),
        ("secret", "root", False),
        ("secret", None, False),
    ],
)
def test_what_names_allow(call: str, name: str | None, is_allowed: bool) -> None:
    assert decide_effective(effective(), call, Facts(name=name)).allowed is is_allowed


def test_what_must_be_declared_stands_in_the_needs_or_is_denied() -> None:
    without = MANIFEST[: MANIFEST.index("needs:")]
    verdict = decide_effective(effective(without), "script.call", Facts(name="checks/b"))
    assert not verdict.allowed
    assert "needs" in verdict.reason
    unnamed = MANIFEST.replace("    names: [checks/**, ops/reboot]\n", "")
    assert not decide_effective(effective(unnamed), "script.call", Facts(name="checks/b")).allowed


@pytest.mark.parametrize("names", ["[checks/*]", "['']", "[../x]", "[5]"])
def test_a_name_that_is_none_is_refused(names: str) -> None:
    with pytest.raises(DocumentError):
        load_policy(POLICY.replace("[ops/**]", names), "own.yaml")
    with pytest.raises(ArgumentError):
        parse(MANIFEST.replace("[checks/**, ops/reboot]", names))
