"""Rules that deny or ask by arguments: one that is denied is denied beside whatever others, and none goes around it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer, decide, decide_effective
from policies.load import load_policy
from policies.model import Effect, Facts, Policy
from policies.targets import NetTarget
from protocol.errors import DocumentError

ALLOW = "allow: [{call: '*'}]\n"


def policy(rule: str, section: str = "deny", call: str = "proc.command") -> Policy:
    return load_policy(f"tier: admin\n{ALLOW}{section}:\n  - {{call: {call}, {rule}}}\n", "x.yaml")


def effect(rule: str, arguments: tuple[str, ...] | None, **more: Any) -> Effect:
    facts = Facts(command="tar", program="/bin/tar", arguments=arguments, **more)
    return decide(policy(rule), "proc.command", facts).effect


@pytest.mark.parametrize(
    ("arguments", "is_denied"),
    [
        ((), False), (("-x",), False), (("--to-command=sh",), True), (("-x", "--to-command=sh"), True),
        (("--to-command=sh", "-x"), True), (("-x", "x--to-command=sh"), False), (("-x", "-I"), True),
        (("--to-command=sh", "--to-command=sh"), True), (("\n--to-command=sh",), False), (("--to-command=\n",), True),
        (("-x", "--to-command=\udcff"), True), (("\udcff",), True), (None, False),
    ],
)  # fmt: skip
def test_one_argument_is_enough(arguments: tuple[str, ...] | None, is_denied: bool) -> None:
    """Before it would have had to be all of them: one more went around the rule. What no pattern reads is denied."""
    rule = r"arguments: ['--to-command(?s:.*)', '-I']"
    assert effect(rule, arguments) is (Effect.DENY if is_denied else Effect.ALLOW)


@pytest.mark.parametrize("argument", ["--to-command=sh\n", "--to-command=\nsh", "--to-command=a\r\nb", "--to-command="])
@pytest.mark.parametrize("pattern", ["--to-command=.*", "--to.*|-I", "--to-command=(?:.|x)*"])
def test_a_line_break_goes_around_no_rule(argument: str, pattern: str) -> None:
    """A command may have several lines. Of what allows it is still read as Python reads it."""
    facts = Facts(command="tar", program="/bin/tar", arguments=(argument,))
    for section, expected in (("deny", Effect.DENY), ("ask", Effect.ASK)):
        assert decide(policy(f"arguments: ['{pattern}']", section), "proc.command", facts).effect is expected
    only = load_policy(f"tier: admin\nallow:\n  - {{call: proc.command, arguments: ['{pattern}']}}\n", "x.yaml")
    assert decide(only, "proc.command", facts).allowed is (argument == "--to-command=")


def test_a_pattern_that_denies_can_still_say_one_line() -> None:
    assert effect("arguments: ['a(?-s:.*)']", ("a\n",)) is Effect.ALLOW
    assert effect("arguments: ['a[^\\n]*']", ("a\n",)) is Effect.ALLOW
    assert effect("arguments: ['a.*b']", ("a\nb",)) is Effect.DENY


def test_what_is_said_of_it_otherwise_counts_as_well() -> None:
    """Groups by other names of their gid, packages without version: what the call says they are."""
    assert (
        effect("arguments: [sudo]", ("change", "wheel"), also=(("change", "wheel"), ("change", "sudo"))) is Effect.DENY
    )
    assert effect("arguments: [sudo]", ("change", "audio"), also=(("change", "sound"),)) is Effect.ALLOW


def test_all_else_that_the_rule_names_must_fit_too() -> None:
    for rule, expected in (
        ("commands: [tar], arguments: ['-I']", Effect.DENY), ("commands: [df], arguments: ['-I']", Effect.ALLOW),
        ("programs: [/bin/*], arguments: ['-I']", Effect.DENY), ("programs: [/x], arguments: ['-I']", Effect.ALLOW),
    ):  # fmt: skip
        assert effect(rule, ("-x", "-I")) is expected, rule


def test_an_allowance_still_wants_every_argument() -> None:
    narrow = load_policy("tier: admin\nallow: [{call: proc.command, arguments: ['-x', '-I']}]\n", "x.yaml")
    for arguments, is_allowed in ((("-x", "-I"), True), (("-x", "-v"), False), (("\udcff",), False), ((), True)):
        assert decide(narrow, "proc.command", Facts(command="tar", arguments=arguments)).allowed is is_allowed


def test_a_question_is_asked_about_one_of_them() -> None:
    asking = policy("arguments: [reboot]", "ask", "sys.service_control")
    for arguments, expected in ((("stop", "reboot"), Effect.ASK), (("stop",), Effect.ALLOW)):
        assert decide(asking, "sys.service_control", Facts(command="x", arguments=arguments)).effect is expected


def test_methods_of_requests_are_arguments() -> None:
    denying = policy("arguments: [POST, PUT], targets: ['*.example.org']", call="net.http")
    for method, host, is_allowed in (
        ("POST", "a.example.org", False), ("GET", "a.example.org", True), ("POST", "other.test", True),
    ):  # fmt: skip
        facts = Facts(target=NetTarget.of(host, 443), arguments=(method,))
        assert decide(denying, "net.http", facts).allowed is is_allowed


def test_calls_without_arguments_are_none_of_its_business() -> None:
    """A rule about every call does not deny what it says nothing about."""
    denying = policy("arguments: ['.*']", call="'*'")
    assert decide(denying, "fs.read", Facts(path="/etc/x")).allowed
    assert not decide(denying, "proc.command", Facts(command="x", arguments=("a",))).allowed
    assert decide(denying, "proc.command", Facts(command="x", arguments=())).allowed


def test_the_ceiling_has_them_as_well() -> None:
    ceiling = load_ceiling("highest_tier: admin\ndeny: [{call: sys.user_change, arguments: [sudo]}]\n", "ceiling.yaml")
    assert ceiling.layer is not None
    allowing = load_policy(f"tier: admin\n{ALLOW}", "x.yaml")
    effective = Effective((Layer("x", allowing.rules), ceiling.layer))
    verdict = decide_effective(
        effective, "sys.user_change", Facts(command="lea", arguments=("change", "audio", "sudo"))
    )
    assert (verdict.effect, verdict.rule) == (Effect.DENY, "ceiling.yaml:2 deny sys.user_change")
    assert decide_effective(effective, "sys.user_change", Facts(command="lea", arguments=("change", "audio"))).allowed


@pytest.mark.parametrize("section", ["deny", "ask"])
def test_a_rule_that_would_never_hold_is_refused(section: str) -> None:
    """Its author meant something by it, which would not be done."""
    with pytest.raises(DocumentError, match=rf"x\.yaml:4: {section}\[0\]\.arguments: names none, so that the rule"):
        policy("arguments: []", section)
    for words in ("max_bytes: 1", "except: [/x]", "declared: true"):
        with pytest.raises(DocumentError, match="only a rule that allows can have"):
            policy(words, section)


WORDS = st.lists(st.sampled_from(["-x", "-I", "a", "\udcff", ""]), max_size=5).map(tuple)


@given(WORDS, WORDS)
def test_more_arguments_never_take_a_denial_away(some: tuple[str, ...], more: tuple[str, ...]) -> None:
    rule = "arguments: ['-I', 'a+']"
    if effect(rule, some) is Effect.DENY:
        for longer in (some + more, more + some, (*more, *some, *more)):
            assert effect(rule, longer) is Effect.DENY
