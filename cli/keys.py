"""Private keys in files: one line of text, mode 0600, never on a command line."""

from __future__ import annotations

from pathlib import Path

from cli.settings import read_private, write_private
from protocol.errors import ArgumentError, ConflictError, OutriderError
from protocol.signing import PrivateKey, PublicKey

MAX_KEY_BYTES = 4096
_MISSING = "there is no such key (make one with: outrider key new)"


def read_key(path: Path) -> PrivateKey:
    """Return the private key in a file.

    Raises:
        ArgumentError: No such file, not a key, or open to others.
    """
    if not path.exists():
        raise ArgumentError(_MISSING, where=str(path))
    text = read_private(path, MAX_KEY_BYTES)
    try:
        return PrivateKey.from_text(text.strip())
    except OutriderError as error:
        raise ArgumentError(f"is not a private key: {error.message}", where=str(path)) from None


def write_key(path: Path, key: PrivateKey) -> None:
    """Write a new private key and, beside it, its public half as ``<name>.pub``.

    Raises:
        ConflictError: The file exists; a key is never overwritten.
    """
    if path.exists() or path.is_symlink():
        raise ConflictError("there is a key already, and a key is never overwritten", where=str(path))
    write_private(path, key.to_text() + "\n")
    public = path.with_name(path.name + ".pub")
    public.write_text(key.public.to_text() + "\n", encoding="utf-8")


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in a file that holds a public or a private one.

    Raises:
        ArgumentError: No such file, or not a key.
    """
    if not path.exists():
        raise ArgumentError(_MISSING, where=str(path))
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEY_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise ArgumentError("is not a key", where=str(path)) from None
    try:
        return PublicKey.from_text(text) if text.startswith("ed25519:") else PrivateKey.from_text(text).public
    except OutriderError as error:
        raise ArgumentError(f"is not a key: {error.message}", where=str(path)) from None
