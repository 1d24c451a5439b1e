"""The keys of servers as they were when somebody first signed in, as ``ssh`` knows hosts.

The key of a server signs its tree heads, and stands in the join tokens that new hosts believe. The first one that is
seen at an address is believed, unless a fingerprint says which it must be; from then on another one is refused.
Signing in looks before it sends the token. The file is ``known-servers.json`` beside the configuration; who could write
it could exchange a server.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.settings import config_path, read_private, write_private
from protocol.errors import ArgumentError, TrustError
from protocol.identity import proved
from protocol.signing import PublicKey

if TYPE_CHECKING:
    from cli.api import Api

MAX_BYTES: Final = 1 << 20  # about ten thousand servers


def servers_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the file."""
    return config_path(environment).with_name("known-servers.json")


def ask(api: Api) -> PublicKey:
    """Return the key of the server that answers, which has proved it; no token is needed, and none is sent.

    Raises:
        TrustError: It has not.
    """
    nonce = secrets.token_hex(32)
    return proved(api.get("identity", nonce=nonce), nonce)


class KnownServers:
    """The known servers.

    Args:
        path: Of the file.

    Raises:
        ArgumentError: The file is damaged, or open to others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = _read(path)

    def find(self, server: str) -> PublicKey | None:
        """Return the key that a server has had here; None if it is not known."""
        return self._keys.get(server)

    def check(self, server: str, key: PublicKey, fingerprint: str | None = None) -> bool:
        """Return whether the server is new here; :meth:`keep` has it known from now on.

        Args:
            server: Its address.
            key: That it has now.
            fingerprint: What the key must be, as a person was told: its id, or the key itself. It takes the place of
                what is known.

        Raises:
            TrustError: ``another_key``: it is another one than that, or than before.
        """
        known = self._keys.get(server)
        if fingerprint is not None:
            if fingerprint.strip() not in (key.key_id, key.to_text()):
                raise TrustError(
                    f"{server} has the key {key.key_id}, not the one of the fingerprint; no token was sent",
                    reason="another_key",
                )
        elif known is not None and known != key:
            raise TrustError(
                f"{server} has the key {key.key_id}, it had {known.key_id} before. Either it was set up anew, or"
                " another server answers in its place. Ask whoever runs it (there: outrider-server fingerprint"
                f" --dir DIR); if they name the new one: outrider login {server} --fingerprint {key.key_id}",
                reason="another_key",
            )
        self._keys[server] = key
        return known is None or known != key

    def keep(self) -> None:
        """Write what is known now."""
        plain = {server: key.to_text() for server, key in self._keys.items()}
        write_private(self._path, json.dumps(plain, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, PublicKey]:
    if not path.exists():
        return {}
    try:
        value = json.loads(read_private(path, MAX_BYTES))
        return {str(server): PublicKey.from_text(key, where=str(path)) for server, key in value.items()}
    except (ValueError, AttributeError, RecursionError):
        raise ArgumentError("is damaged: it must hold the keys of servers as JSON", where=str(path)) from None
