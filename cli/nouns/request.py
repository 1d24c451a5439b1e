"""``outrider request``: ask for access for a while; decide about what others ask."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import since
from cli.identities import REQUEST
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.scopes import bounds, scope_of, scope_options
from cli.values import bounded, segment
from protocol.units import format_duration

MIN_FOR_S, MAX_FOR_S = 60.0, 30 * 86_400.0  # server.api.bodies.NewRequest

COLUMNS = (
    field("id", "id"),
    field("by", "principal"),
    field("kinds", "kinds"),
    field("tier", "tier"),
    field("on", "target"),
    Column("bounds", bounds),
    Column("for", lambda request: format_duration(request["ttl_s"])),
    field("state", "state"),
    Column("asked", lambda request: since(request.get("created"))),
    field("reason", "reason"),
)


@click.group(cls=Group)
def noun() -> None:
    """Ask for access to hosts for a while; approve or deny what others ask."""


@noun.command("create", cls=ServerCommand)
@scope_options
@click.option("--for", "duration", required=True, metavar="DURATION", help="How long, such as 2h.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, such as a ticket; it is on the record.")
@pass_invocation
def create(invocation: Invocation, /, duration: str, reason: str, **given: Any) -> None:
    """Ask for access. Somebody else with the role approver or admin decides.

    \b
    Examples:
      outrider request create --on web-3 --kind terminal --tier admin --for 2h --reason T-2291
      outrider request create --on web-3 --kind forward --tier admin --targets localhost:5432 --for 30m --reason T-2291
    """
    body = {**scope_of(**given), "ttl_s": bounded(duration, MIN_FOR_S, MAX_FOR_S, where="--for"), "reason": reason}
    made = invocation.api.post("requests", body)
    if invocation.as_json:
        invocation.output.data(made)
    else:
        invocation.output.say(f"asked  {made['id']} waits for review by somebody else: {_how(made['id'])}")


def _how(identity: str) -> str:
    return f"outrider request review {identity} --approve --reason ..."


@noun.command("ls", cls=ServerCommand)
@click.option("--state", type=click.Choice(["open", "approved", "denied", "expired"]), help="Only those.")
@click.option("--reviewable", is_flag=True, help="Those that you may decide about.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@pass_invocation
def ls(invocation: Invocation, state: str | None, reviewable: bool, limit: int) -> None:
    """List requests, newest first.

    \b
    Example:
      outrider request ls --reviewable
    """
    asked = {"state": state, "reviewable": "true" if reviewable else None}
    invocation.output.table(invocation.api.items("requests", limit=limit, **asked), COLUMNS, empty="no requests")


@noun.command("show", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=REQUEST)
@pass_invocation
def show(invocation: Invocation, identity: str) -> None:
    """Show one request.

    \b
    Example:
      outrider request show r_90f2c1
    """
    invocation.output.facts(invocation.api.get(f"requests/{segment(identity)}"))


@noun.command("review", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=REQUEST)
@click.option("--approve", "is_yes", is_flag=True, help="Yes.")
@click.option("--deny", "is_no", is_flag=True, help="No.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is on the record.")
@pass_invocation
def review(invocation: Invocation, identity: str, is_yes: bool, is_no: bool, reason: str) -> None:
    """Approve or deny a request of somebody else. What is approved is in force at once, for the time that was asked.

    \b
    Examples:
      outrider request review r_4eada1f0 --approve --reason known
      outrider request review r_4eada1f0 --deny --reason 'ask for less: /var/log only'
    """
    if is_yes == is_no:
        raise click.UsageError("Say either --approve or --deny.")
    body = {"approved": is_yes, "reason": reason}
    made = invocation.api.post(f"requests/{segment(identity)}/review", body)
    if invocation.as_json:
        invocation.output.data(made)
    else:
        told = f"access {made['grant']} for {format_duration(made['ttl_s'])}" if is_yes else "denied"
        invocation.output.say(f"{made['id']}  {made['principal']}: {told}")
