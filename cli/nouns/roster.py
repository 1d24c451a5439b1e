"""``outrider roster``: the root-signed list of keys: who may publish where, review up to which tier, operate what."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli import rosters
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import LocalCommand, ServerCommand, key_option
from cli.output import Column, counted, field

ROLE_WORDS = ("role", "namespace", "tier")


def roles(entry: dict[str, Any]) -> str:
    """Return the roles of one key as text."""
    return ", ".join(" ".join(str(role[word]) for word in ROLE_WORDS if role.get(word)) for role in entry["roles"])


COLUMNS = (field("name", "name"), Column("roles", roles), field("expires", "expires"), field("key", "key"))


@click.group(cls=Group)
def noun() -> None:
    """The signed list of keys and roles."""


@noun.command("sign", cls=LocalCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to  [default: FILE with .json]")
@pass_invocation
def sign(invocation: Invocation, file: Path, out: Path | None) -> None:
    """Sign a roster with a root key, offline: a description in YAML, or an envelope that others signed already.

    \b
    The description:
      version: 2                 # one more than the last
      expires: 365d              # or a moment: 2027-06-01T00:00:00Z
      roots: {threshold: 1, keys: ["ed25519:..."]}
      keys:
        - {name: mia, key: "ed25519:...", roles: [{role: author, namespace: checks}]}
        - {name: tom, key: "ed25519:...", roles: [{role: reviewer, tier: inspect}]}
    """
    envelope = rosters.sign_file(file, invocation.signing_key(), datetime.now(UTC))
    target = out or file.with_suffix(".json")
    target.write_text(envelope.to_json() + "\n", encoding="utf-8")
    told = {"file": str(target), "signatures": len(envelope.signatures)}
    if invocation.as_json:
        invocation.output.data(told)
    else:
        signed = counted(len(envelope.signatures), "signature")
        invocation.output.say(f"wrote {target} with {signed}   (next: outrider roster push {target})")


key_option(sign)


@noun.command("show", cls=ServerCommand)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@pass_invocation
def show(invocation: Invocation, file: Path | None) -> None:
    """Show the server's roster, or the one in FILE."""
    text = file_text(file) if file else json.dumps(invocation.api.get("roster").get("envelope"))
    body = rosters.read_body(text, str(file or "the server's roster"))
    if invocation.as_json:
        invocation.output.data(body)
        return
    roots: dict[str, Any] = body["roots"]
    facts = {name: body[name] for name in ("version", "issued", "expires")}
    invocation.output.facts({**facts, "roots": f"{roots['threshold']} of {len(roots['keys'])} must sign"})
    invocation.output.line()
    invocation.output.table(body["keys"], COLUMNS)


def file_text(path: Path) -> str:
    """Return the text of a roster's file; raises as ``rosters.read_text``."""
    return rosters.read_text(path)


@noun.command("push", cls=ServerCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_invocation
def push(invocation: Invocation, file: Path) -> None:
    """Hand a signed roster to the server; the first one pins the roots."""
    text = rosters.read_text(file)
    rosters.read_body(text, str(file))  # what is no roster is refused here, with the place
    answer = invocation.api.put("roster", {"envelope": json.loads(text)})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"the server holds roster version {answer.get('version')}")
