"""``outrider script sign``: put the author's signed publication beside the manifest, for a ``git push`` to a review."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from cli.invocation import Invocation, pass_invocation
from cli.leaf import LocalCommand, key_option
from cli.local.commits import read_commit
from cli.local.folder import read_bundle
from cli.nouns.script_publish import publication
from protocol.errors import ArgumentError
from protocol.statements import STATEMENT


@key_option
@click.command("sign", cls=LocalCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--from-git", "reference", metavar="REF", help="Sign what this commit has there, not what lies there.")
@pass_invocation
def noun(invocation: Invocation, folder: Path, reference: str | None) -> None:
    """Sign the script in FOLDER and write the publication beside its manifest, as .publication.json.

    Commit it and push the commit to review/NAME: that publishes the version, as script publish does. The file is no
    part of the bundle, so signing changes no digest. Sign again when a file has changed.

    \b
    Examples:
      outrider script sign checks/queue
      git add checks/queue && git commit -m "queue 0.2.0"
      git push https://git@outrider.example.net/git/scripts.git HEAD:refs/heads/review/checks/queue
    """
    bundle = read_bundle(folder) if reference is None else read_commit(folder, reference)[0]
    path = folder / STATEMENT
    _write(path, json.dumps(publication(bundle, invocation.signing_key()), indent=1) + "\n")
    manifest = bundle.manifest
    if invocation.as_json:
        told = {"name": manifest.name, "version": manifest.version, "digest": bundle.digest, "file": str(path)}
        invocation.output.data(told)
        return
    invocation.output.say(f"signed {manifest.name} {manifest.version}  {bundle.digest[:19]}...  in {path}")
    invocation.output.say(f"commit it, then: git push URL HEAD:refs/heads/review/{manifest.name}")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}~")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ArgumentError(f"cannot be written: {error.strerror}", where=str(path)) from None
