"""``outrider file cat``: a file of a host, or a part of it, on standard output."""

from __future__ import annotations

import re
import sys

import click

from cli.files.download import Descriptor, Downloads
from cli.files.patience import Patience
from cli.files.place import remote
from cli.files.progress import Progress
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key

RANGE = re.compile(r"\d*-\d*")


@with_key
@click.command("cat", cls=ServerCommand)
@click.argument("places", metavar="TARGET:PATH...", nargs=-1, required=True)
@click.option("--tail", type=click.IntRange(0, 1_000_000), metavar="LINES", help="Only so many lines at its end.")
@click.option("--bytes", "part", metavar="FIRST-LAST", help="Only these bytes, from 0; -N for the last N.")
@session_options
@pass_invocation
def noun(
    invocation: Invocation, places: tuple[str, ...], tail: int | None, part: str | None, tier: str | None, reason: str
) -> None:
    """Write files of a host to standard output as they are; data is not JSON here.

    \b
    Examples:
      outrider file cat web-3:/etc/hosts
      outrider file cat --tail 100 web-3:/var/log/syslog
      outrider file cat --bytes 0-1023 web-3:/var/log/wtmp | xxd
    """
    if part is not None and (tail is not None or not RANGE.fullmatch(part) or part == "-"):
        raise click.BadParameter("give FIRST-LAST, FIRST- or -N, and no --tail with it", param_hint="'--bytes'")
    call = "fs.lines" if tail is not None else "fs.read_stream"
    sys.stdout.flush()
    sink = Descriptor(sys.stdout.fileno(), "standard output")
    for place in places:
        at = remote(place)
        with files_session(invocation, at, [(call, at.path)], tier, reason) as session:
            if tail is not None:
                if not tail:
                    continue
                lines = [
                    line if isinstance(line, bytes) else line.encode()
                    for line in session.stream(call, path=at.path, from_end=True, limit=tail)
                    if not isinstance(line, dict)
                ]
                sink.write(b"".join(line + b"\n" for line in reversed(lines)))
                continue
            say = invocation.output.say
            downloads = Downloads(session, Patience(session, 0, say), Progress(is_shown=False), say)
            asked = None if part is None else f"bytes={part}"
            downloads.receive(at.path, sink, str(at), asked=asked)
