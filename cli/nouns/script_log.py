"""``outrider script log``: the versions of a script, newest first."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import day
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import Column, field
from cli.reviews import gained


def _approvals(version: dict[str, Any]) -> str:
    return ", ".join(dict.fromkeys(str(event.get("by")) for event in version.get("approvals") or []))


COLUMNS = (
    field("version", "version"),
    Column("published", lambda version: day(version.get("published"))),
    field("by", "author"),
    field("tier", "tier"),
    field("change", "change"),
    Column("since the one before", lambda version: gained(version.get("since") or {})),
    field("status", "status"),
    Column("approved by", _approvals),
)


@click.command("log", cls=ServerCommand)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_invocation
def noun(invocation: Invocation, name: str, limit: int) -> None:
    """List the versions of script NAME, newest first, each against the one that was published before it.

    CHANGE is what it means for whoever uses the script, by what its manifest promises: metadata (nothing that runs),
    compatible, or breaking (parameters or metrics are taken away or narrowed).

    \b
    Example:
      outrider script log checks/queue
    """
    found = invocation.api.items("scripts/log", limit=limit, name=name)
    invocation.output.table(found, COLUMNS, empty="no versions")
