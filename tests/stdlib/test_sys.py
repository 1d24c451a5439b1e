"""``sys.*`` of the whole host, on this machine's own /proc and on trees that say exactly what is expected."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, names_in_text
from made import Made, make
from running import gate, perform

from protocol.errors import DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import host as host_module
from stdlib.host import Host

MEMORY = ["total", "free", "used", "actual_free", "actual_used", "ram"]
SWAP = ["swap_total", "swap_used", "swap_free", "swap_page_in", "swap_page_out"]
CPU = ["user", "nice", "sys", "idle", "wait", "irq", "soft_irq", "stolen", "total"]
DISK = ["reads", "writes", "read_bytes", "write_bytes", "rtime", "wtime", "time", "qtime", "in_flight"]
NUMBER = (int, type(None))
FIELDS: dict[str, Fields] = {
    "sys.host": {
        "hostname": str, "fqdn": TEXT_OR_NOTHING, "os": str, "kernel": str, "arch": str, "distro": TEXT_OR_NOTHING,
        "version": TEXT_OR_NOTHING, "boot_time": float, "vm": TEXT_OR_NOTHING, "container": TEXT_OR_NOTHING,
        "machine_id": TEXT_OR_NOTHING, "cloud": TEXT_OR_NOTHING,
    },
    "sys.loadavg": {"1m": float, "5m": float, "15m": float},
    "sys.memory": {**dict.fromkeys(MEMORY + SWAP, int), "used_percent": float, "free_percent": float},
    "sys.cpu": dict.fromkeys(CPU, int),
    "sys.cpu_info": {
        "name": str, "vendor": TEXT_OR_NOTHING, "model": TEXT_OR_NOTHING, "mhz": (float, type(None)), "core": NUMBER,
        "socket": NUMBER, "cache": NUMBER, "total_cores": int, "total_sockets": int,
    },
    "sys.disks": {"device": str, **dict.fromkeys(DISK, int)},
    "sys.clock": {
        "time": float, "utc": str, "zone": str, "utc_offset": NUMBER, "ntp_synced": (bool, type(None)),
        "offset_ms": (float, type(None)), "max_error_ms": (float, type(None)), "est_error_ms": (float, type(None)),
    },
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


@pytest.mark.parametrize("name", sorted(FIELDS))
async def test_returns_what_its_text_says(name: str) -> None:
    value = await perform(name)
    rows = value if isinstance(value, list) else [value]
    assert rows
    for row in rows:
        check_fields(row, FIELDS[name])
    assert names_in_text(name) == set(FIELDS[name])


async def test_values_are_those_of_the_kernel() -> None:
    facts = await perform("sys.host")
    assert (facts["os"], facts["kernel"], facts["hostname"]) == ("linux", os.uname().release, os.uname().nodename)
    assert 0 < facts["boot_time"] < time.time()
    assert await perform("sys.uptime") == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5.0)
    memory = await perform("sys.memory")
    assert memory["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory["used"] == memory["total"] - memory["free"]
    assert len(await perform("sys.cpu_info")) == len(await perform("sys.cpu"))


async def test_units_are_bytes(made: Made) -> None:
    made.put(
        "proc/meminfo",
        "MemTotal: 100 kB\nMemFree: 40 kB\nMemAvailable: 70 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\nHugePages_Total: 0\n",
    )
    made.put("proc/vmstat", "nr_free 1\npswpin 2\npswpout 3\n")
    page = os.sysconf("SC_PAGE_SIZE")
    assert await perform("sys.memory", host=made.host) == {
        "total": 102400, "free": 40960, "used": 61440, "actual_free": 71680, "actual_used": 30720,
        "used_percent": 30.0, "free_percent": 70.0, "ram": 0,
        "swap_total": 9216, "swap_free": 8192, "swap_used": 1024, "swap_page_in": 2 * page, "swap_page_out": 3 * page,
    }  # fmt: skip


async def test_each_processor_is_one_row(made: Made) -> None:
    """Old kernels have fewer columns, new ones more."""
    made.put("proc/stat", "cpu  9 9 9 9\ncpu0 1 2 3 4\ncpu1 1 2 3 4 5 6 7 8 9 10\nintr 5\n")
    first, second = await perform("sys.cpu", host=made.host)
    assert list(first.values()) == [1, 2, 3, 4, 0, 0, 0, 0, 10]
    assert list(second.values()) == [1, 2, 3, 4, 5, 6, 7, 8, 36]


async def test_processors_of_two_sockets(made: Made) -> None:
    blocks = []
    for number in range(4):
        blocks.append(f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\ncpu MHz\t\t: 2400.5\n")
        made.put(f"sys/devices/system/cpu/cpu{number}/topology/core_id", f"{number % 2}\n")
        made.put(f"sys/devices/system/cpu/cpu{number}/topology/physical_package_id", f"{number // 2}\n")
    made.put("sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n")
    made.put("sys/devices/system/cpu/cpu0/cache/index3/size", "16M\n")
    made.put("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1200000\n")
    made.put("proc/cpuinfo", "\n".join(blocks) + "\n")
    rows = await perform("sys.cpu_info", host=made.host)
    assert [(row["core"], row["socket"], row["total_cores"], row["total_sockets"]) for row in rows] == [
        (0, 0, 4, 2), (1, 0, 4, 2), (0, 1, 4, 2), (1, 1, 4, 2),
    ]  # fmt: skip
    assert [row["mhz"] for row in rows] == [2400.5, 1200.0, 2400.5, 2400.5]
    assert [row["cache"] for row in rows] == [16 << 20, None, None, None]
    assert rows[3]["model"] == "Xeon"


async def test_a_processor_without_a_name(made: Made) -> None:
    """ARM tells numbers only, and no socket."""
    made.put("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nHardware\t: x\n")
    (row,) = await perform("sys.cpu_info", host=made.host)
    assert (row["vendor"], row["model"], row["mhz"], row["socket"]) == ("0x41", "0xd0c", None, None)
    assert (row["total_cores"], row["total_sockets"]) == (1, 1)


@pytest.mark.parametrize(
    ("vendor", "product", "vm", "cloud"),
    [
        ("QEMU", "Standard PC", "qemu", None), ("VMware, Inc.", "VMware7,1", "vmware", None),
        ("Microsoft Corporation", "Virtual Machine", "microsoft", None), ("Amazon EC2", "t3.micro", "amazon", "aws"),
        ("Google", "Google Compute Engine", "google", "gcp"), ("Hetzner", "vServer", "kvm", "hetzner"),
        ("DigitalOcean", "Droplet", "kvm", "digitalocean"),
        ("OpenStack Foundation", "OpenStack Nova", "kvm", "openstack"),
        ("Dell Inc.", "PowerEdge R650", None, None), ("innotek GmbH", "VirtualBox", "virtualbox", None),
    ],
)  # fmt: skip
async def test_what_the_firmware_tells(made: Made, vendor: str, product: str, vm: str, cloud: str) -> None:
    made.put("proc/stat", "btime 1700000000\n")
    made.put("sys/class/dmi/id/sys_vendor", f"{vendor}\n")
    made.put("sys/class/dmi/id/product_name", f"{product}\n")
    told = await perform("sys.host", host=made.host)
    assert (told["vm"], told["cloud"], told["boot_time"]) == (vm, cloud, 1700000000.0)


async def test_a_hypervisor_without_firmware(made: Made) -> None:
    made.put("proc/stat", "btime 1\n")
    made.put("proc/cpuinfo", "processor : 0\nflags\t: fpu hypervisor sse\n")
    assert (await perform("sys.host", host=made.host))["vm"] == "other"


@pytest.mark.parametrize(
    ("file", "told", "vm"),
    [
        ("hypervisor/compatible", "linux,kvm\0", "kvm"), ("hypervisor/compatible", "xen,xen-4.17\0xen,xen\0", "xen"),
        ("hypervisor/compatible", "acme,visor\0", "other"), ("fw-cfg@9020000/compatible", "qemu,fw-cfg-mmio\0", "qemu"),
        ("compatible", "linux,dummy-virt\0", "other"),
        ("compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0", None),
    ],
)  # fmt: skip
async def test_a_hypervisor_that_the_device_tree_tells(made: Made, file: str, told: str, vm: str | None) -> None:
    """An emulated ARM machine was told to be none."""
    made.put("proc/stat", "btime 1\n")
    made.put(f"proc/device-tree/{file}", told)
    assert (await perform("sys.host", host=made.host))["vm"] == vm


async def test_containers_around_the_agent(made: Made) -> None:
    made.put("proc/stat", "btime 1\n")
    assert (await perform("sys.host", host=made.host))["container"] is None
    made.put("proc/1/environ", "TERM=x\0container=lxc\0")
    assert (await perform("sys.host", host=made.host))["container"] == "lxc"
    made.put("proc/self/root/.dockerenv")
    assert (await perform("sys.host", host=made.host))["container"] == "docker"
    made.put("run/systemd/container", "systemd-nspawn\n")
    assert (await perform("sys.host", host=made.host))["container"] == "systemd-nspawn"


async def test_names_and_release(made: Made) -> None:
    made.put("proc/stat", "btime 1\n")
    made.put("proc/sys/kernel/hostname", "web1\n")
    made.put("proc/sys/kernel/osrelease", "6.1.0-9\n")
    made.put("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 web1 web1.example.net # ours\n")
    made.put("etc/os-release", 'ID=debian\nVERSION_ID="12"\n')
    made.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    told = await perform("sys.host", host=made.host)
    assert (told["hostname"], told["fqdn"], told["kernel"]) == ("web1", "web1.example.net", "6.1.0-9")
    assert (told["distro"], told["version"]) == ("debian", "12")
    assert told["machine_id"] == "0123456789abcdef0123456789abcdef"


async def test_pressure(made: Made) -> None:
    with pytest.raises(UnavailableError, match="does not count pressure"):
        await perform("sys.pressure", host=made.host)
    made.put("proc/pressure/cpu", "some avg10=1.50 avg60=0.20 avg300=0.00 total=2812371453\n")
    made.put(
        "proc/pressure/io",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=9.99 avg60=0.00 avg300=0.00 total=2\n",
    )
    told = await perform("sys.pressure", host=made.host)
    assert told["cpu"] == {"some": {"avg10": 1.5, "avg60": 0.2, "avg300": 0.0, "total": 2812371453}}
    assert told["io"]["full"]["avg10"] == 9.99


async def test_what_is_not_there_is_said(made: Made) -> None:
    for name in ("sys.uptime", "sys.loadavg", "sys.memory", "sys.cpu", "sys.cpu_info", "sys.disks", "sys.host"):
        with pytest.raises(UnavailableError):
            await perform(name, host=made.host)


async def test_only_harmless_names_of_the_environment() -> None:
    host = Host(environ={"PATH": "/bin", "OUTRIDER_TOKEN": "x", "LC_SECRET": "x"})
    assert await perform("sys.env", "PATH", host=host) == "/bin"
    assert await perform("sys.env", "TZ", host=host) is None
    for name in ("OUTRIDER_TOKEN", "LC_SECRET", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "path", "PATH ", "", "PATH=x"):
        with pytest.raises(DeniedError) as caught:
            await perform("sys.env", name, host=host)
        assert caught.value.rule
    reply = await gate(Tier.ADMIN, host=host).call("sys.env", ["OUTRIDER_TOKEN"], {})
    assert reply.error is not None
    assert reply.error.code == "denied"


async def test_clock(made: Made) -> None:
    (made.place / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    told = await perform("sys.clock", host=made.host)
    assert (told["time"], told["utc"]) == (1_700_000_000.0, "2023-11-14T22:13:20.000Z")
    assert (told["zone"], told["utc_offset"]) == ("Europe/Berlin", 3600)
    summer = replace(made.host, clock=lambda: 1_690_000_000.0)
    assert (await perform("sys.clock", host=summer))["utc_offset"] == 7200


async def test_zones_that_are_not_there(made: Made) -> None:
    assert (await perform("sys.clock", host=made.host))["zone"] == "UTC"
    made.put("etc/localtime", b"TZif2")
    made.put("etc/timezone", "../../etc/passwd\n")
    told = await perform("sys.clock", host=made.host)
    assert (told["zone"], told["utc_offset"]) == ("../../etc/passwd", None)


async def test_a_disk_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="no block device"):
        await perform("sys.disk_io", "no-such-disk")


@pytest.mark.parametrize("path", sorted(host_module.KEPT))
def test_a_file_that_stays_open_says_what_it_says_now(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "_kept", {})
    name = path.removeprefix("/proc/")
    texts = [host_module.read_kernel(Host(), name) for _ in range(3)]
    ((kept, descriptor),) = host_module._kept.items()
    assert kept == path, "opened once"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    whole = Path(path).read_text(encoding="ascii")
    assert {shape(text) for text in texts} == {shape(whole)}, "numbers change, and nothing else"


def shape(text: str) -> str:
    return re.sub(r"[0-9.]+", "0", " ".join(text.split()))


def test_the_time_goes_on_in_a_file_that_stays_open() -> None:
    def up_s() -> float:
        return float(host_module.read_kernel(Host(), "uptime").split()[0])

    first = now = up_s()
    ends_s = time.monotonic() + 30.0
    while now == first and time.monotonic() < ends_s:  # for a hundredth of a second
        now = up_s()
    assert now > first


def test_a_file_that_stays_open_and_cannot_be_read_any_more_is_opened_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = os.open(tmp_path, os.O_RDONLY)  # a directory: to read it fails
    try:
        monkeypatch.setattr(host_module, "_kept", {"/proc/loadavg": broken})
        assert len(host_module.read_kernel(Host(), "loadavg").split()) == 5
        monkeypatch.setattr(host_module, "KEPT_BYTES", 4)  # more than one read gives
        monkeypatch.setattr(host_module, "_kept", {})
        assert len(host_module.read_kernel(Host(), "loadavg").split()) == 5
    finally:
        os.close(broken)


def test_trees_of_others_are_read_anew(tmp_path: Path) -> None:
    for text in ("1.00 2.00\n", "2.00 3.00\n"):
        (tmp_path / "uptime").write_text(text, encoding="ascii")
        assert host_module.read_kernel(Host(proc=str(tmp_path)), "uptime") == text
