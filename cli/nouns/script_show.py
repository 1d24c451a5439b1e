"""``outrider script show``: one published script, and who stands for it."""

from __future__ import annotations

from typing import Any

import click

from cli.ages import day
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import Output
from cli.statements import APPROVALS, WITHDRAWALS, describe, read_roster
from protocol.errors import NotFoundError
from protocol.roster import Roster

FACTS = (
    "name", "version", "digest", "tier", "status", "deprecated", "description", "tags", "licence", "links",
    "visibility", "owners", "versions", "published", "approvals",
)  # fmt: skip


@click.command("show", cls=ServerCommand)
@click.argument("name")
@click.option("--version", metavar="VERSION", help="Another than the newest one.")
@pass_invocation
def noun(invocation: Invocation, name: str, version: str | None) -> None:
    """Show a script: versions, who published, approved or withdrew it, and its files.

    With --json the signed statements come as they are, as DSSE envelopes.

    \b
    Examples:
      outrider script show checks/queue
      outrider script show checks/queue --version 1.2.0 --json
    """
    found = invocation.api.get("scripts/show", name=name, version=version)
    if invocation.as_json:
        invocation.output.data(found)
        return
    show(invocation.output, found, _roster(invocation))


def _roster(invocation: Invocation) -> Roster | None:
    try:
        return read_roster(invocation.api.get("roster"))
    except NotFoundError:
        return None


def show(output: Output, script: dict[str, Any], roster: Roster | None) -> None:
    """Write a script for a person."""
    manifest = script.get("manifest") or {}
    told = {name: manifest.get(name) for name in ("tags", "licence", "links") if manifest.get(name)}
    facts = {**script, **told, "published": _published(script, roster), "approvals": "none"}
    facts["deprecated"] = _deprecated(script.get("deprecated"))
    left_out = {name for name in ("approvals",) if script.get(name)}
    left_out |= {name for name in ("deprecated", "tags", "licence", "links") if not facts.get(name)}
    output.facts(facts, [name for name in FACTS if name not in left_out])
    for key, kind, columns in (("approvals", "approval", APPROVALS), ("withdrawals", "withdrawal", WITHDRAWALS)):
        if script.get(key):
            output.line()
            output.table([describe(envelope, kind, roster) for envelope in script[key]], columns)
    files = script.get("files") or {}
    for file, text in sorted(files.items()) if isinstance(files, dict) else []:
        output.line(f"\n--- {file}")
        output.read(str(text).rstrip("\n") + "\n")


def _deprecated(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    instead = f"; use {found['replacement']}" if found.get("replacement") else ""
    return f"by {found.get('by')}: {found.get('reason')}{instead}"


def _published(script: dict[str, Any], roster: Roster | None) -> str:
    told = describe(script.get("publication") or {}, "publication", roster)
    doubt = "" if told["state"] == "ok" else f"  ({told['state']})"
    return f"{day(script.get('published'))} by {told['by'] or script.get('author')}{doubt}"
