"""``outrider file put``: one file to a host."""

from __future__ import annotations

import click

from cli.files.copying import Wish
from cli.files.place import parse, remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.nouns.file_cp import MAX_RETRY_S, copy
from cli.session_options import retry_option, session_options, with_key
from cli.values import bounded


@with_key
@click.command("put", cls=ServerCommand)
@click.argument("source", metavar="FILE")
@click.argument("place", metavar="TARGET:PATH")
@click.option("-p", "--preserve", is_flag=True, help="Keep mode and time of change.")
@retry_option
@session_options
@pass_invocation
def noun(
    invocation: Invocation, source: str, place: str, preserve: bool, retry_for: str, tier: str | None, reason: str
) -> None:
    """Copy a file to a host: to that path, or into that directory.

    It takes its place whole or not at all, after its hash was compared; a file that is there keeps its mode and owner.
    What broke off goes on where it stood.

    \b
    Examples:
      outrider file put nginx.conf web-3:/etc/nginx/nginx.conf --reason CHG-118
      outrider file put db.dump web-3:/srv/restore/ --reason T-2291
    """
    wish = Wish(False, preserve, bounded(retry_for, 0.0, MAX_RETRY_S, where="--retry-for"))
    if parse(source) is not None:
        raise click.UsageError("The file comes from this machine: give a path here.")
    copy(invocation, [source], str(remote(place)), wish, tier, reason)
