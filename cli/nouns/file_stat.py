"""``outrider file stat``: what stands about a file of a host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from cli.ages import rfc3339
from cli.files.place import remote
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.wire import name_of, shown
from protocol.errors import NotFoundError

TIMES: Final = ("atime", "mtime", "ctime", "btime")


@with_key
@click.command("stat", cls=ServerCommand)
@click.argument("place", metavar="TARGET:PATH")
@click.option("--hash", "with_hash", is_flag=True, help="Also the sha256 of its content.")
@session_options
@pass_invocation
def noun(invocation: Invocation, place: str, with_hash: bool, tier: str | None, reason: str) -> None:
    """Say what a file of a host is: type, size, mode, owner, times; of a link itself, and where it leads.

    \b
    Examples:
      outrider file stat web-3:/etc/hosts
      outrider file stat --hash web-3:/etc/hosts --json
    """
    at = remote(place)
    wanted = [("fs.lstat", at.path), *([("fs.hash", at.path)] if with_hash else [])]
    with files_session(invocation, at, wanted, tier, reason) as session:
        about = session.call("fs.lstat", path=at.path)
        if about is None:
            raise NotFoundError(f"{at} does not exist")
        told = {"path": shown(at.path), **about}
        if about["type"] == "symlink":
            target = session.call("fs.readlink", path=at.path)
            told["target"] = None if target is None else shown(name_of(target))
        if with_hash:
            told["sha256"] = session.call("fs.hash", path=at.path)
    if not invocation.as_json:
        times = {name: rfc3339(datetime.fromtimestamp(told[name], UTC)) for name in TIMES if told.get(name) is not None}
        told |= times
    invocation.output.facts(told)
