"""``sys.*`` of block devices: their counters, what they are, and their own judgement of their health."""

from __future__ import annotations

import json
import os
import re
from typing import Annotated, Any

from protocol.errors import ArgumentError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Length
from stdlib.tools import run_tool

SECTOR_BYTES = 512  # of /proc/diskstats and /sys/block, whatever the device: Documentation/block/stat.rst
MAX_DEVICES = 2_000  # of one listing; chosen without measurement
_COLUMNS = (
    "reads", "reads_merged", "sectors_read", "rtime", "writes", "writes_merged", "sectors_written", "wtime",
    "in_flight", "time", "qtime",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_UDEV_BYTES = 64 << 10


@call("sys.disks", tier=Tier.OBSERVE, lua="local disks = sys.disks()", python="disks = sys.disks()")
async def disks(host: Host) -> list[dict[str, Any]]:
    """Return the counters of all block devices since boot, partitions too, at most 2000 devices.

    ``device`` (its name), ``reads``, ``writes`` (count), ``read_bytes``, ``write_bytes``, ``rtime``, ``wtime``,
    ``time``, ``qtime`` (ms), ``in_flight`` (requests now).
    """
    return [{"device": name, **_counters(numbers)} for name, numbers in _diskstats(host)][:MAX_DEVICES]


@call("sys.disk_io", tier=Tier.OBSERVE, lua='local disk = sys.disk_io("sda")', python='disk = sys.disk_io("sda")')
async def disk_io(host: Host, device: Annotated[str, Length(64)]) -> dict[str, int]:
    """Return the counters of a block device since boot.

    ``reads``, ``writes`` (count), ``read_bytes``, ``write_bytes``, ``rtime``, ``wtime``, ``time``, ``qtime`` (ms),
    ``in_flight`` (requests now).
    """
    for name, numbers in _diskstats(host):
        if name == device:
            return _counters(numbers)
    raise NotFoundError(f"there is no block device {device!r:.80}")


def _diskstats(host: Host) -> list[tuple[str, list[str]]]:
    rows = (line.split() for line in read_kernel(host, "diskstats").splitlines())
    return [(row[2], row[3:]) for row in rows if len(row) >= 3 + len(_COLUMNS)]


def _counters(numbers: list[str]) -> dict[str, int]:
    row = dict(zip(_COLUMNS, map(int, numbers), strict=False))
    return {
        "reads": row["reads"], "writes": row["writes"], "read_bytes": row["sectors_read"] * SECTOR_BYTES,
        "write_bytes": row["sectors_written"] * SECTOR_BYTES, "rtime": row["rtime"], "wtime": row["wtime"],
        "time": row["time"], "qtime": row["qtime"], "in_flight": row["in_flight"],
    }  # fmt: skip


@call(
    "sys.block_devices",
    tier=Tier.OBSERVE,
    lua="local devices = sys.block_devices()",
    python="devices = sys.block_devices()",
)
def block_devices(host: Host) -> list[dict[str, Any]]:
    """Return the block devices, each disk followed by its partitions, at most 2000.

    ``name``, ``type`` (disk, partition, loop, raid, mapper, optical, memory), ``parent`` (of a partition), ``device``
    (major:minor), ``size`` (bytes), ``read_only``, ``removable``, ``rotational``, ``model``, ``vendor``, ``serial``,
    ``scheduler``, ``holders`` (names of what is made of it), ``file_system``, ``uuid`` and ``label`` (as udev found
    them), ``mounted`` (directories). What the kernel does not tell is nothing. Source: /sys/block, /run/udev/data.
    """
    if not os.path.isdir(f"{host.sys}/block"):
        raise UnavailableError(f"{host.sys}/block is not there")
    mounted = _mounted(host)
    found: list[dict[str, Any]] = []
    for name in trees.names(f"{host.sys}/block"):
        place = f"{host.sys}/block/{name}"
        found.append(_device(host, name, place, None, mounted))
        parts = [part for part in trees.names(place) if os.path.exists(f"{place}/{part}/partition")]
        found += [_device(host, part, f"{place}/{part}", name, mounted) for part in parts]
    return found[:MAX_DEVICES]


def _device(host: Host, name: str, place: str, parent: str | None, mounted: dict[str, list[str]]) -> dict[str, Any]:
    number = trees.value(f"{place}/dev") or ""
    queue = f"{host.sys}/block/{parent}/queue" if parent else f"{place}/queue"
    rotational = trees.number(f"{queue}/rotational")
    udev = _udev(host, number)
    return {
        "name": name.replace("!", "/"), "type": "partition" if parent else _kind(name, place), "parent": parent,
        "device": number, "size": (trees.number(f"{place}/size") or 0) * SECTOR_BYTES,
        "read_only": trees.number(f"{place}/ro") == 1, "removable": trees.number(f"{place}/removable") == 1,
        "rotational": None if rotational is None else rotational == 1, "model": trees.value(f"{place}/device/model"),
        "vendor": trees.value(f"{place}/device/vendor"),
        "serial": trees.value(f"{place}/device/serial") or trees.value(f"{place}/serial"),
        "scheduler": _chosen(trees.value(f"{queue}/scheduler")), "holders": trees.names(f"{place}/holders"),
        "file_system": udev.get("ID_FS_TYPE"), "uuid": udev.get("ID_FS_UUID"), "label": udev.get("ID_FS_LABEL"),
        "mounted": mounted.get(number, []),
    }  # fmt: skip


def _kind(name: str, place: str) -> str:
    for directory, kind in (("loop", "loop"), ("md", "raid"), ("dm", "mapper")):
        if os.path.isdir(f"{place}/{directory}"):
            return kind
    for start, kind in (("loop", "loop"), ("sr", "optical"), ("ram", "memory"), ("zram", "memory")):
        if re.fullmatch(rf"{start}\d+", name):
            return kind
    return "disk"


def _chosen(text: str | None) -> str | None:
    """Return the scheduler in brackets, ``none [mq-deadline] bfq``: the one in use."""
    match = re.search(r"\[([^]]+)\]", text or "")
    return match[1] if match else text


def _udev(host: Host, number: str) -> dict[str, str]:
    try:
        text = trees.read(f"{host.run}/udev/data/b{number}", _MAX_UDEV_BYTES).text
    except OSError:  # no udev here, as in containers
        return {}
    return trees.settings("\n".join(line[2:] for line in text.split("\n") if line.startswith("E:")))


def _mounted(host: Host) -> dict[str, list[str]]:
    """Return where each major:minor is mounted. Source: proc(5), mountinfo."""
    found: dict[str, list[str]] = {}
    for line in read_kernel(host, "self/mountinfo").split("\n"):
        fields = line.split(" ")
        if len(fields) > 4:
            places = found.setdefault(fields[2], [])
            if len(places) < 20:  # bind mounts of one disk can be many; a container host has thousands
                places.append(fields[4])
    return found


@call("sys.smart", tier=Tier.INSPECT, lua='local health = sys.smart("sda")', python='health = sys.smart("sda")')
async def smart(host: Host, device: Annotated[str, Length(64)]) -> dict[str, Any]:
    """Return what a disk says of its own health. A disk that sleeps is not woken.

    ``passed`` (its own verdict), ``model``, ``serial``, ``firmware``, ``protocol``, ``temperature`` (degrees Celsius),
    ``power_on_hours``, ``power_cycles``, ``attributes`` (of ATA disks: id, name, value, worst, threshold, raw, failed),
    ``nvme`` (the health log of an NVMe disk, as smartctl names it). What a disk does not tell is nothing.

    Source: ``smartctl --json`` (smartmontools 7.0 or later); the kernel has no interface of its own for this.

    Args:
        device: The name of a disk, as in sys.block_devices; no path.
    """
    if not _NAME.fullmatch(device):
        raise ArgumentError("device: must be the name of a disk, such as sda", parameter="device")
    _require_disk(host, device)
    options = ("--json=c", "--info", "--health", "--attributes", "--nocheck=standby,3")
    ended = await run_tool(
        host, "smartctl", *options, f"{host.dev}/{device}", most_bytes=1 << 20, codes=tuple(range(256))
    )
    try:
        told = json.loads(ended.output)
    except ValueError:
        raise UnavailableError(f"smartctl gave no JSON: {ended.reason}") from None
    return _health(told, ended.code)


def _require_disk(host: Host, device: str) -> None:
    if not os.path.isdir(f"{host.sys}/block/{device}"):
        raise NotFoundError(f"there is no disk {device!r:.80}")


def _health(told: Any, code: int) -> dict[str, Any]:
    """Return what smartctl told. Source: smartctl(8), exit status: bits 0 and 1 mean that nothing could be asked."""
    if not isinstance(told, dict):
        raise UnavailableError("smartctl gave no object")
    if code == 3 or code & 0b11:
        messages = [item.get("string", "") for item in _within(told, "smartctl", "messages") or []]
        asleep = "the disk sleeps, and is not woken" if code == 3 else ""
        raise UnavailableError("; ".join(messages)[:300] or asleep or "smartctl could not ask the disk")
    return {
        "passed": _within(told, "smart_status", "passed"), "model": told.get("model_name"),
        "serial": told.get("serial_number"), "firmware": told.get("firmware_version"),
        "protocol": _within(told, "device", "protocol"), "temperature": _within(told, "temperature", "current"),
        "power_on_hours": _within(told, "power_on_time", "hours"), "power_cycles": told.get("power_cycle_count"),
        "attributes": [_attribute(row) for row in _within(told, "ata_smart_attributes", "table") or []],
        "nvme": told.get("nvme_smart_health_information_log"),
    }  # fmt: skip


def _attribute(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.get("id"), "name": row.get("name"), "value": row.get("value"), "worst": row.get("worst"),
        "threshold": row.get("thresh"), "raw": _within(row, "raw", "value"), "failed": row.get("when_failed") or None,
    }  # fmt: skip


def _within(told: dict[str, Any], *names: str) -> Any:
    found: Any = told
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
