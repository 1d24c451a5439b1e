"""The agent's own key: made once, on this host, never leaving it, readable by its user only."""

from __future__ import annotations

from pathlib import Path

from agent.files import read_bounded, write_durably
from protocol.errors import ConflictError
from protocol.signing import PrivateKey

_MAX_KEY_BYTES = 4096  # a key file has about 100 bytes and a comment


def load_identity(path: Path) -> PrivateKey:
    """Return the key at ``path``.

    Raises:
        NotFoundError: There is none: the agent is not enrolled.
        UnavailableError: Others can read or write it.
        ArgumentError: It is not a private key.
    """
    text = read_bounded(path, _MAX_KEY_BYTES, is_secret=True).decode("utf-8", "replace")
    return PrivateKey.from_text(text.strip(), where=str(path))


def save_identity(path: Path, key: PrivateKey) -> None:
    """Keep a new key; a key that is there already is never replaced.

    Raises:
        ConflictError: There is one.
        UnavailableError: It cannot be written.
    """
    if path.exists():
        raise ConflictError(f"{path} exists: this directory is enrolled already")
    write_durably(path, f"{key.to_text()}\n".encode(), mode=0o600)
