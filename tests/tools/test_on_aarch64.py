"""The program that runs commands on an emulated aarch64 machine, as far as no machine is needed for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "tools" / "on_aarch64"


def test_it_is_a_program_that_bash_can_read() -> None:
    """It runs seldom, so a slip in it would be found late."""
    assert os.access(PROGRAM, os.X_OK)
    read = subprocess.run(["/bin/bash", "-n", str(PROGRAM)], capture_output=True, text=True, timeout=60)
    assert (read.returncode, read.stderr) == (0, "")


def test_without_an_emulator_it_says_what_to_install(tmp_path: Path) -> None:
    """And makes nothing."""
    for name in ("bash", "dirname"):
        target = next(Path(folder) / name for folder in ("/usr/bin", "/bin") if (Path(folder) / name).exists())
        (tmp_path / name).symlink_to(target)
    place = tmp_path / "place"
    done = subprocess.run(
        [str(tmp_path / "bash"), str(PROGRAM), "true"], capture_output=True, text=True, timeout=60,
        env={"PATH": str(tmp_path), "ON_AARCH64_DIR": str(place)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "qemu-system-arm" in done.stderr
    assert not place.exists()
