"""``outrider file rm``: remove files and folders of a host."""

from __future__ import annotations

from typing import Any

import click

from cli import exits
from cli.files.place import remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.sessions import RemoteSession
from cli.values import sure
from cli.wire import shown


@with_key
@click.command("rm", cls=ServerCommand)
@click.argument("place", metavar="TARGET:PATH")
@click.option("-r", "--recursive", is_flag=True, help="A folder with all below it.")
@click.option("--max-entries", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True,
              help="Remove nothing if there is more.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@session_options
@pass_invocation
def noun(
    invocation: Invocation, place: str, recursive: bool, max_entries: int, yes: bool, tier: str | None, reason: str
) -> None:
    """Remove a file, a link itself, or an empty directory; a folder with -r. Links are not followed.

    A file, a link and a folder of up to 16 MiB and 10,000 entries can be brought back: what undoes it is printed.

    \b
    Examples:
      outrider file rm web-3:/srv/www/old.html --reason CHG-118
      outrider file rm -r web-3:/srv/old --reason CHG-118 --yes
    """
    at = remote(place)
    call = "fs.remove" if recursive else "fs.unlink"
    with files_session(invocation, at, [(call, at.path)], tier, reason) as session:
        if recursive:
            sure(invocation, f"Remove {shown(str(at))} with all that is in it?", yes)
            count = session.call(call, path=at.path, recursive=True, max_entries=max_entries)
            told = {"removed": count, **_undo(session)}
        else:
            about = session.call("fs.lstat", path=at.path)
            if about is not None and about["type"] == "directory":
                told = {"removed": int(session.call("fs.rmdir", path=at.path)), **_undo(session)}
            else:
                done = session.call(call, path=at.path)
                told = {"removed": int(done["existed"]), "journal": done["journal"], "no_undo": done.get("no_undo")}
    if invocation.as_json:
        invocation.output.data({"path": shown(at.path), **told})
    elif told["removed"]:
        undo = f"undo: outrider file undo {at.agent} {told['journal']}" if told["journal"] else ""
        undo = f" ({undo or 'no undo: ' + shown(str(told['no_undo']))})"
        invocation.output.say(f"removed {shown(str(at))}{undo}")
    else:
        invocation.output.say(f"{shown(str(at))} does not exist")
    invocation.exit(exits.OK if told["removed"] else exits.FAILURE)


def _undo(session: RemoteSession) -> dict[str, Any]:
    """Return what undoes the newest change of the session, or why nothing does."""
    newest = next(iter(session.call("fs.changes")), {"journal": None, "no_undo": "there is no undo journal there"})
    return {"journal": newest.get("journal"), "no_undo": newest.get("no_undo")}
