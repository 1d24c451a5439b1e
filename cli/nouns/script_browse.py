"""``outrider script browse``: the folders of published scripts, one level at a time."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.nouns.script_search import COLUMNS
from cli.output import counted, plain


@click.command("browse", cls=ServerCommand)
@click.argument("folder", default="")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def noun(invocation: Invocation, folder: str, limit: int) -> None:
    """Show what lies in FOLDER (the top without one): folders, and the scripts right in it.

    \b
    Example:
      outrider script browse checks/mail
    """
    folder = folder.strip("/")
    folders = list(invocation.api.items("scripts/folders", limit=limit, folder=folder))
    scripts = list(invocation.api.items("scripts/search", limit=limit, folder=folder, direct=True)) if folder else []
    output = invocation.output
    if output.as_json:
        output.data({"folders": folders, "scripts": scripts})
        return
    for each in folders:
        output.line(f"{plain(each['folder'])}/  {counted(each['scripts'], 'script')}")
    if scripts:
        output.table(scripts, COLUMNS)
    elif not folders:
        output.say("nothing there")
