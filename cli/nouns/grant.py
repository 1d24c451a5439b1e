"""``outrider grant``: let people run chosen scripts who may not run scripts in general."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import day
from cli.identities import GRANT
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.scopes import note_nobody
from cli.values import segment
from protocol.errors import ArgumentError
from protocol.units import parse_duration


def _parameters(grant: dict[str, Any]) -> str:
    allowed = grant.get("parameters")
    if allowed is None:
        return "any"
    told = (name if values is None else f"{name}={'|'.join(values)}" for name, values in sorted(allowed.items()))
    return " ".join(told) or "none"


COLUMNS = (
    field("id", "id"),
    field("who", "who"),
    field("scripts", "scripts"),
    field("on", "target"),
    Column("parameters", _parameters),
    field("may", "actions"),
    Column("until", lambda grant: day(grant.get("expires")) if grant.get("in_force") else "ended"),
    field("by", "by"),
)


@click.group(cls=Group)
def noun() -> None:
    """Who may run which scripts, where, with which parameters, without the role for it."""


@noun.command("ls", cls=ServerCommand)
@click.option("--who", metavar="WHO", help="Only those of this principal, @group or role:NAME.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, who: str | None, limit: int) -> None:
    """List grants, oldest first.

    \b
    Example:
      outrider grant ls --who @helpdesk
    """
    invocation.output.table(invocation.api.items("grants", limit=limit, who=who), COLUMNS, empty="no grants")


@noun.command("create", cls=ServerCommand)
@click.argument("who")
@click.argument("scripts")
@click.option("--on", "target", required=True, metavar="TARGET", help="Name, glob, '*', or labels (role=mail).")
@click.option(
    "--arg", "arguments", multiple=True, metavar="K[=A,B]",
    help="A parameter that may be given, and its values [default: any value]; may be repeated.",
)  # fmt: skip
@click.option("--any-arg", is_flag=True, help="Any parameters that the script takes.")
@click.option("--schedule", "may_schedule", is_flag=True, help="To schedule it, too.")
@click.option("--ttl", metavar="DURATION", help="The grant ends after this [default: when it is removed].")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@pass_invocation
def create(
    invocation: Invocation,
    who: str,
    scripts: str,
    target: str,
    arguments: tuple[str, ...],
    any_arg: bool,
    may_schedule: bool,
    ttl: str | None,
    reason: str,
) -> None:
    """Let WHO (a principal, @group or role:NAME) run SCRIPTS (a name, or a namespace such as fix/**).

    Parameters that are not named cannot be given, so the script's defaults stand. A script runs at the tier that its
    reviewers approved, whoever asked for it: WHO gets done what they could not do themselves.

    \b
    Examples:
      outrider grant create @helpdesk fix/restart-mail --on role=mail --arg service=postfix,dovecot --ttl 90d
      outrider grant create tom 'checks/**' --on '*' --schedule
    """
    if any_arg and arguments:
        raise ArgumentError("--any-arg and --arg say different things", parameter="any-arg")
    body: dict[str, Any] = {
        "who": who, "scripts": scripts, "target": target, "reason": reason,
        "parameters": None if any_arg else dict(map(_argument, arguments)),
        "actions": ["run", "schedule"] if may_schedule else ["run"],
        "ttl_s": None if ttl is None else parse_duration(ttl, where="--ttl"),
    }  # fmt: skip
    made = invocation.api.post("grants", body)
    if invocation.as_json:
        invocation.output.data(made)
    else:
        invocation.output.say(
            f"grant {made.get('id')}  {who} may {' and '.join(body['actions'])} {scripts} on {target}"
        )
        note_nobody(invocation, target)


def _argument(text: str) -> tuple[str, list[str] | None]:
    name, equals, values = text.partition("=")
    if not name:
        raise ArgumentError(f"{text!r:.60} is not K or K=A,B", where="--arg")
    return name, values.split(",") if equals else None


@noun.command("rm", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=GRANT)
@pass_invocation
def rm(invocation: Invocation, identity: str) -> None:
    """Take a grant away; what was scheduled under it is paused.

    \b
    Example:
      outrider grant rm 5c1e9f0a
    """
    invocation.api.delete(f"grants/{segment(identity)}")
    invocation.output.say(f"removed grant {identity}")
