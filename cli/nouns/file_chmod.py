"""``outrider file chmod`` and its owner: the permission bits of a file of a host."""

from __future__ import annotations

import click

from cli.files.place import remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.wire import shown


@with_key
@click.command("chmod", cls=ServerCommand)
@click.argument("mode", metavar="OCTAL")
@click.argument("place", metavar="TARGET:PATH")
@session_options
@pass_invocation
def noun(invocation: Invocation, mode: str, place: str, tier: str | None, reason: str) -> None:
    """Set the permission bits of a file of a host; says those before. Setuid and setgid are given to nothing.

    \b
    Examples:
      outrider file chmod 0640 web-3:/srv/app/secrets.env --reason T-2291
    """
    at = remote(place)
    with files_session(invocation, at, [("fs.chmod", at.path)], tier, reason) as session:
        before = session.call("fs.chmod", path=at.path, mode=mode)
    if invocation.as_json:
        invocation.output.data({"path": shown(at.path), "mode": mode, "before": before})
    else:
        invocation.output.say(f"{shown(str(at))} had {before}")
