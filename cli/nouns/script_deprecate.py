"""``outrider script deprecate``: people who run or schedule it are warned; nothing is kept from running."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand


@click.command("deprecate", cls=ServerCommand)
@click.argument("name")
@click.option("--version", metavar="VERSION", help="Only this one [default: all, and those to come].")
@click.option("--reason", metavar="TEXT", default="", help="Why; whoever runs it reads this.")
@click.option("--replacement", metavar="NAME", help="What to use instead.")
@click.option("--undo", is_flag=True, help="Take it back.")
@pass_invocation
def noun(
    invocation: Invocation, name: str, version: str | None, reason: str, replacement: str | None, undo: bool
) -> None:
    """Tell people not to use script NAME any more, as one of its owners. It still runs; see also: script withdraw.

    \b
    Example:
      outrider script deprecate checks/queue --reason "reads no sockets" --replacement checks/mail-queue
    """
    if not undo and not reason.strip():
        raise click.UsageError("Say why with --reason TEXT, or take it back with --undo.")
    body = {"name": name, "version": version, "reason": reason, "replacement": replacement, "undo": undo}
    answer = invocation.api.post("scripts/deprecate", body)
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        which = f"{name} {version}" if version else name
        invocation.output.say(f"{which} is {'not deprecated any more' if undo else 'deprecated'}")
