"""``sys.*``: facts and counters of the host, read from the kernel."""

from __future__ import annotations

import os
import platform
import socket
from typing import Annotated, Any

import psutil

from protocol.errors import NotFoundError
from protocol.tiers import Tier
from stdlib.catalogue import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Length

_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the device: Documentation/block/stat.rst
_DISK = (
    "reads", "reads_merged", "sectors_read", "rtime", "writes", "writes_merged", "sectors_written", "wtime",
    "in_flight", "time", "qtime",
)  # fmt: skip


@call("sys.host", tier=Tier.OBSERVE, lua="local name = sys.host().hostname", python='name = sys.host()["hostname"]')
def host_facts(host: Host) -> dict[str, Any]:
    """Return ``hostname``, ``os``, ``kernel``, ``arch``, ``distro``, ``version``, ``boot_time`` (s since 1970 UTC)."""
    del host
    name = os.uname()
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # not every system has the file; the kernel is told all the same
        release = {}
    return {
        "hostname": socket.gethostname(), "os": name.sysname.lower(), "kernel": name.release, "arch": name.machine,
        "distro": release.get("ID"), "version": release.get("VERSION_ID"), "boot_time": psutil.boot_time(),
    }  # fmt: skip


@call("sys.uptime", tier=Tier.OBSERVE, lua="local seconds = sys.uptime()", python="seconds = sys.uptime()")
async def uptime(host: Host) -> float:
    """Return how long the host is up, in seconds."""
    return float(read_kernel(host, "uptime").split()[0])


@call("sys.loadavg", tier=Tier.OBSERVE, lua='local load = sys.loadavg()["1m"]', python='load = sys.loadavg()["1m"]')
async def loadavg(host: Host) -> dict[str, float]:
    """Return the load averages ``1m``, ``5m`` and ``15m``."""
    one, five, fifteen, *_ = read_kernel(host, "loadavg").split()
    return {"1m": float(one), "5m": float(five), "15m": float(fifteen)}


@call("sys.memory", tier=Tier.OBSERVE, lua="local free = sys.memory().free", python='free = sys.memory()["free"]')
async def memory(host: Host) -> dict[str, int]:
    """Return memory in bytes.

    ``total``, ``free``, ``used`` (total less free), ``actual_free`` (what programs could get), ``actual_used``,
    ``swap_total``, ``swap_used``, ``swap_free``, and ``swap_page_in``, ``swap_page_out`` (bytes since boot).
    """
    rows = dict(line.split(":", 1) for line in read_kernel(host, "meminfo").splitlines() if ":" in line)
    kib = {name: int(text.split()[0]) * 1024 for name, text in rows.items()}
    moved = dict(line.split(" ", 1) for line in read_kernel(host, "vmstat").splitlines() if line.startswith("pswp"))
    page = os.sysconf("SC_PAGE_SIZE")
    total, free, available = kib["MemTotal"], kib["MemFree"], kib.get("MemAvailable", kib["MemFree"])
    return {
        "total": total, "free": free, "used": total - free, "actual_free": available, "actual_used": total - available,
        "swap_total": kib["SwapTotal"], "swap_free": kib["SwapFree"], "swap_used": kib["SwapTotal"] - kib["SwapFree"],
        "swap_page_in": int(moved.get("pswpin", 0)) * page, "swap_page_out": int(moved.get("pswpout", 0)) * page,
    }  # fmt: skip


@call("sys.cpu", tier=Tier.OBSERVE, lua="local cpus = sys.cpu()", python="cpus = sys.cpu()")
async def cpu(host: Host) -> list[dict[str, int]]:
    """Return, for each processor, the clock ticks since boot spent in ``user``, ``nice``, ``sys``, ``idle``, ``wait``,
    ``irq``, ``soft_irq`` and ``stolen``. Two looks give a share."""
    names = ("user", "nice", "sys", "idle", "wait", "irq", "soft_irq", "stolen")
    found = []
    for line in read_kernel(host, "stat").splitlines():
        word, *ticks = line.split()
        if word.startswith("cpu") and word != "cpu":
            padded = [int(tick) for tick in ticks[: len(names)]] + [0] * len(names)
            found.append(dict(zip(names, padded, strict=False)))
    return found


@call("sys.disk_io", tier=Tier.OBSERVE, lua='local disk = sys.disk_io("sda")', python='disk = sys.disk_io("sda")')
async def disk_io(host: Host, device: Annotated[str, Length(64)]) -> dict[str, int]:
    """Return the counters of a block device since boot.

    ``reads``, ``writes`` (count), ``read_bytes``, ``write_bytes``, ``rtime``, ``wtime``, ``time``, ``qtime`` (ms),
    ``in_flight`` (requests now).
    """
    for line in read_kernel(host, "diskstats").splitlines():
        _, _, name, *numbers = line.split()
        if name == device:
            row = dict(zip(_DISK, map(int, numbers), strict=False))
            return {
                "reads": row["reads"], "writes": row["writes"], "read_bytes": row["sectors_read"] * _SECTOR_BYTES,
                "write_bytes": row["sectors_written"] * _SECTOR_BYTES, "rtime": row["rtime"], "wtime": row["wtime"],
                "time": row["time"], "qtime": row["qtime"], "in_flight": row["in_flight"],
            }  # fmt: skip
    raise NotFoundError(f"there is no block device {device!r:.80}")
