"""``sys.*`` of packages: what is installed and what could be updated.

dpkg, apk and pacman keep text that is read as it is. rpm's database is its own library's business, so ``rpm`` is asked;
and what an update would bring is the result of a solver, so ``apt-get`` or ``dnf`` is asked, without the network and
without changing anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

from kernel.visits import begun_apart
from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib import package_lists, trees
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Length
from stdlib.tools import find_tool, run_tool

MAX_PACKAGES = 5_000  # of one answer: each has 4 fields
_MAX_DATABASE_BYTES = 64 << 20  # of dpkg's status file; a desktop with everything has 15 MiB
_MAX_CONFIGURATION_BYTES = 256 << 10
_APT = ("-s", "-q", "-o", "Debug::NoLocking=true")
# Where apt keeps no cache, it is made in memory, which takes seconds: looking must leave nothing behind.
_APT_IN_MEMORY = ("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")


@call(
    "sys.packages",
    tier=Tier.OBSERVE,
    lua='local found = sys.packages({match = "lib", limit = 20}).packages',
    python='found = sys.packages(match="lib", limit=20)["packages"]',
)
async def packages(
    host: Host,
    match: Annotated[str, Length(200)] = "",
    offset: Annotated[int, Bounds(0, 1_000_000)] = 0,
    limit: Annotated[int, Bounds(1, MAX_PACKAGES)] = 2_000,
) -> dict[str, Any]:
    """Return ``{manager, packages, more}``: the installed packages whose name holds ``match``, from ``offset`` on.

    The manager is dpkg, rpm, apk or pacman. Each package is ``name``, ``version``, ``arch``, ``size`` (bytes
    installed).
    Source: dpkg's, apk's and pacman's files; ``rpm --query`` where that is the one.
    """
    manager, printed = await _manager(host)
    return await begun_apart(_page, host, manager, printed, match, int(offset), int(limit))


async def _manager(host: Host) -> tuple[str, str]:
    """Return which manager keeps the packages, and what it printed if it has to be asked."""
    name = _by_files(host)
    if name is not None:
        return name, ""
    if find_tool(host, "rpm") is None:
        raise UnavailableError("this host has none of dpkg, rpm, apk and pacman")
    options = ("--query", "--all", "--queryformat", package_lists.RPM_FORMAT)
    return "rpm", (await run_tool(host, "rpm", *options, timeout_s=60.0, most_bytes=_MAX_DATABASE_BYTES)).text


def _by_files(host: Host) -> str | None:
    for place, name in (
        (f"{host.var}/lib/dpkg/status", "dpkg"), (f"{host.lib}/apk/db/installed", "apk"),
        (f"{host.var}/lib/pacman/local", "pacman"),
    ):  # fmt: skip
        # A dpkg that only builds packages on another system leaves an empty file.
        if os.path.isdir(place) or (os.path.exists(place) and os.path.getsize(place)):
            return name
    return None


async def installed(host: Host) -> list[dict[str, Any]]:
    """Return all installed packages, as sys.packages gives them."""
    manager, printed = await _manager(host)
    return await begun_apart(lambda: list(_rows(host, manager, printed)))


def _page(host: Host, manager: str, printed: str, match: str, first: int, limit: int) -> dict[str, Any]:
    rows = [row for row in _rows(host, manager, printed) if match in row["name"]]
    rows.sort(key=lambda row: (row["name"], row["arch"] or "", row["version"]))
    return {"manager": manager, "packages": rows[first : first + limit], "more": len(rows) > first + limit}


def _rows(host: Host, manager: str, printed: str) -> Iterable[dict[str, Any]]:
    if manager == "rpm":
        return package_lists.rpm(printed)
    if manager == "dpkg":
        return package_lists.dpkg(trees.text_of(f"{host.var}/lib/dpkg/status", _MAX_DATABASE_BYTES))
    if manager == "apk":
        return package_lists.apk(trees.text_of(f"{host.lib}/apk/db/installed", _MAX_DATABASE_BYTES))
    place = f"{host.var}/lib/pacman/local"
    texts = (trees.text_or_nothing(f"{place}/{name}/desc", _MAX_CONFIGURATION_BYTES) for name in trees.names(place))
    return filter(None, map(package_lists.pacman, texts))


@call(
    "sys.updates",
    tier=Tier.OBSERVE,
    lua="local pending = sys.updates().pending",
    python='pending = sys.updates()["pending"]',
)
async def updates(host: Host, limit: Annotated[int, Bounds(1, 2_000)] = 500) -> dict[str, Any]:
    """Return what could be updated by the lists that the host has; the network is not asked.

    ``manager`` (apt or dnf), ``pending`` (each with name, installed, candidate, security: whether it comes from a
    security origin, nothing if the manager does not say), ``more``, ``checked`` (when the lists were last fetched,
    seconds since 1970 UTC), ``reboot_required`` and ``reboot_packages`` (of Debian's mark; nothing elsewhere),
    ``automatic`` (whether updates are applied by themselves) and ``method`` (unattended-upgrades, dnf-automatic, none).
    Source: ``apt-get --simulate`` (which takes
    seconds where apt keeps no cache), ``dnf --cacheonly check-update``.
    """
    if find_tool(host, "apt-get") is not None:
        has_cache = "pkgcache.bin" in trees.names(f"{host.var}/cache/apt")
        options = _APT if has_cache else (*_APT, *_APT_IN_MEMORY)
        ended = await run_tool(host, "apt-get", *options, "upgrade", "--with-new-pkgs", timeout_s=120.0)
        rows = list(package_lists.apt_pending(ended.text))
        return _told(host, "apt", rows, int(limit), f"{host.var}/lib/apt/lists", _apt_method(host))
    name = "dnf" if find_tool(host, "dnf") is not None else "yum"
    if find_tool(host, name) is None:
        raise UnavailableError("this host has neither apt-get nor dnf")
    # 100 means that there are updates, dnf(8).
    ended = await run_tool(host, name, "-C", "-q", "check-update", timeout_s=120.0, codes=(0, 100))
    rows = list(package_lists.dnf_pending(ended.text))
    return _told(host, "dnf", rows, int(limit), f"{host.var}/cache/{name}", _dnf_method(host))


def _told(
    host: Host, manager: str, rows: list[dict[str, Any]], limit: int, lists: str, method: str | None
) -> dict[str, Any]:
    is_debian = manager == "apt"
    named = trees.text_or_nothing(f"{host.run}/reboot-required.pkgs", _MAX_CONFIGURATION_BYTES).split()
    return {
        "manager": manager, "pending": rows[:limit], "more": len(rows) > limit, "checked": _fetched(lists),
        "reboot_required": os.path.exists(f"{host.run}/reboot-required") if is_debian else None,
        "reboot_packages": sorted(set(named))[:200] if is_debian else None, "automatic": method is not None,
        "method": method or "none",
    }  # fmt: skip


def _fetched(place: str) -> float | None:
    times = []
    for name in ("", *trees.names(place)):
        with suppress(OSError):  # it went away meanwhile
            times.append(os.stat(f"{place}/{name}").st_mtime)
    return max(times, default=None)


def _apt_method(host: Host) -> str | None:
    place = f"{host.etc}/apt/apt.conf.d"
    texts = [trees.text_or_nothing(f"{place}/{name}", _MAX_CONFIGURATION_BYTES) for name in trees.names(place)]
    return "unattended-upgrades" if package_lists.apt_is_automatic("\n".join(texts)) else None


def _dnf_method(host: Host) -> str | None:
    text = trees.text_or_nothing(f"{host.etc}/dnf/automatic.conf", _MAX_CONFIGURATION_BYTES)
    return "dnf-automatic" if package_lists.dnf_is_automatic(text) else None
