"""What a demo that was started before left behind."""

from __future__ import annotations

from pathlib import Path

from protocol.document import load


def listening_port(server: Path) -> int | None:
    """Return the port in the configuration of the server in a directory; None if there is no server yet.

    Raises:
        DocumentError: The configuration is no document.
    """
    path = server / "config.yaml"
    if not path.is_file():
        return None
    value = load(path.read_text(encoding="utf-8"), str(path)).value
    listen = str(value.get("listen", "")) if isinstance(value, dict) else ""
    port = listen.rpartition(":")[2]
    return int(port) if port.isdigit() else None
