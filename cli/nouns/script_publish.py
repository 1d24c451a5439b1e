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
from cli.local.folder import read_bundle
from protocol.bundle import Bundle
from protocol.signing import PrivateKey, sign


@key_option
@click.command("publish", cls=ServerCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@pass_invocation
def noun(invocation: Invocation, folder: Path) -> None:
    """Sign the script in FOLDER and hand it to the server."""
    bundle = read_bundle(folder)
    envelope = publication(bundle, invocation.signing_key())
    packed = base64.b64encode(bundle.pack()).decode("ascii")
    answer = invocation.api.post("scripts", {"publication": envelope, "bundle": packed})
    if invocation.as_json:
        invocation.output.data(answer)
        return
    manifest = bundle.manifest
    waits = "" if answer.get("status") == "approved" else f"  waiting for review {answer.get('review') or ''}"
    invocation.output.say(f"published {manifest.name} {manifest.version}  {bundle.digest[:19]}...{waits.rstrip()}")


def publication(bundle: Bundle, key: PrivateKey, now: datetime | None = None) -> dict[str, Any]:
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
