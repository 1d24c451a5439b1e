"""``outrider file mv``: move or rename on one host."""

from __future__ import annotations

import click

from cli.files.place import Remote, parse, remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.wire import shown
from protocol.errors import ArgumentError


@with_key
@click.command("mv", cls=ServerCommand)
@click.argument("source", metavar="TARGET:PATH")
@click.argument("place", metavar="PATH")
@click.option("-f", "--force", is_flag=True, help="Over a file that is there.")
@session_options
@pass_invocation
def noun(invocation: Invocation, source: str, place: str, force: bool, tier: str | None, reason: str) -> None:
    """Move or rename on one host and one of its file systems: into PATH if that is a directory, else to it.

    \b
    Examples:
      outrider file mv web-3:/srv/www/new.html /srv/www/index.html --force --reason CHG-118
    """
    at = remote(source)
    to = parse(place) or (Remote(at.agent, place) if place.startswith("/") else None)
    if to is None or to.agent != at.agent:
        raise ArgumentError(f"{shown(place)!r} is no absolute path on {at.agent}")
    with files_session(invocation, at, [("fs.rename", at.path), ("fs.rename", to.path)], tier, reason) as session:
        about = session.call("fs.stat", path=to.path)
        if about is not None and about["type"] == "directory":
            to = to.below(at.name)
        session.call("fs.rename", source=at.path, path=to.path, overwrite=force)
    if invocation.as_json:
        invocation.output.data({"from": shown(at.path), "to": shown(to.path)})
    else:
        invocation.output.say(f"{shown(str(at))} is {shown(to.path)} now")
