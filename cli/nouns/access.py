"""``outrider access``: who may open which sessions on which hosts."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import day
from cli.identities import ACCESS
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, counted, field
from cli.scopes import bounds, note_nobody, scope_of, scope_options
from cli.values import segment, sure
from protocol.units import parse_duration


def _until(grant: dict[str, Any]) -> str:
    if grant.get("revoked"):
        return "revoked"
    return str(day(grant.get("expires"))) if grant.get("in_force") else "ended"


COLUMNS = (
    field("id", "id"),
    field("who", "who"),
    field("kinds", "kinds"),
    field("up to", "tier"),
    field("on", "target"),
    Column("bounds", bounds),
    Column("until", _until),
    field("by", "by"),
)


@click.group(cls=Group)
def noun() -> None:
    """Who may open which sessions (terminals, commands, files, forwards) on which hosts."""


@noun.command("ls", cls=ServerCommand)
@click.option("--who", metavar="WHO", help="Only those of this principal, @group or role:NAME.")
@click.option("--all", "is_all", is_flag=True, help="Those that have ended or were revoked as well.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, who: str | None, is_all: bool, limit: int) -> None:
    """List access grants, oldest first.

    \b
    Examples:
      outrider access ls
      outrider access ls --who tom --all
    """
    found = invocation.api.items("access", limit=limit, who=who, all="true" if is_all else None)
    invocation.output.table(found, COLUMNS, empty="no access grants: nobody may open a session")


@noun.command("show", cls=ServerCommand)
@click.argument("identity", metavar="ID", type=ACCESS)
@pass_invocation
def show(invocation: Invocation, identity: str) -> None:
    """Show one access grant.

    \b
    Example:
      outrider access show a_2b6309d2
    """
    invocation.output.facts(invocation.api.get(f"access/{segment(identity)}"))


@noun.command("create", cls=ServerCommand)
@click.argument("who")
@scope_options
@click.option("--ttl", metavar="DURATION", help="It ends after this [default: when it is revoked].")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@pass_invocation
def create(invocation: Invocation, /, who: str, ttl: str | None, reason: str, **given: Any) -> None:
    """Let WHO (a principal, @group or role:NAME) open sessions.

    \b
    Examples:
      outrider access create tom --kind files --tier inspect --on role=mail
      outrider access create @dba --kind forward --tier admin --on 'db-*' --targets localhost:5432 --ttl 30d
      outrider access create role:support --kind terminal --tier operate --on env=test --users deploy
    """
    ttl_s = None if ttl is None else parse_duration(ttl, where="--ttl")
    made = invocation.api.post("access", {"who": who, **scope_of(**given), "ttl_s": ttl_s, "reason": reason})
    if invocation.as_json:
        invocation.output.data(made)
    else:
        invocation.output.say(f"access {made['id']}  {who}: {', '.join(made['kinds'])} on {made['target']}")
        note_nobody(invocation, made["target"])


@noun.command("rm", cls=ServerCommand)
@click.argument("identities", metavar="ID...", type=ACCESS, nargs=-1, required=True)
@click.option("--reason", default="", metavar="TEXT", help="Why; it is on the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def rm(invocation: Invocation, identities: tuple[str, ...], reason: str, yes: bool) -> None:
    """Revoke access grants. Every session that stands on one ends at once.

    \b
    Example:
      outrider access rm a_2b6309d2 --reason "T-1 is solved"
    """
    sure(invocation, f"Revoke {counted(len(identities), 'grant')}? Sessions that stand on them end at once.", yes)
    revoked = [invocation.api.delete(f"access/{segment(each)}", reason=reason) for each in identities]
    if invocation.as_json:
        invocation.output.data(revoked)
    for each in revoked if not invocation.as_json else ():
        invocation.output.say(f"revoked {each['id']}  {each['who']}")
