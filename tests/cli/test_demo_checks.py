"""Which checks the demo takes on a machine, and what it gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.demo.checks import DISK, gather

COUNTED = "   8       0 {} 70 1 2 3 {} 1 2 3 0 4 5 0 0 0 0 0 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    for name in ("lo", "eth0"):
        (tmp_path / "sys/class/net" / name).mkdir(parents=True)
    return tmp_path


def given(root: Path, counted: str) -> dict[str, dict[str, object]]:
    (root / "proc/diskstats").write_text(counted)
    return {check.name: dict(check.parameters) for check in gather(root)}


def test_the_busiest_disk_is_checked(root: Path) -> None:
    told = given(root, COUNTED.format("sda", 5) + COUNTED.format("vda", 7) + COUNTED.format("loop0", 900))
    assert len(told) == 6
    assert list(told[DISK].values()) == ["vda"]
    assert list(told["checks/network"].values()) == ["eth0"]


@pytest.mark.parametrize("counted", ["", COUNTED.format("loop0", 900) + COUNTED.format("zram0", 1)])
def test_a_machine_without_a_disk_is_shown_the_rest(root: Path, counted: str) -> None:
    """An emulated ARM machine had none, and no demo."""
    with_a_disk = set(given(root, COUNTED.format("sda", 5)))
    assert set(given(root, counted)) == with_a_disk - {DISK}
