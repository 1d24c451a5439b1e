"""``outrider file extract``: an archive from here, unpacked into a new folder of a host."""

from __future__ import annotations

from pathlib import Path

import click

from cli.files.place import parse, remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.nouns.blob import from_file
from cli.session_options import files_session, session_options, with_key
from cli.wire import shown
from protocol.units import parse_size


@with_key
@click.command("extract", cls=ServerCommand)
@click.argument("archive", metavar="FILE")
@click.argument("place", metavar="TARGET:FOLDER")
@click.option("--max-size", default="256MiB", show_default=True, metavar="SIZE", help="Of what is in it, at most.")
@session_options
@pass_invocation
def noun(invocation: Invocation, archive: str, place: str, max_size: str, tier: str | None, reason: str) -> None:
    """Unpack an archive (tar, tar.gz, zip) into FOLDER of a host, which is not there yet or empty; whole or not at all.

    It may hold files and folders and nothing else: no links, no names that lead out. Files belong to the agent's own
    user. The archive lies on the server as a blob until that runs out. What takes it back is printed.

    \b
    Example:
      outrider file extract site.tar.gz web-3:/srv/www/v2 --reason CHG-118
    """
    at = remote(place)
    if parse(archive) is not None:
        raise click.UsageError("The archive comes from this machine: give a path here.")
    most = parse_size(max_size, where="--max-size")
    with files_session(invocation, at, [("fs.extract", at.path)], tier, reason) as session:
        blob = from_file(invocation, Path(archive), None)["hash"]
        count = session.long_call("fs.extract", blob_hash=blob, dir=at.path, max=most, max_entries=100_000)
        changed = session.call("fs.changes")
    journal = changed[0].get("journal") if changed else None
    if invocation.as_json:
        invocation.output.data({"folder": shown(at.path), "entries": count, "hash": blob, "journal": journal})
    else:
        undo = f"; undo: outrider file undo {at.agent} {journal}" if journal else ""
        invocation.output.say(f"{shown(str(at))}: {count:,} entr{'y' if count == 1 else 'ies'}{undo}")
