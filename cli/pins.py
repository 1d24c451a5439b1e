"""The keys of hosts as they were when something was first sealed for them, so that no server can exchange one later.

A server says which key a host has. Whoever seals has to believe it once; from then on, another key for the same host is
refused until a person has looked. The file lies beside the configuration and holds nothing secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.settings import config_path, read_private, write_private
from protocol.errors import ArgumentError, TrustError

MAX_PINS_BYTES: Final = 8 << 20  # fifty thousand hosts
SHORT: Final = 16  # hexadecimal digits of a key's id that are shown


def pins_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the file."""
    return config_path(environment).with_name("known-agents.json")


class Pins:
    """The known keys of the hosts of one server.

    Args:
        path: Of the file.
        server: Its address; an agent's id means something there only.

    Raises:
        ArgumentError: The file is damaged, or open to others.
    """

    def __init__(self, path: Path, server: str) -> None:
        self._path = path
        self._server = server
        self._all: dict[str, dict[str, str]] = _read(path)

    def check(self, agent: str, name: str, key_id: str) -> bool:
        """Return whether the host is new here; from now on it is known with this key.

        Raises:
            TrustError: ``another_key``: it had another key before.
        """
        pins = self._all.setdefault(self._server, {})
        known = pins.get(agent)
        if known is not None and known != key_id:
            raise TrustError(
                f"the server says that {name} has key {key_id[:SHORT]}, it had {known[:SHORT]} before; if that is"
                f" right, take {agent} out of {self._path}",
                reason="another_key",
            )
        pins[agent] = key_id
        return known is None

    def keep(self) -> None:
        """Write what is known now."""
        write_private(self._path, json.dumps(self._all, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    try:
        value = json.loads(read_private(path, MAX_PINS_BYTES))
        return {str(server): {str(agent): str(key) for agent, key in pins.items()} for server, pins in value.items()}
    except (ValueError, AttributeError, RecursionError):
        raise ArgumentError("is damaged: it must hold the keys of hosts as JSON", where=str(path)) from None
