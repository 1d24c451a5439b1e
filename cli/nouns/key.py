"""``outrider key``: make and show the key that signs what you publish, approve or order."""

from __future__ import annotations

from pathlib import Path

import click

from cli.invocation import Invocation, pass_invocation
from cli.keys import find_signer, read_public_key, write_key
from cli.lazy import Group
from cli.leaf import LocalCommand
from cli.settings import default_key_path, find_key_path
from cli.ssh_agent import AGENT
from protocol.signing import PrivateKey


@click.group(cls=Group)
def noun() -> None:
    """Your signing key."""


@noun.command("new", cls=LocalCommand)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@pass_invocation
def new(invocation: Invocation, file: Path | None) -> None:
    """Make a key in FILE (mode 0600) and FILE.pub; an existing key is never overwritten.

    Give the public half to whoever signs the roster.

    \b
    Examples:
      outrider key new
      outrider key new keys/mia
    """
    path = file or default_key_path()
    key = PrivateKey.generate()
    write_key(path, key)
    _show(invocation, path, key.public.to_text(), key.public.key_id)


@noun.command("show", cls=LocalCommand)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@pass_invocation
def show(invocation: Invocation, file: Path | None) -> None:
    """Show the public half of a key, and its id. FILE may be OpenSSH's, or agent:[COMMENT] for one in the SSH agent.

    \b
    Examples:
      outrider key show ~/.ssh/id_ed25519.pub
      outrider key show agent:
    """
    path = file or find_key_path(invocation.asked)
    key = find_signer(path).public if str(path).startswith(AGENT) else read_public_key(path)
    _show(invocation, path, key.to_text(), key.key_id)


def _show(invocation: Invocation, path: Path, public: str, key_id: str) -> None:
    invocation.output.facts({"file": str(path), "public": public, "key_id": key_id})
