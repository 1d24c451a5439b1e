"""``outrider policy``: what a tier may do, and which rule decides about one call."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import LocalCommand
from cli.local.policies import find_policy
from cli.output import field

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
    rules, limits = _rules(policy), _limits(policy)
    if invocation.as_json:
        invocation.output.data({"name": policy.name, "rules": rules, "limits": limits})
        return
    invocation.output.table(rules, RULES)
    invocation.output.line()
    invocation.output.facts(limits)
