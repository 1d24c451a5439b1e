"""``outrider file archive``: files and folders of a host as one archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from cli.files.place import remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.nouns.blob import to_file, to_stdout
from cli.output import counted
from cli.session_options import files_session, session_options, with_key
from protocol.errors import ArgumentError, UnavailableError
from protocol.units import parse_size

FORMATS: Final = {".zip": "zip", ".tgz": "tar.gz", ".tar.gz": "tar.gz"}


@with_key
@click.command("archive", cls=ServerCommand)
@click.argument("places", metavar="TARGET:PATH...", nargs=-1, required=True)
@click.option("-o", "--output", "target", metavar="FILE", help="Where to [default: NAME.tar.gz here; - for stdout].")
@click.option("--skip", multiple=True, metavar="PATTERN", help="Leave out what fits, such as '/srv/www/cache/**'.")
@click.option("--max-size", default="256MiB", show_default=True, metavar="SIZE", help="Of the archive, at most.")
@session_options
@pass_invocation
def noun(
    invocation: Invocation, places: tuple[str, ...], target: str | None, skip: tuple[str, ...], max_size: str,
    tier: str | None, reason: str,
) -> None:  # fmt: skip
    """Get files and folders of one host as one archive: tar.gz, or zip if FILE ends so. Names in it are whole paths.

    Links stay links and are not followed. What the host denies, or is no file, folder or link, is named in the error,
    and nothing comes, unless --skip leaves it out. The archive lies on the server as a blob until that runs out.

    \b
    Examples:
      outrider file archive web-3:/etc/nginx
      outrider file archive web-3:/srv/www --skip '/srv/www/cache/**' -o site.zip --reason T-2291
      outrider file archive web-3:/var/log/app -o - --reason T-2291 | tar tz
    """
    meant = [remote(place) for place in places]
    if len({each.agent for each in meant}) != 1:
        raise ArgumentError("all of it must be on one host")
    name = target or f"{meant[0].name or 'root'}.tar.gz"
    form = next((form for end, form in FORMATS.items() if name.endswith(end)), "tar.gz")
    asked: dict[str, Any] = {
        "paths": [each.path for each in meant], "format": form, "skip": list(skip) or None,
        "max": parse_size(max_size, where="--max-size"), "max_entries": 100_000,
    }  # fmt: skip
    with files_session(invocation, meant[0], [("fs.archive", each.path) for each in meant], tier, reason) as session:
        blob = str(session.long_call("fs.archive", **asked))
    if name == "-":
        to_stdout(invocation, blob)
        return
    try:
        size = to_file(invocation, blob, Path(name))
    except OSError as error:
        raise UnavailableError(f"{error.filename or name} cannot be written: {error.strerror}") from None
    if invocation.as_json:
        invocation.output.data({"file": name, "size": size, "hash": blob})
    else:
        invocation.output.say(f"{name}: {counted(size, 'byte')}")
