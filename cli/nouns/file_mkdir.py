"""``outrider file mkdir``: make directories on a host."""

from __future__ import annotations

import click

from cli.files.place import remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.wire import shown


@with_key
@click.command("mkdir", cls=ServerCommand)
@click.argument("place", metavar="TARGET:PATH")
@click.option("-p", "--parents", is_flag=True, help="Those above it too.")
@click.option("--mode", metavar="OCTAL", help="Permission bits [default: 0755].")
@session_options
@pass_invocation
def noun(invocation: Invocation, place: str, parents: bool, mode: str | None, tier: str | None, reason: str) -> None:
    """Make a directory on a host; one that is there is no error.

    \b
    Examples:
      outrider file mkdir -p web-3:/srv/www/assets --reason CHG-118
    """
    at = remote(place)
    with files_session(invocation, at, [("fs.mkdir", at.path)], tier, reason) as session:
        made = session.call("fs.mkdir", path=at.path, parents=parents, mode=mode)
    if invocation.as_json:
        invocation.output.data({"path": shown(at.path), "created": made})
    else:
        invocation.output.say(f"{shown(str(at))} {'was made' if made else 'was there'}")
