"""``outrider script ls``: the published scripts."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import field

COLUMNS = (
    field("name", "name"),
    field("version", "version"),
    field("tier", "tier"),
    field("status", "status"),
    field("by", "author"),
    field("digest", "digest"),
)


@click.command("ls", cls=ServerCommand)
@click.argument("prefix", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def noun(invocation: Invocation, prefix: str | None, limit: int) -> None:
    """List published scripts, below PREFIX if it is given.

    \b
    Examples:
      outrider script ls
      outrider script ls checks/
    """
    found = invocation.api.items("scripts", limit=limit, prefix=prefix)
    invocation.output.table(found, COLUMNS, empty="no scripts")
