"""Scripts written for a test."""

from __future__ import annotations

from pathlib import Path

MANIFEST = """\
name: checks/probe
version: 1.0.0
language: {language}
main: {main}
tier: {tier}
"""


def write_bundle(folder: Path, source: str, *, language: str = "lua", tier: str = "observe", more: str = "") -> Path:
    """Write a bundle folder and return it."""
    main = "main.py" if language == "python" else "main.lua"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.yaml").write_text(MANIFEST.format(language=language, main=main, tier=tier) + more)
    (folder / main).write_text(source)
    return folder
