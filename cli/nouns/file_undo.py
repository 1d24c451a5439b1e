"""``outrider file undo``: take a change of a file back."""

from __future__ import annotations

import click

from cli.files.place import Remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key


@with_key
@click.command("undo", cls=ServerCommand)
@click.argument("target", metavar="TARGET")
@click.argument("journal", metavar="JOURNAL")
@session_options
@pass_invocation
def noun(invocation: Invocation, target: str, journal: str, tier: str | None, reason: str) -> None:
    """Take a change back, by the journal that it printed: the file gets the content, mode and owner that it had, what
    was made goes, what was removed comes back.

    Only if nobody has changed it since. It needs the tier that a change of that file needs.

    \b
    Examples:
      outrider file undo web-3 0195f3a2c4d1-5be0c1d2e3f4a5b6c7d8 --reason "CHG-118 back"
    """
    at = Remote(target.partition(":")[0], "/")
    with files_session(invocation, at, [], tier or "operate", reason) as session:
        told = session.call("fs.undo", journal=journal)
    if invocation.as_json:
        invocation.output.data({"journal": journal, "sha256": told})
    else:
        invocation.output.say(f"undone; sha256 {told}" if told else "undone")
