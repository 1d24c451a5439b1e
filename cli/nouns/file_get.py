"""``outrider file get``: one file from a host."""

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
@click.command("get", cls=ServerCommand)
@click.argument("source", metavar="TARGET:PATH")
@click.argument("place", metavar="[FILE|DIRECTORY|-]", default=".")
@click.option("-p", "--preserve", is_flag=True, help="Keep mode and time of change.")
@retry_option
@session_options
@pass_invocation
def noun(
    invocation: Invocation, source: str, place: str, preserve: bool, retry_for: str, tier: str | None, reason: str
) -> None:
    """Copy a file from a host to FILE, or into a directory (the one here without a word), or to standard output (-).

    It takes its place whole or not at all, after its hash was compared. What broke off goes on where it stood.

    \b
    Examples:
      outrider file get web-3:/var/log/syslog
      outrider file get web-3:/var/backups/db.dump /mnt/db.dump
      outrider file get web-3:/etc/hosts - | wc -l
    """
    wish = Wish(False, preserve, bounded(retry_for, 0.0, MAX_RETRY_S, where="--retry-for"))
    at = remote(source)
    if parse(place) is not None:
        raise click.UsageError("The file goes to this machine: give a path here.")
    copy(invocation, [str(at)], place, wish, tier, reason)
