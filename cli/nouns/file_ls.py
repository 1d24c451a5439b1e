"""``outrider file ls``: what is in a directory of a host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from cli.ages import rfc3339
from cli.files.place import Remote, remote
from cli.files.progress import size_text
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.session_options import files_session, session_options, with_key
from cli.sessions import RemoteSession
from cli.wire import name_of, shown
from protocol.errors import NotFoundError

NAME = Column("name", lambda item: item["name"] + (f" -> {item['target']}" if item.get("target") else ""))
SHORT = (
    field("type", "type"),
    Column("size", lambda item: size_text(item["size"]) if item["type"] == "file" else "", is_number=True),
    Column("modified", lambda item: rfc3339(datetime.fromtimestamp(item["mtime"], UTC))),
    NAME,
)
LONG = (field("mode", "mode"), field("owner", "owner"), field("group", "group"), *SHORT)


@with_key
@click.command("ls", cls=ServerCommand)
@click.argument("place", metavar="TARGET:PATH")
@click.option("-a", "--all", "all_of_it", is_flag=True, help="Hidden entries too.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Mode, owner and where links lead; asks for each entry.")
@session_options
@pass_invocation
def noun(invocation: Invocation, place: str, all_of_it: bool, is_long: bool, tier: str | None, reason: str) -> None:
    """List a directory of a host, or one file.

    \b
    Examples:
      outrider file ls web-3:/var/log
      outrider file ls -la web-3:/etc --json
    """
    at = remote(place)
    with files_session(invocation, at, [("fs.walk", at.path), ("fs.stat", at.path)], tier, reason) as session:
        about = session.call("fs.stat", path=at.path)
        if about is None:
            raise NotFoundError(f"{at} does not exist")
        found = _listed(session, at) if about["type"] == "directory" else [{**about, "name": shown(at.path)}]
        if not all_of_it and about["type"] == "directory":
            found = [item for item in found if not item["name"].startswith(".")]
        if is_long:
            found = [_in_full(session, at, item) for item in found]
    for item in found:
        item.pop("raw", None)
    invocation.output.table(found, LONG if is_long else SHORT, empty="nothing in it")


def _listed(session: RemoteSession, at: Remote) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in session.stream("fs.walk", root=at.path, depth=1):
        if "name" in item:
            name = name_of(item["name"])
            row = {"name": shown(name), "type": item["type"], "size": item["size"], "mtime": item["mtime"]}
            found.append({**row, "raw": name})
    return sorted(found, key=lambda item: item["name"])


def _in_full(session: RemoteSession, at: Remote, item: dict[str, Any]) -> dict[str, Any]:
    path = at.below(item["raw"]).path if "raw" in item else at.path
    about = session.call("fs.lstat", path=path) or {}
    target = session.call("fs.readlink", path=path) if about.get("type") == "symlink" else None
    return {**item, **about, "target": shown(name_of(target)) if target is not None else None}
