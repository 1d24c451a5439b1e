"""``sys.*`` of block devices, on a made /sys, with what smartctl prints, and on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exemplary import SMART
from made import Made, make
from running import perform

from protocol.errors import ArgumentError, NotFoundError, UnavailableError

DISKSTATS = "   8  0 sda 1 2 3 4 5 6 7 8 9 10 11\n 8 1 sda1 0 0 0 0 0 0 0 0 0 0 0\n 8 2 short 1 2\n"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path)
    made.put("proc/diskstats", DISKSTATS)
    made.put(
        "proc/self/mountinfo", "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n22 21 8:1 /a /b rw - ext4 x rw\n"
    )
    return made


async def test_counters(made: Made) -> None:
    expected = {
        "reads": 1, "read_bytes": 1536, "rtime": 4, "writes": 5, "write_bytes": 3584, "wtime": 8, "in_flight": 9,
        "time": 10, "qtime": 11,
    }  # fmt: skip
    assert await perform("sys.disk_io", "sda", host=made.host) == expected
    first, second = await perform("sys.disks", host=made.host)
    assert first == {"device": "sda", **expected}
    assert second["device"] == "sda1"


async def test_block_devices(made: Made) -> None:
    for path, content in {
        "sda/dev": "8:0\n", "sda/size": "2048\n", "sda/ro": "0\n", "sda/removable": "1\n",
        "sda/queue/rotational": "1\n", "sda/queue/scheduler": "none [mq-deadline] bfq\n",
        "sda/device/model": "Disk 1  \n",
        "sda/device/vendor": "ACME\n", "sda/sda1/dev": "8:1\n", "sda/sda1/partition": "1\n", "sda/sda1/size": "1024\n",
        "sda/sda1/ro": "1\n", "sda/sda1/holders/dm-0/x": "", "dm-0/dev": "253:0\n", "dm-0/dm/name": "root\n",
        "md0/md/level": "raid1\n", "sr0/dev": "11:0\n", "zram0/dev": "251:0\n", "cciss!c0d0/dev": "104:0\n",
    }.items():  # fmt: skip
        made.put(f"sys/block/{path}", content)
    made.put("run/udev/data/b8:1", "S:disk/by-uuid/1\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID=1-2\nE:ID_FS_LABEL=root\n")
    rows = await perform("sys.block_devices", host=made.host)
    assert [(row["name"], row["type"], row["parent"]) for row in rows] == [
        ("cciss/c0d0", "disk", None), ("dm-0", "mapper", None), ("md0", "raid", None), ("sda", "disk", None),
        ("sda1", "partition", "sda"), ("sr0", "optical", None), ("zram0", "memory", None),
    ]  # fmt: skip
    disk, part = rows[3], rows[4]
    assert (disk["size"], disk["rotational"], disk["scheduler"], disk["removable"]) == (
        1 << 20,
        True,
        "mq-deadline",
        True,
    )
    assert (disk["model"], disk["vendor"], disk["serial"], disk["file_system"]) == ("Disk 1", "ACME", None, None)
    assert (part["file_system"], part["uuid"], part["label"]) == ("ext4", "1-2", "root")
    assert (part["mounted"], part["holders"], part["read_only"]) == (["/", "/b"], ["dm-0"], True)
    assert (part["rotational"], part["size"]) == (True, 512 << 10)


async def test_block_devices_of_this_machine() -> None:
    try:
        rows = await perform("sys.block_devices")
    except UnavailableError:
        assert not Path("/sys/block").is_dir()
        return
    assert {row["name"].replace("/", "!") for row in rows} >= {item.name for item in Path("/sys/block").iterdir()}


async def test_health(made: Made) -> None:
    made.folder("sys/block/sda")
    made.tool("smartctl", json.dumps(SMART))
    told = await perform("sys.smart", "sda", host=made.host)
    assert (told["passed"], told["model"], told["temperature"], told["power_on_hours"]) == (True, "Disk 1", 31, 1200)
    assert told["attributes"] == [
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": 100, "worst": 99, "threshold": 10, "raw": 3, "failed": None}
    ]
    (use,) = made.uses("smartctl")
    assert use[-1] == f"{made.place}/dev/sda"
    assert use[0] == "--json=c"


async def test_a_failing_disk_is_an_answer_and_no_error(made: Made) -> None:
    """smartctl's bits 3 and up say something about the disk, not about the question."""
    made.folder("sys/block/nvme0n1")
    nvme: dict[str, Any] = {"critical_warning": 4, "percentage_used": 101}
    failing = {"smart_status": {"passed": False}, "nvme_smart_health_information_log": nvme}
    made.tool("smartctl", json.dumps(failing), code=8)
    told = await perform("sys.smart", "nvme0n1", host=made.host)
    assert (told["passed"], told["nvme"], told["attributes"]) == (False, nvme, [])


async def test_why_health_cannot_be_told(made: Made) -> None:
    with pytest.raises(NotFoundError, match="no disk"):
        await perform("sys.smart", "sdz", host=made.host)
    made.folder("sys/block/sda")
    with pytest.raises(UnavailableError, match="has no smartctl"):
        await perform("sys.smart", "sda", host=made.host)
    messages = {"smartctl": {"messages": [{"string": "Unable to detect device type", "severity": "error"}]}}
    made.tool("smartctl", json.dumps(messages), code=1)
    with pytest.raises(UnavailableError, match="Unable to detect device type"):
        await perform("sys.smart", "sda", host=made.host)
    made.tool("smartctl", "{}", code=3)
    with pytest.raises(UnavailableError, match="sleeps"):
        await perform("sys.smart", "sda", host=made.host)
    for output in ("", "[]", "no json"):
        made.tool("smartctl", output)
        with pytest.raises(UnavailableError):
            await perform("sys.smart", "sda", host=made.host)


@pytest.mark.parametrize("device", ["", "/dev/sda", "../sda", "-a", "sda -d test", "sda;id", "sda\n", ".", "é"])
async def test_only_the_name_of_a_disk_reaches_the_tool(made: Made, device: str) -> None:
    made.tool("smartctl", json.dumps(SMART))
    with pytest.raises(ArgumentError):
        await perform("sys.smart", device, host=made.host)
    assert made.uses("smartctl") == []
