"""``outrider policy``: what a tier may do, and which rule decides about one call."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shlex
from typing import Any

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import LocalCommand
from cli.local.policies import find_policy
from cli.output import field
from policies.decide import decide
from policies.model import Facts, Policy, Rule
from policies.targets import MAX_PORT, NetTarget
from policies.users import User, check_user_name
from protocol.errors import ArgumentError

LUAJIT = "language.luajit"  # no call, but decided like one; see policies.decide.require_language
RULES = (
    field("effect", "effect"),
    field("call", "call"),
    field("paths", "paths"),
    field("commands", "commands"),
    field("names", "names"),
    field("programs", "programs"),
    field("arguments", "arguments"),
    field("targets", "targets"),
    field("users", "users"),
    field("from", "origin"),
)


@click.group(cls=Group)
def noun() -> None:
    """What a tier may do, and which rule decides."""


@noun.command("show", cls=LocalCommand)
@click.argument("which", metavar="TIER|FILE")
@pass_invocation
def show(invocation: Invocation, which: str) -> None:
    """Show the rules and limits of a tier or of a policy file, with all that it extends.

    \b
    Examples:
      outrider policy show observe
      outrider policy show /etc/outrider/policies/mail.yaml
    """
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
            "commands": list(rule.commands), "names": list(rule.named),
            "programs": [pattern.text for pattern in rule.programs],
            "arguments": [pattern.text for pattern in rule.arguments or ()], "environment": list(rule.variables),
            "except": [pattern.text for pattern in rule.exceptions], "max_bytes": rule.max_bytes,
            "targets": _targets(rule), "users": list(rule.users), "origin": rule.origin,
        }
        for rule in policy.rules
    ]  # fmt: skip


def _targets(rule: Rule) -> list[str]:
    """Return the targets of a rule; ``declared`` stands for those that a manifest names."""
    return [pattern.text for pattern in rule.targets] + (["(declared)"] if rule.declared else [])


def _target(text: str | None, address: str | None) -> NetTarget | None:
    """Return what ``--target`` and ``--address`` tell.

    Raises:
        ArgumentError: One of them is wrong, or there is an address of nothing.
    """
    if text is None:
        if address is not None:
            raise ArgumentError("needs --target, the name that has this address", where="--address")
        return None
    host, port = text, None
    found = re.fullmatch(r"(.*):([0-9]{1,5})", text)
    if found and (":" not in found[1] or found[1].startswith("[")):
        host, port = found[1], int(found[2])
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if port is not None and not 1 <= port <= MAX_PORT:
        raise ArgumentError(f"{port} is no port", where="--target")
    try:
        target = NetTarget.of(host, port)
    except ArgumentError as error:
        raise ArgumentError(error.message, where="--target") from None
    try:
        return target if address is None else target.at(address)
    except ArgumentError as error:
        raise ArgumentError(error.message, where="--address") from None


def _check(call: str, path: str | None) -> None:
    """Refuse what no script could ask: a verdict about it would be about nothing.

    Raises:
        ArgumentError: There is no such call, or the path is not as a host would resolve it.
    """
    from stdlib.catalogue import load  # loads every family of calls

    names = load().names()
    if call not in names and call != LUAJIT:
        close = difflib.get_close_matches(call, names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else " (docs/calls.md lists them)"
        raise ArgumentError(f"there is no call named {call!r}{hint}", parameter="call")
    if path is not None and not (path.startswith("/") and os.path.normpath(path) == path):
        raise ArgumentError(f"{path!r} is not an absolute path without . and ..", where="--path")


def _command(command: str | None, argv: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """Return program and arguments.

    Raises:
        ArgumentError: There is no name for them, or the line does not begin with a program as a host resolves it.
    """
    if argv is None:
        return None, None
    if command is None:
        raise ArgumentError("needs --command, the name that the manifest gives to it", where="--argv")
    try:
        words = shlex.split(argv)
    except ValueError as error:
        raise ArgumentError(f"{argv!r:.60} is not a command line: {error}", where="--argv") from None
    if not words or not words[0].startswith("/") or os.path.normpath(words[0]) != words[0]:
        raise ArgumentError("must begin with the absolute path of a program", where="--argv")
    return words[0], tuple(words[1:])


@noun.command("explain", cls=LocalCommand)
@click.argument("which", metavar="TIER|FILE")
@click.argument("call")
@click.option("--path", help="Absolute, resolved path that the call would touch.")
@click.option("--command", help="Name that the manifest gives to a command.")
@click.option("--argv", help="The whole command that this name stands for, such as '/usr/bin/df -P /'.")
@click.option("--target", metavar="HOST[:PORT]", help="What the call would connect to.")
@click.option("--address", help="What the host of --target was found to be; it is decided as well.")
@click.option("--user", metavar="NAME", help="Of the host, as whom it would be made [default: not known].")
@pass_invocation
def explain(
    invocation: Invocation,
    which: str,
    call: str,
    path: str | None,
    command: str | None,
    argv: str | None,
    target: str | None,
    address: str | None,
    user: str | None,
) -> None:
    """Say what a tier or policy file decides about CALL, and which rule decided.

    \b
    Examples:
      outrider policy explain observe fs.list --path /etc
      outrider policy explain inspect proc.command --command df --argv '/usr/bin/df -P'
      outrider policy explain ./site.yaml tty.login --user deploy
    """
    policy = find_policy(which)
    _check(call, path)
    program, arguments = _command(command, argv)
    place = _target(target, address)
    whose = None if user is None else User(check_user_name(user, parameter="--user"))
    facts = Facts(path=path, command=command, program=program, arguments=arguments, target=place, user=whose)
    verdict = decide(policy, call, facts)
    if user is None and not verdict.allowed and verdict.rule.endswith(": users"):
        invocation.output.say("it is decided on as whom it is made as well: tell it with --user")
    if command is not None and argv is None and not verdict.allowed:
        invocation.output.say("what the name stands for is decided as well: tell it with --argv")
    told = {"call": call, "verdict": verdict.effect.value, "rule": verdict.rule, "reason": verdict.reason or None}
    if invocation.as_json:
        invocation.output.data(told)
    else:
        invocation.output.facts(told)
    invocation.exit(exits.OK if verdict.allowed else exits.DENIED)
