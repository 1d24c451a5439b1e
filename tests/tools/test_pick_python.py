"""Which interpreter ``make`` takes: with stand-ins that answer as interpreters of that kind would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "pick_python"


@pytest.fixture
def some(tmp_path: Path) -> dict[str, str]:
    """Return candidates by what they are."""
    answers = {"good": 0, "other": 0, "old": 1, "shim": 127}
    for name, status in answers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    return {name: str(tmp_path / name) for name in answers} | {"none": str(tmp_path / "none")}


def pick(*candidates: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(TOOL), *candidates], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [(["good", "other"], "good"), (["other", "good"], "other"), (["none", "shim", "old", "good", "other"], "good")],
)
def test_the_first_that_will_do(some: dict[str, str], candidates: list[str], expected: str) -> None:
    done = pick(*[some[name] for name in candidates])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{some[expected]}\n", "")


def test_none(some: dict[str, str]) -> None:
    done = pick(some["old"], some["shim"], some["none"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "3.11 to 3.13" in done.stderr


def test_what_it_picks_here_runs() -> None:
    done = pick()
    assert done.returncode == 0, done.stderr
    program = "import sys; print((3, 11) <= sys.version_info < (3, 14))"
    told = subprocess.run(
        [done.stdout.strip(), "-I", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout == "True\n"
