"""The bundled checks: one folder each, with a manifest and a main file. Data, not code of ours."""

from __future__ import annotations

from pathlib import Path


def bundled() -> dict[str, Path]:
    """Return the folder of each bundled check, by the name of the folder."""
    here = Path(__file__).parent
    return {path.parent.name: path.parent for path in sorted(here.glob("*/manifest.yaml"))}
