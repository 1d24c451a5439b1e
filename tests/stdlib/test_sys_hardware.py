"""``sys.*`` of the machine on a made /sys, and on this one."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import Made, make
from running import perform

from protocol.errors import UnavailableError


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


async def test_hardware(made: Made) -> None:
    for path, content in {
        "class/dmi/id/sys_vendor": "Dell Inc.\n", "class/dmi/id/product_name": "R650\n",
        "class/dmi/id/bios_date": "01/02/2024\n",
        "bus/pci/devices/0000:00:01.0/class": "0x020000\n", "bus/pci/devices/0000:00:01.0/vendor": "0x8086\n",
        "bus/pci/devices/0000:00:01.0/device": "0x100e\n", "bus/usb/devices/1-1/idVendor": "046d\n",
        "bus/usb/devices/1-1/idProduct": "c31c\n", "bus/usb/devices/1-1/product": "Keyboard\n",
        "bus/usb/devices/1-1:1.0/bInterfaceClass": "03\n",
    }.items():  # fmt: skip
        made.put(f"sys/{path}", content)
    (made.place / "sys/bus/pci/devices/0000:00:01.0/driver").symlink_to("../../../../bus/pci/drivers/e1000")
    told = await perform("sys.hardware", host=made.host)
    assert told["system"] == {
        "vendor": "Dell Inc.", "product": "R650", "version": None, "family": None, "serial": None, "uuid": None,
    }  # fmt: skip
    assert told["firmware"]["date"] == "01/02/2024"
    assert told["pci"] == [
        {"address": "0000:00:01.0", "class": "020000", "vendor": "8086", "device": "100e", "driver": "e1000"}
    ]
    (usb,) = told["usb"]
    assert (usb["vendor"], usb["product"], usb["description"]) == ("046d", "c31c", "Keyboard")


async def test_a_board_with_a_device_tree(made: Made) -> None:
    made.put("proc/device-tree/model", b"Raspberry Pi 5\0")
    assert (await perform("sys.hardware", host=made.host))["system"]["product"] == "Raspberry Pi 5"


async def test_sensors(made: Made) -> None:
    for path, content in {
        "hwmon0/name": "coretemp\n", "hwmon0/temp1_input": "45500\n", "hwmon0/temp1_label": "Package id 0\n",
        "hwmon0/temp1_max": "80000\n", "hwmon0/temp1_crit": "100000\n", "hwmon0/temp2_input": "broken\n",
        "hwmon1/fan1_input": "1200\n", "hwmon1/in0_input": "12100\n", "hwmon1/power1_input": "65000000\n",
    }.items():  # fmt: skip
        made.put(f"sys/class/hwmon/{path}", content)
    first, *others = await perform("sys.sensors", host=made.host)
    assert first == {
        "kind": "temperature", "chip": "coretemp", "label": "Package id 0", "value": 45.5, "unit": "celsius",
        "max": 80.0, "critical": 100.0,
    }  # fmt: skip
    assert {(row["chip"], row["kind"], row["value"], row["unit"]) for row in others} == {
        ("hwmon1", "fan", 1200.0, "rpm"), ("hwmon1", "voltage", 12.1, "volts"), ("hwmon1", "power", 65.0, "watts"),
    }  # fmt: skip


async def test_zones_where_no_chip_has_a_temperature(made: Made) -> None:
    made.put("sys/class/thermal/thermal_zone0/temp", "38000\n")
    made.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    made.put("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n")
    made.put("sys/class/thermal/thermal_zone0/trip_point_0_temp", "110000\n")
    made.put("sys/class/thermal/cooling_device0/type", "fan\n")
    (row,) = await perform("sys.sensors", host=made.host)
    assert (row["chip"], row["label"], row["value"], row["critical"]) == ("cpu-thermal", "thermal_zone0", 38.0, 110.0)


async def test_a_host_without_sensors_says_so(made: Made) -> None:
    with pytest.raises(UnavailableError, match="no sensors"):
        await perform("sys.sensors", host=made.host)


async def test_modules_without_their_addresses(made: Made) -> None:
    with pytest.raises(UnavailableError, match="cannot load modules"):
        await perform("sys.modules", host=made.host)
    made.put(
        "proc/modules",
        "ext4 1000000 2 - Live 0xffffffffc0100000\nmbcache 16384 1 ext4,f2fs, Live 0xffffffffc0200000\n"
        "zfs 5 0 - Loading 0xffffffffc0300000 (PO)\n",
    )
    told = await perform("sys.modules", host=made.host)
    assert "0xffff" not in str(told), "where the kernel's code lies helps to attack it"
    assert told["modules"][1:] == [
        {
            "name": "mbcache", "size": 16384, "instances": 1, "dependencies": ["ext4", "f2fs"], "state": "live",
            "taints": None,
        },
        {"name": "zfs", "size": 5, "instances": 0, "dependencies": [], "state": "loading", "taints": "PO"},
    ]  # fmt: skip
    page = await perform("sys.modules", 1, 1, host=made.host)
    assert ([row["name"] for row in page["modules"]], page["more"]) == (["mbcache"], True)


async def test_this_machine_answers() -> None:
    told = await perform("sys.hardware")
    assert set(told) == {"system", "board", "firmware", "chassis", "pci", "usb"}
    if Path("/proc/modules").exists():
        assert set(await perform("sys.modules")) == {"modules", "more"}
