"""``outrider policy``: what a tier may do, and which rule decides about one call."""

from __future__ import annotations

import dataclasses
import difflib
import os
from typing import Any

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import LocalCommand
from cli.local.policies import find_policy
from cli.output import field
from policies.decide import decide
from policies.model import Facts, Policy
from protocol.errors import ArgumentError

RULES = (
    field("effect", "effect"),
    field("call", "call"),
    field("paths", "paths"),
    field("commands", "commands"),
    field("targets", "targets"),
    field("from", "origin"),
)


@click.group(cls=Group)
def noun() -> None:
    """What a tier may do, and which rule decides."""


@noun.command("show", cls=LocalCommand)
@click.argument("which", metavar="TIER|FILE")
@pass_invocation
def show(invocation: Invocation, which: str) -> None:
    """Show the rules and limits of a tier or of a policy file, with all that it extends."""
    policy = find_policy(which)
    rules, limits = rows(policy), dataclasses.asdict(policy.limits)
    if invocation.as_json:
        invocation.output.data({"name": policy.name, "rules": rules, "limits": limits})
        return
    invocation.output.table(rules, RULES)
    invocation.output.line()
    invocation.output.facts(limits)


def rows(policy: Policy) -> list[dict[str, Any]]:
    """Return the rules as plain rows."""
    return [
        {
            "effect": rule.effect.value, "call": rule.call, "paths": [pattern.text for pattern in rule.paths],
            "commands": list(rule.commands), "targets": list(rule.targets), "origin": rule.origin,
        }
        for rule in policy.rules
    ]  # fmt: skip


def _check(call: str, path: str | None) -> None:
    """Refuse what no script could ask: a verdict about it would be about nothing.

    Raises:
        ArgumentError: There is no such call, or the path is not as a host would resolve it.
    """
    from stdlib.catalogue import load  # loads every family of calls

    names = load().names()
    if call not in names:
        close = difflib.get_close_matches(call, names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else " (docs/calls.md lists them)"
        raise ArgumentError(f"there is no call named {call!r}{hint}", parameter="call")
    if path is not None and not (path.startswith("/") and os.path.normpath(path) == path):
        raise ArgumentError(f"{path!r} is not an absolute path without . and ..", where="--path")


@noun.command("explain", cls=LocalCommand)
@click.argument("which", metavar="TIER|FILE")
@click.argument("call")
@click.option("--path", help="Absolute, resolved path that the call would touch.")
@click.option("--command", help="Declared command.")
@click.option("--target", help="Host and port.")
@pass_invocation
def explain(
    invocation: Invocation, which: str, call: str, path: str | None, command: str | None, target: str | None
) -> None:
    """Say what a tier or policy file decides about CALL, and which rule decided."""
    policy = find_policy(which)
    _check(call, path)
    verdict = decide(policy, call, Facts(path, command, target))
    told = {"call": call, "verdict": verdict.effect.value, "rule": verdict.rule, "reason": verdict.reason or None}
    if invocation.as_json:
        invocation.output.data(told)
    else:
        invocation.output.facts(told)
    invocation.exit(exits.OK if verdict.allowed else exits.DENIED)
