"""``outrider script diff``: two versions of a script against each other: what they may do, and their code."""

from __future__ import annotations

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import plain
from cli.reviews import changes_text, risk_text, show_code


@click.command("diff", cls=ServerCommand)
@click.argument("name")
@click.argument("before")
@click.argument("after")
@pass_invocation
def noun(invocation: Invocation, name: str, before: str, after: str) -> None:
    """Show what version AFTER of script NAME may do that BEFORE may not, its risks, and the difference of the code.

    \b
    Example:
      outrider script diff checks/queue 1.1.0 1.2.0
    """
    found = invocation.api.get("scripts/diff", name=name, before=before, after=after)
    code = list(invocation.api.items("scripts/diff/code", name=name, before=before, after=after))
    output = invocation.output
    if invocation.as_json:
        output.data(found | {"code": code})
        return
    output.line(f"{plain(found.get('name'))} {before} to {after}  {plain(found.get('change'))}")
    for line in (*changes_text(found), *(f"risk  {risk_text(risk)}" for risk in found.get("risks") or [])):
        output.line(plain(line))
    show_code(output, code)
