"""What an access grant is about and a request asks for, as it is typed and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from cli.invocation import Invocation
from protocol.tiers import Tier

KINDS = ("terminal", "command", "files", "forward")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def scope_options(command: _Command) -> _Command:
    """Add the options that say which kinds of session, up to which tier, where and within which bounds."""
    for option in reversed((
        click.option("--on", "target", required=True, metavar="TARGET", help="Name, glob, '*', or labels (role=mail)."),
        click.option("--kind", "kinds", multiple=True, required=True, type=click.Choice(KINDS),
                     help="May be repeated."),
        click.option("--tier", required=True, metavar="TIER", help="The highest."),
        click.option("--users", multiple=True, metavar="USER",
                     help="Whom terminals and commands may be of; may be repeated."),
        click.option("--paths", multiple=True, metavar="GLOB", help="Paths of files; may be repeated."),
        click.option("--targets", multiple=True, metavar="TARGET",
                     help="Where forwards may lead, such as localhost:5432; may be repeated."),
    )):  # fmt: skip
        command = option(command)
    return command


def note_nobody(invocation: Invocation, target: str) -> None:
    """Say so if no host matches a target now: it may be meant for those to come, or mistyped."""
    if not any(True for _ in invocation.api.items("agents", target=target, limit=1)):
        invocation.output.say(f"no host matches {target} now; it counts on those that come to match")


def scope_of(
    target: str, kinds: tuple[str, ...], tier: str, users: tuple[str, ...], paths: tuple[str, ...],
    targets: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    """Return the scope that was typed, as the API takes it; ArgumentError for a tier that is none."""
    return {
        "target": target, "kinds": list(kinds), "tier": Tier.parse(tier, where="--tier").label, "users": list(users),
        "paths": list(paths), "targets": list(targets),
    }  # fmt: skip


def bounds(grant: Mapping[str, Any]) -> str:
    """Return what narrows a scope, in one line."""
    told = [f"{name}={','.join(grant[name])}" for name in ("users", "paths", "targets") if grant.get(name)]
    return " ".join(told) or "-"
