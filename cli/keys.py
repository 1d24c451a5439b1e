"""Keys to sign with: in a file of ours or of OpenSSH (mode 0600), or in an SSH agent; never on a command line."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from cli import ssh_agent
from cli.settings import read_private, write_private
from protocol import sshkeys
from protocol.errors import ArgumentError, ConflictError, OutriderError
from protocol.signing import PrivateKey, PublicKey, Signer

MAX_KEY_BYTES = 4096
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
_MISSING = "there is no such key (make one with: outrider key new)"


def find_signer(place: Path) -> Signer:
    """Return what signs: the key in a file; in an SSH agent for ``agent:``, ``agent:COMMENT`` or a public half.

    Raises:
        ArgumentError: There is no such key, or it is not one, or open to others.
        UnavailableError: It is in an SSH agent, and none answers.
    """
    if str(place).startswith(ssh_agent.AGENT):
        return ssh_agent.find(str(place).removeprefix(ssh_agent.AGENT))
    if place.suffix == ".pub":
        return ssh_agent.holding(read_public_key(place))
    return read_key(place)


def read_key(path: Path) -> PrivateKey:
    """Return the private key in a file, ours or OpenSSH's.

    Raises:
        ArgumentError: No such file, not a key, or open to others.
    """
    if not path.exists():
        raise ArgumentError(_MISSING, where=str(path))
    text = read_private(path, MAX_KEY_BYTES)
    if text.startswith(_OPENSSH):
        return _openssh(text, path)
    try:
        return PrivateKey.from_text(text.strip())
    except OutriderError as error:
        raise ArgumentError(f"is not a private key: {error.message}", where=str(path)) from None


def _openssh(text: str, path: Path) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # ValueError: also one with a passphrase
        raise ArgumentError(
            f"cannot be read; a key with a passphrase is used through the agent (ssh-add {path}; --key {path}.pub)",
            where=str(path),
        ) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ArgumentError("is not an Ed25519 key (ssh-keygen -t ed25519)", where=str(path))
    return PrivateKey(key)


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
        if text.startswith(sshkeys.PREFIX):
            return sshkeys.public_from_text(text)
        if text.startswith(_OPENSSH):
            return _openssh(text, path).public
        return PublicKey.from_text(text) if text.startswith("ed25519:") else PrivateKey.from_text(text).public
    except OutriderError as error:
        raise ArgumentError(f"is not a key: {error.message}", where=str(path)) from None
