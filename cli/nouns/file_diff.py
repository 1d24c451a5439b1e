"""``outrider file diff``: how a file of a host differs from one here, or from one of another host."""

from __future__ import annotations

import os

import click

from cli import exits
from cli.files.local import local_failure
from cli.files.place import parse, remote
from cli.files.texts import MAX_BYTES, read, unified
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.wire import shown
from protocol.errors import ArgumentError, TooLargeError


@with_key
@click.command("diff", cls=ServerCommand)
@click.argument("one", metavar="TARGET:PATH")
@click.argument("other", metavar="FILE|TARGET:PATH|TARGET:")
@session_options
@pass_invocation
def noun(invocation: Invocation, one: str, other: str, tier: str | None, reason: str) -> None:
    """Show how two files differ, as a unified diff; exit status 0 if they do not, 1 if they do.

    TARGET: alone means the same path on that host.

    \b
    Examples:
      outrider file diff web-3:/etc/nginx/nginx.conf ./nginx.conf
      outrider file diff web-3:/etc/nginx/nginx.conf web-4:
    """
    at = remote(one)
    if other.endswith(":") and "/" not in other and not os.path.exists(other):
        other = f"{other}{at.path}"
    old, new = (_content(invocation, word, tier, reason) for word in (one, other))
    names = [shown(word) for word in (one, other)]
    told = unified(old, new, *names)
    if invocation.as_json:
        invocation.output.data({"from": names[0], "to": names[1], "same": not told, "diff": told})
    elif told:
        invocation.output.raw(told)
    invocation.exit(exits.FAILURE if told else exits.OK)


def _content(invocation: Invocation, word: str, tier: str | None, reason: str) -> bytes:
    at = parse(word)
    if at is not None:
        with files_session(invocation, at, [("fs.read_stream", at.path)], tier, reason) as session:
            return read(session, at.path, str(at), invocation.output.say)[1]
    try:
        with open(word, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ArgumentError(f"{shown(word)} is a directory") from None
    except OSError as error:
        raise local_failure(error, word) from None
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"{shown(word)} is larger than {MAX_BYTES >> 20} MiB")
    return data
