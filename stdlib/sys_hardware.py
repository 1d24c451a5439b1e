"""``sys.*`` of the machine: what it is built of, what its sensors say, what the kernel has loaded for it."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Bounds

MAX_DEVICES = 1_000  # of one bus; chosen without measurement
MAX_SENSORS = 500
_DMI = {
    "system": {
        "vendor": "sys_vendor", "product": "product_name", "version": "product_version", "family": "product_family",
        "serial": "product_serial", "uuid": "product_uuid",
    },
    "board": {"vendor": "board_vendor", "name": "board_name", "version": "board_version", "serial": "board_serial"},
    "firmware": {"vendor": "bios_vendor", "version": "bios_version", "date": "bios_date"},
    "chassis": {"vendor": "chassis_vendor", "type": "chassis_type", "serial": "chassis_serial"},
}  # fmt: skip
#: What hwmon gives, by the start of the file's name: kind, unit, divisor. Documentation/hwmon/sysfs-interface.rst.
_KINDS = {
    "temp": ("temperature", "celsius", 1000), "fan": ("fan", "rpm", 1), "in": ("voltage", "volts", 1000),
    "curr": ("current", "amperes", 1000), "power": ("power", "watts", 1_000_000),
    "humidity": ("humidity", "percent", 1000),
}  # fmt: skip
_INPUT = re.compile(r"(temp|fan|in|curr|power|humidity)(\d+)_input")


@call("sys.hardware", tier=Tier.OBSERVE, lua="local pci = sys.hardware().pci", python='pci = sys.hardware()["pci"]')
def hardware(host: Host) -> dict[str, Any]:
    """Return what the machine is built of.

    ``system`` (vendor, product, version, family, serial, uuid), ``board``, ``firmware`` and ``chassis`` (of the same
    kind), from the firmware's tables; ``pci`` (address, class, vendor, device, driver; ids in hexadecimal) and ``usb``
    (name, vendor, product, manufacturer, description, class), at most 1000 each. What is not told, or only to root, is
    nothing. Source: /sys/class/dmi, /sys/bus/pci, /sys/bus/usb, /proc/device-tree.
    """
    tables = {
        part: {name: trees.value(f"{host.sys}/class/dmi/id/{file}") for name, file in files.items()}
        for part, files in _DMI.items()
    }
    if tables["system"]["product"] is None:  # machines without such firmware have a device tree
        tables["system"]["product"] = trees.value(f"{host.proc}/device-tree/model")
    return {**tables, "pci": _pci(host), "usb": _usb(host)}


def _pci(host: Host) -> list[dict[str, Any]]:
    place = f"{host.sys}/bus/pci/devices"
    return [
        {
            "address": name, "class": _hex(f"{place}/{name}/class"), "vendor": _hex(f"{place}/{name}/vendor"),
            "device": _hex(f"{place}/{name}/device"), "driver": trees.link(f"{place}/{name}/driver"),
        }
        for name in trees.names(place)[:MAX_DEVICES]
    ]  # fmt: skip


def _usb(host: Host) -> list[dict[str, Any]]:
    place = f"{host.sys}/bus/usb/devices"
    return [
        {
            "name": name, "vendor": trees.value(f"{place}/{name}/idVendor"),
            "product": trees.value(f"{place}/{name}/idProduct"),
            "manufacturer": trees.value(f"{place}/{name}/manufacturer"),
            "description": trees.value(f"{place}/{name}/product"),
            "class": trees.value(f"{place}/{name}/bDeviceClass"),
        }
        for name in trees.names(place)[:MAX_DEVICES]
        if os.path.exists(f"{place}/{name}/idVendor")  # the others are interfaces of a device
    ]  # fmt: skip


def _hex(path: str) -> str | None:
    text = trees.value(path)
    return text.removeprefix("0x") if text else None


@call("sys.sensors", tier=Tier.OBSERVE, lua="local sensors = sys.sensors()", python="sensors = sys.sensors()")
def sensors(host: Host) -> list[dict[str, Any]]:
    """Return what the sensors measure now, at most 500.

    ``kind`` (temperature, fan, voltage, current, power, humidity), ``chip``, ``label`` (where the chip gives one),
    ``value``, ``unit`` (celsius, rpm, volts, amperes, watts, percent), ``max`` and ``critical`` (as the chip has them,
    or nothing). Source: /sys/class/hwmon, and /sys/class/thermal where no chip gives temperatures.
    """
    found = _chips(host)
    if not any(row["kind"] == "temperature" for row in found):
        found += _zones(host)
    if not found:
        raise UnavailableError("this host has no sensors that the kernel knows, as most virtual machines")
    return found[:MAX_SENSORS]


def _chips(host: Host) -> list[dict[str, Any]]:
    found = []
    for chip in trees.names(f"{host.sys}/class/hwmon"):
        place = f"{host.sys}/class/hwmon/{chip}"
        for file in trees.names(place):
            match = _INPUT.fullmatch(file)
            measured = trees.number(f"{place}/{file}") if match else None
            if match is None or measured is None:  # a sensor may fail to answer
                continue
            kind, unit, divisor = _KINDS[match[1]]
            start = f"{place}/{match[1]}{match[2]}"
            found.append({
                "kind": kind, "chip": trees.value(f"{place}/name") or chip, "label": trees.value(f"{start}_label"),
                "value": measured / divisor, "unit": unit, "max": _scaled(f"{start}_max", divisor),
                "critical": _scaled(f"{start}_crit", divisor),
            })  # fmt: skip
    return found


def _zones(host: Host) -> list[dict[str, Any]]:
    found = []
    for zone in trees.names(f"{host.sys}/class/thermal"):
        place = f"{host.sys}/class/thermal/{zone}"
        measured = trees.number(f"{place}/temp") if zone.startswith("thermal_zone") else None
        if measured is not None:
            found.append({
                "kind": "temperature", "chip": trees.value(f"{place}/type") or zone, "label": zone,
                "value": measured / 1000, "unit": "celsius", "max": None, "critical": _critical(place),
            })  # fmt: skip
    return found


def _critical(place: str) -> float | None:
    for name in trees.names(place):
        if name.endswith("_type") and name.startswith("trip_point") and trees.value(f"{place}/{name}") == "critical":
            return _scaled(f"{place}/{name.removesuffix('_type')}_temp", 1000)
    return None


def _scaled(path: str, divisor: int) -> float | None:
    found = trees.number(path)
    return None if found is None else found / divisor


@call("sys.modules", tier=Tier.OBSERVE, lua="local modules = sys.modules()", python="modules = sys.modules()")
async def modules(
    host: Host,
    offset: Annotated[int, Bounds(0, 100_000)] = 0,
    limit: Annotated[int, Bounds(1, 5_000)] = 1_000,
) -> dict[str, Any]:
    """Return ``{modules, more}``: what the kernel has loaded, from ``offset`` on.

    Each is ``name``, ``size`` (bytes), ``instances`` (how often it is in use), ``dependencies`` (names of those that
    use it), ``state`` (live, loading, unloading), ``taints`` (letters, or nothing). Where it lies in memory is left
    out.
    Source: proc(5), modules.
    """
    _require_modules(host)
    rows = [line.split() for line in read_kernel(host, "modules").split("\n") if line]
    first, last = int(offset), int(offset) + int(limit)
    return {"modules": [_module(row) for row in rows[first:last]], "more": len(rows) > last}


def _require_modules(host: Host) -> None:
    if not os.path.exists(f"{host.proc}/modules"):
        raise UnavailableError("this kernel cannot load modules")


def _module(row: list[str]) -> dict[str, Any]:
    name, size, instances, users, state, _address, *taints = row
    return {
        "name": name, "size": int(size), "instances": int(instances) if instances.isdecimal() else None,
        "dependencies": [user for user in users.split(",") if user not in ("", "-")], "state": state.lower(),
        "taints": taints[0].strip("()") if taints else None,
    }  # fmt: skip
