"""``sys.*``: facts and counters of the host as a whole, read from the kernel and from files below /etc."""

from __future__ import annotations

import os
import re
import socket
from typing import Annotated, Any

from protocol.errors import DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Length
from stdlib.virtual import cloud, container, hypervisor

_MAX_HOSTS_BYTES = 256 << 10  # of /etc/hosts
_CPU = ("user", "nice", "sys", "idle", "wait", "irq", "soft_irq", "stolen")  # columns of /proc/stat, proc(5)

#: Names of the agent's own environment that say where and how it runs. Others may hold secrets, so there is no pattern.
ENVIRONMENT = frozenset({
    "HOME", "HOSTNAME", "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY",
    "LC_NUMERIC", "LC_TIME", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
})  # fmt: skip


@call("sys.host", tier=Tier.OBSERVE, lua="local name = sys.host().hostname", python='name = sys.host()["hostname"]')
def host_facts(host: Host) -> dict[str, Any]:
    """Return what the host is.

    ``hostname``, ``fqdn`` (from the host name or /etc/hosts, nobody is asked; nothing if neither tells), ``os``,
    ``kernel``, ``arch``, ``distro`` and ``version`` (from os-release), ``boot_time`` (s since 1970 UTC), ``vm`` (kind
    of the hypervisor below, nothing on bare metal), ``container`` (kind of the container around, or nothing),
    ``machine_id``, ``cloud`` (name of the provider by what the firmware says, or nothing).
    """
    name = os.uname()
    hostname = trees.value(f"{host.proc}/sys/kernel/hostname") or socket.gethostname()
    release = trees.settings(trees.text_or_nothing(f"{host.etc}/os-release", trees.MAX_VALUE_BYTES))
    return {
        "hostname": hostname, "fqdn": _qualified(host, hostname), "os": name.sysname.lower(),
        "kernel": trees.value(f"{host.proc}/sys/kernel/osrelease") or name.release, "arch": name.machine,
        "distro": release.get("ID"), "version": release.get("VERSION_ID"), "boot_time": _boot_time(host),
        "vm": hypervisor(host), "container": container(host), "machine_id": trees.value(f"{host.etc}/machine-id"),
        "cloud": cloud(host),
    }  # fmt: skip


def _qualified(host: Host, hostname: str) -> str | None:
    if "." in hostname:
        return hostname
    for line in trees.text_or_nothing(f"{host.etc}/hosts", _MAX_HOSTS_BYTES).split("\n"):
        names = line.partition("#")[0].split()[1:]
        if hostname in names:
            # hosts(5): the first name is the canonical one; some write the short name first all the same.
            return next((name for name in names if name.startswith(f"{hostname}.")), None)
    return None


def _boot_time(host: Host) -> float:
    for line in read_kernel(host, "stat").split("\n"):
        if line.startswith("btime "):
            return float(line.split()[1])
    raise UnavailableError("the kernel does not tell when it booted")


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
async def memory(host: Host) -> dict[str, int | float]:
    """Return memory in bytes.

    ``total``, ``free``, ``used`` (total less free), ``actual_free`` (what programs could get), ``actual_used``,
    ``used_percent`` and ``free_percent`` (of what programs use and could get), ``ram`` (MiB),
    ``swap_total``, ``swap_used``, ``swap_free``, and ``swap_page_in``, ``swap_page_out`` (bytes since boot).
    """
    rows = dict(line.split(":", 1) for line in read_kernel(host, "meminfo").splitlines() if ":" in line)
    kib = {name: int(text.split()[0]) * 1024 for name, text in rows.items()}
    moved = dict(line.split(" ", 1) for line in read_kernel(host, "vmstat").splitlines() if line.startswith("pswp"))
    page = os.sysconf("SC_PAGE_SIZE")
    total, free, available = kib["MemTotal"], kib["MemFree"], kib.get("MemAvailable", kib["MemFree"])
    return {
        "total": total, "free": free, "used": total - free, "actual_free": available, "actual_used": total - available,
        "used_percent": 100 * (total - available) / total, "free_percent": 100 * available / total, "ram": total >> 20,
        "swap_total": kib["SwapTotal"], "swap_free": kib["SwapFree"], "swap_used": kib["SwapTotal"] - kib["SwapFree"],
        "swap_page_in": int(moved.get("pswpin", 0)) * page, "swap_page_out": int(moved.get("pswpout", 0)) * page,
    }  # fmt: skip


@call("sys.cpu", tier=Tier.OBSERVE, lua="local cpus = sys.cpu()", python="cpus = sys.cpu()")
async def cpu(host: Host) -> list[dict[str, int]]:
    """Return, for each processor, the clock ticks since boot spent in ``user``, ``nice``, ``sys``, ``idle``, ``wait``,
    ``irq``, ``soft_irq`` and ``stolen``, and their ``total``. Two looks give a share."""
    found = []
    for line in read_kernel(host, "stat").splitlines():
        word, *ticks = line.split()
        if word.startswith("cpu") and word != "cpu":
            padded = [int(tick) for tick in ticks[: len(_CPU)]] + [0] * len(_CPU)
            row = dict(zip(_CPU, padded, strict=False))
            found.append({**row, "total": sum(row.values())})
    return found


@call(
    "sys.cpu_info",
    tier=Tier.OBSERVE,
    lua="local model = sys.cpu_info()[1].model",
    python='model = sys.cpu_info()[0]["model"]',
)
def cpu_info(host: Host) -> list[dict[str, Any]]:
    """Return what each processor is.

    ``name`` (such as cpu0), ``vendor``, ``model``, ``mhz`` (now), ``core`` and ``socket`` (its place), ``cache`` (bytes
    of its largest cache), ``total_cores`` and ``total_sockets`` (of the host). What the processor does not tell is
    nothing.
    """
    rows = [_processor(host, block) for block in read_kernel(host, "cpuinfo").split("\n\n") if "processor" in block]
    sockets = {row["socket"] for row in rows}
    cores = {(row["socket"], row["core"] if row["core"] is not None else row["name"]) for row in rows}
    return [{**row, "total_cores": len(cores), "total_sockets": len(sockets)} for row in rows]


def _processor(host: Host, block: str) -> dict[str, Any]:
    told = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in block.split("\n"))}
    name = f"cpu{told['processor']}"
    place = f"{host.sys}/devices/system/cpu/{name}"
    khz = trees.number(f"{place}/cpufreq/scaling_cur_freq")
    mhz = khz / 1000 if khz else _float(told.get("cpu MHz"))
    core, socket_id = (trees.number(f"{place}/topology/{what}") for what in ("core_id", "physical_package_id"))
    return {
        "name": name, "vendor": told.get("vendor_id") or told.get("CPU implementer"),
        "model": told.get("model name") or told.get("Processor") or told.get("CPU part"), "mhz": mhz,
        "core": core if core is not None else _int(told.get("core id")),
        "socket": socket_id if socket_id is not None else _int(told.get("physical id")), "cache": _cache_bytes(place),
    }  # fmt: skip


def _cache_bytes(place: str) -> int | None:
    sizes = [trees.value(f"{place}/cache/{name}/size") for name in trees.names(f"{place}/cache")]
    found = [int(match[1]) << {"K": 10, "M": 20}[match[2]] for size in sizes if (match := _SIZE.fullmatch(size or ""))]
    return max(found, default=None)


_SIZE = re.compile(r"(\d+)([KM])")


def _float(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text) else None


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


@call(
    "sys.pressure",
    tier=Tier.OBSERVE,
    lua="local stalled = sys.pressure().memory",
    python='stalled = sys.pressure()["memory"]',
)
async def pressure(host: Host) -> dict[str, Any]:
    """Return how long work waited for something.

    By ``cpu``, ``memory``, ``io`` and ``irq`` (where the kernel counts it), then ``some`` (at least one task waited)
    and ``full`` (all did): ``avg10``, ``avg60``, ``avg300`` (percent of the last seconds) and ``total`` (microseconds
    since boot). Linux: Documentation/accounting/psi.rst.
    """
    found = {}
    for name in ("cpu", "memory", "io", "irq"):
        text = trees.value(f"{host.proc}/pressure/{name}")
        if text is not None:
            found[name] = dict(map(_stall, text.split("\n")))
    if not found:
        raise UnavailableError("this kernel does not count pressure (CONFIG_PSI, psi=1)")
    return found


def _stall(line: str) -> tuple[str, dict[str, Any]]:
    word, *pairs = line.split()
    told = dict(pair.split("=", 1) for pair in pairs)
    return word, {name: int(text) if name == "total" else float(text) for name, text in told.items()}


@call("sys.env", tier=Tier.OBSERVE, lua='local path = sys.env("PATH")', python='path = sys.env("PATH")')
async def env(host: Host, name: Annotated[str, Length(64)]) -> str | None:
    """Return the value of ``name`` in the agent's environment, or nothing if it is not set.

    Only names that say where and how the agent runs are answered: HOME, HOSTNAME, LANG, LANGUAGE, LC_*, LOGNAME, PATH,
    PWD, SHELL, TERM, TMPDIR, TZ and USER. Others are denied, whether they are set or not.
    """
    if name not in ENVIRONMENT:
        raise DeniedError(f"the environment's {name!r:.80} is not for scripts", rule="sys.env: list of names")
    return host.environ.get(name)
