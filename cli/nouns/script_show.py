"""``outrider script show``: one published script."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand


@click.command("show", cls=ServerCommand)
@click.argument("name")
@click.option("--version", metavar="VERSION", help="Another than the newest one.")
@pass_invocation
def noun(invocation: Invocation, name: str, version: str | None) -> None:
    """Show a script: versions, manifest, files, approvals."""
    found = invocation.api.get("scripts/show", name=name, version=version)
    if invocation.as_json:
        invocation.output.data(found)
        return
    files = found.get("files") or {}
    invocation.output.facts({key: value for key, value in found.items() if key not in {"files", "manifest"}})
    for file, text in sorted(files.items()) if isinstance(files, dict) else []:
        invocation.output.line(f"\n--- {file}")
        invocation.output.raw(str(text).rstrip("\n") + "\n")
