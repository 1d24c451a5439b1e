"""``outrider script new``: a folder that runs and passes its own test from the first minute."""

from __future__ import annotations

from pathlib import Path

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand
from cli.local import templates
from protocol.errors import ConflictError


@click.command("new", cls=LocalCommand)
@click.argument("name")
@click.option("--language", type=click.Choice(list(templates.SOURCES)), default="lua", show_default=True)
@click.option(
    "--dir", "directory", metavar="DIR", type=click.Path(path_type=Path), help="Default: the name's last part."
)
@pass_invocation
def noun(invocation: Invocation, name: str, language: str, directory: Path | None) -> None:
    """Start a script called NAME in a new folder.

    \b
    Example:
      outrider script new checks/queue --language lua && cd queue && outrider script run .
    """
    files = templates.files(name, language)
    folder = directory or Path(name.rsplit("/", 1)[-1])
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConflictError("is there already", where=str(folder)) from None
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    if invocation.as_json:
        invocation.output.data({"name": name, "folder": str(folder), "files": sorted(files)})
    else:
        invocation.output.say(f"{name} in {folder}/: {', '.join(sorted(files))}   (next: outrider script run {folder})")
