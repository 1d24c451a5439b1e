"""What the agent tells the server about its host when it connects: facts for people, never for decisions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

VERSION: Final = "0.1.0"  # of the distribution; a test holds it equal to pyproject.toml
_MAX_FACT_CHARS = 256
_MAX_OS_RELEASE_BYTES = 16 * 1024


def host_facts(root: Path = Path("/")) -> dict[str, Any]:
    """Return hostname, operating system, kernel, architecture and our version, each bounded."""
    system = os.uname()
    found = {
        "hostname": system.nodename,
        "os": _os_name(root),
        "kernel": f"{system.sysname} {system.release}",
        "arch": system.machine,
        "version": VERSION,
    }
    return {name: text[:_MAX_FACT_CHARS] for name, text in found.items()}


def _os_name(root: Path) -> str:
    """Return PRETTY_NAME of os-release(5), or an honest "unknown"."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            with (root / name).open("rb") as file:
                lines = file.read(_MAX_OS_RELEASE_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME":
                return value.strip().strip("\"'") or "unknown"
    return "unknown"
