"""``outrider script publish``: sign the digest of a folder with your key; somebody else then reviews it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.ages import rfc3339
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand, key_option
from cli.local.commits import read_commit
from cli.local.folder import read_bundle
from cli.output import counted
from protocol.bundle import Bundle
from protocol.signing import Signer, sign


@key_option
@click.command("publish", cls=ServerCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--from-git", "reference", metavar="REF", help="What this commit has there, not what lies in the folder.")
@pass_invocation
def noun(invocation: Invocation, folder: Path, reference: str | None) -> None:
    """Sign the script in FOLDER and hand it to the server.

    \b
    Examples:
      outrider script publish .
      outrider script publish checks/queue --from-git v1.2.0 --key agent:
    """
    bundle = read_bundle(folder) if reference is None else read_commit(folder, reference)[0]
    envelope = publication(bundle, invocation.signing_key())
    packed = base64.b64encode(bundle.pack()).decode("ascii")
    answer = invocation.api.post("scripts", {"publication": envelope, "bundle": packed})
    if invocation.as_json:
        invocation.output.data(answer)
        return
    manifest = bundle.manifest
    invocation.output.say(f"published {manifest.name} {manifest.version}  {bundle.digest[:19]}...{_waits(answer)}")
    for warning in answer.get("warnings") or []:
        invocation.output.say(f"warning: {warning}")


def _waits(answer: dict[str, Any]) -> str:
    if answer.get("status") != "waiting":
        return "" if answer.get("status") == "approved" else f"  {answer.get('status')}"
    return f"  waiting for review ({answer.get('tier')}, {counted(int(answer.get('reviewers') or 1), 'reviewer')})"


def publication(bundle: Bundle, key: Signer, now: datetime | None = None) -> dict[str, Any]:
    """Return the author's signed statement about a bundle, as JSON data."""
    manifest = bundle.manifest
    body = {
        "type": "publication",
        "name": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        "tier": manifest.tier.label,
        "issued": rfc3339(now or datetime.now(UTC)),
    }
    return dict(json.loads(sign("publication", body, key).to_json()))
