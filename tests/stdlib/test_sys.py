"""``sys.*`` on this machine's own /proc and on trees that say exactly what is expected."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, family, names_in_text
from running import perform

from protocol.errors import NotFoundError, UnavailableError
from stdlib.catalogue import load
from stdlib.host import Host

MEMORY = ["total", "free", "used", "actual_free", "actual_used"]
SWAP = ["swap_total", "swap_used", "swap_free", "swap_page_in", "swap_page_out"]
CPU = ["user", "nice", "sys", "idle", "wait", "irq", "soft_irq", "stolen"]
DISK = ["reads", "writes", "read_bytes", "write_bytes", "rtime", "wtime", "time", "qtime", "in_flight"]
FIELDS: dict[str, Fields] = {
    "sys.host": {
        "hostname": str, "os": str, "kernel": str, "arch": str, "distro": TEXT_OR_NOTHING, "version": TEXT_OR_NOTHING,
        "boot_time": float,
    },
    "sys.loadavg": {"1m": float, "5m": float, "15m": float},
    "sys.memory": dict.fromkeys(MEMORY + SWAP, int),
    "sys.cpu": dict.fromkeys(CPU, int),
    "sys.disk_io": dict.fromkeys(DISK, int),
}  # fmt: skip


def some_disk() -> str:
    lines = Path("/proc/diskstats").read_text().splitlines()
    if not lines:
        pytest.skip("this machine has no block device")
    return lines[-1].split()[2]


@pytest.mark.parametrize("name", sorted(family("sys") - {"sys.uptime"}))
async def test_returns_what_its_text_says(name: str) -> None:
    value = await perform(name, *([some_disk()] if name == "sys.disk_io" else []))
    rows = value if name == "sys.cpu" else [value]
    assert rows
    for row in rows:
        check_fields(row, FIELDS[name])
    assert names_in_text(name) == set(FIELDS[name])


async def test_values_are_those_of_the_kernel() -> None:
    facts = await perform("sys.host")
    assert (facts["os"], facts["kernel"]) == ("linux", os.uname().release)
    assert 0 < facts["boot_time"] < time.time()
    assert await perform("sys.uptime") == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5.0)
    memory = await perform("sys.memory")
    assert memory["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory["used"] == memory["total"] - memory["free"]


async def test_units_are_bytes(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal: 100 kB\nMemFree: 40 kB\nMemAvailable: 70 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\nHugePages_Total: 0\n"
    )
    (tmp_path / "vmstat").write_text("nr_free 1\npswpin 2\npswpout 3\n")
    (tmp_path / "diskstats").write_text("   8  0 sda 1 2 3 4 5 6 7 8 9 10 11\n 8 1 sda1 0 0 0 0 0 0 0 0 0 0 0\n")
    page, host = os.sysconf("SC_PAGE_SIZE"), Host(proc=str(tmp_path))
    assert await perform("sys.memory", host=host) == {
        "total": 102400, "free": 40960, "used": 61440, "actual_free": 71680, "actual_used": 30720,
        "swap_total": 9216, "swap_free": 8192, "swap_used": 1024, "swap_page_in": 2 * page, "swap_page_out": 3 * page,
    }  # fmt: skip
    assert await perform("sys.disk_io", "sda", host=host) == {
        "reads": 1, "read_bytes": 1536, "rtime": 4, "writes": 5, "write_bytes": 3584, "wtime": 8, "in_flight": 9,
        "time": 10, "qtime": 11,
    }  # fmt: skip


async def test_each_processor_is_one_row(tmp_path: Path) -> None:
    """Old kernels have fewer columns, new ones more."""
    (tmp_path / "stat").write_text("cpu  9 9 9 9\ncpu0 1 2 3 4\ncpu1 1 2 3 4 5 6 7 8 9 10\nintr 5\n")
    first, second = await perform("sys.cpu", host=Host(proc=str(tmp_path)))
    assert list(first.values()) == [1, 2, 3, 4, 0, 0, 0, 0]
    assert list(second.values()) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no block device"):
        await perform("sys.disk_io", "no-such-disk")
    for spec in load():
        if spec.family == "sys" and spec.name != "sys.host":
            with pytest.raises(UnavailableError, match="cannot be read"):
                await perform(spec.name, *(["sda"] if spec.parameters else []), host=Host(proc=str(tmp_path)))
