"""``outrider script search``: find scripts by words in name, description and tags."""

from __future__ import annotations

from typing import Any

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import Column, field

MAX_DESCRIPTION = 60  # characters in a table


def _about(script: dict[str, Any]) -> str:
    text = str(script.get("description") or "")
    if script.get("deprecated"):
        text = f"(deprecated) {text}"
    return text if len(text) <= MAX_DESCRIPTION else f"{text[: MAX_DESCRIPTION - 3]}..."


COLUMNS = (
    field("name", "name"),
    field("version", "version"),
    field("tier", "tier"),
    field("status", "status"),
    field("tags", "tags"),
    Column("about", _about),
)


@click.command("search", cls=ServerCommand)
@click.argument("words", nargs=-1)
@click.option("--folder", metavar="FOLDER", default="", help="Below this folder only.")
@click.option("--kind", type=click.Choice(["script", "library"]), help="Only scripts, or only libraries.")
@click.option("--tag", metavar="TAG", help="With this tag only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_invocation
def noun(
    invocation: Invocation, words: tuple[str, ...], folder: str, kind: str | None, tag: str | None, limit: int
) -> None:
    """Find the scripts that have every one of WORDS in their name, description or tags (#tag).

    \b
    Examples:
      outrider script search disk smart
      outrider script search --tag mail --kind library
    """
    found = invocation.api.items("scripts/search", limit=limit, q=" ".join(words), folder=folder, kind=kind, tag=tag)
    invocation.output.table(found, COLUMNS, empty="no scripts")
