"""``outrider status``: who you are, which server, how the fleet is."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand


@click.command(cls=ServerCommand)
@pass_invocation
def noun(invocation: Invocation) -> None:
    """Show the server, who you are there, and how the fleet is.

    \b
    Examples:
      outrider status
      outrider status --json
    """
    context = invocation.context
    me = invocation.api.get("me")
    fleet = invocation.api.get("status")
    told = {"server": context.server, "context": context.origin, **me, **fleet}
    if isinstance(told.get("server"), dict):
        told = {**told, "server": context.server, "server_version": told["server"].get("version")}
    invocation.output.facts(told)
