"""``sys.*`` of services: those of systemd, or the scripts of init.d where there is no systemd.

systemd answers on its own socket, in the D-Bus protocol. ``systemctl show`` speaks it for us, with fixed arguments and
fixed properties: a D-Bus library in the agent would be more to trust than the program that is there anyway.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from protocol.errors import NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees, units
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Length
from stdlib.tools import run_tool

MAX_SERVICES = 2_000  # of one answer: each has 8 fields
_RUN_LEVELS = tuple("2345S")


@call(
    "sys.services",
    tier=Tier.OBSERVE,
    lua='local failed = sys.services({state = "failed"}).services',
    python='failed = sys.services(state="failed")["services"]',
)
async def services(
    host: Host,
    match: Annotated[str, Length(200)] = "",
    state: Literal["all", "active", "inactive", "failed", "activating", "deactivating", "reloading"] = "all",
    limit: Annotated[int, Bounds(1, MAX_SERVICES)] = 1_000,
) -> dict[str, Any]:
    """Return ``{manager, services, more}``: the services by name whose name holds ``match``.

    The manager is systemd or init.d. Each service is ``name``, ``description``, ``load`` (loaded, not-found, masked),
    ``state`` (active, inactive, failed), ``sub`` (such as running, exited, dead), ``enabled`` (enabled, disabled,
    static, masked), ``pid`` (of its main process), ``since`` (active since, seconds since 1970 UTC). systemd tells of
    what it has in memory: what is active, failed, or needed by such. With init.d only name, ``enabled`` and
    ``description`` are told. Source: ``systemctl show``; /etc/init.d and /etc/rc?.d.
    """
    if not has_systemd(host):
        return _init_scripts(host, match, int(limit))
    ended = await run_tool(host, "systemctl", "show", "--no-pager", f"--property={units.SUMMARY}", "--", "*.service")
    rows = [units.summary(told) for told in units.blocks(ended.text)]
    found = sorted(
        (row for row in rows if match in row["name"] and state in ("all", row["state"])), key=lambda row: row["name"]
    )
    more = ended.truncated or len(found) > int(limit)
    return {"manager": "systemd", "services": found[: int(limit)], "more": more}


def has_systemd(host: Host) -> bool:
    """Tell whether systemd runs the host. Source: sd_booted(3)."""
    return os.path.isdir(f"{host.run}/systemd/system")


def require_systemd(host: Host) -> None:
    """Return if systemd runs the host.

    Raises:
        UnavailableError: It does not.
    """
    if not has_systemd(host):
        raise UnavailableError("this host is not run by systemd")


def _init_scripts(host: Host, match: str, limit: int) -> dict[str, Any]:
    names = [name for name in trees.names(f"{host.etc}/init.d") if match in name and name not in ("README", "rcS")]
    if not os.path.isdir(f"{host.etc}/init.d"):
        raise UnavailableError(f"this host is not run by systemd and has no {host.etc}/init.d")
    started = {
        re.sub(r"^S\d\d", "", link)
        for level in _RUN_LEVELS
        for link in trees.names(f"{host.etc}/rc{level}.d")
        if re.match(r"S\d\d", link)
    }
    rows = [
        {
            "name": name, "description": _description(f"{host.etc}/init.d/{name}"), "load": None, "state": None,
            "sub": None, "enabled": "enabled" if name in started else "disabled", "pid": None, "since": None,
        }
        for name in names[:limit]
    ]  # fmt: skip
    return {"manager": "init.d", "services": rows, "more": len(names) > limit}


def _description(path: str) -> str:
    """Return the short description of an init script. Source: LSB, init script comment conventions."""
    match = re.search(r"^# Short-Description:\s*(.*)$", trees.text_or_nothing(path, 64 << 10), re.MULTILINE)
    return match[1].strip() if match else ""


@call(
    "sys.service",
    tier=Tier.OBSERVE,
    lua='local found = sys.service("cron").state',
    python='found = sys.service("cron")["state"]',
)
async def service(host: Host, name: Annotated[str, Length(256), units.NAME]) -> dict[str, Any]:
    """Return what systemd tells of the unit ``name``; ``.service`` may be left out.

    What sys.services gives (``name``, ``description``, ``load``, ``state``, ``sub``, ``enabled``, ``pid``, ``since``)
    and ``type``, ``result`` (success or why it failed), ``exit_status``, ``restarts`` (count), ``restart`` (when
    systemd starts it anew), ``memory`` (bytes), ``tasks``, ``cpu`` (seconds), ``file``, ``user``, ``names``,
    ``requires``, ``ended`` (seconds since 1970 UTC), ``group`` (its control group). What is not counted is nothing.
    Source: ``systemctl show``.
    """
    return await described(host, units.unit_name(name, "name"))


async def described(host: Host, unit: str) -> dict[str, Any]:
    """Return what systemd tells of one unit.

    Raises:
        NotFoundError: There is no such unit.
        UnavailableError: No systemd.
    """
    require_systemd(host)
    ended = await run_tool(host, "systemctl", "show", "--no-pager", f"--property={units.DETAILS}", "--", unit)
    told = next(units.blocks(ended.text), {})
    if told.get("LoadState", "not-found") == "not-found":
        raise NotFoundError(f"there is no unit {unit!r:.80}")
    return units.details(told)


@call("sys.timers", tier=Tier.INSPECT, lua="local timers = sys.timers()", python="timers = sys.timers()")
async def timers(host: Host) -> list[dict[str, Any]]:
    """Return systemd's timers by name, at most 2000.

    ``name``, ``unit`` (what it starts), ``state``, ``enabled``, ``next`` and ``last`` (seconds since 1970 UTC, or
    nothing), ``result``, ``persistent`` (whether it makes up for a time when the host was off).
    Source: ``systemctl show``.
    """
    require_systemd(host)
    ended = await run_tool(host, "systemctl", "show", "--no-pager", f"--property={units.TIMER}", "--", "*.timer")
    rows = [units.timer(told) for told in units.blocks(ended.text)]
    return sorted(rows, key=lambda row: str(row["name"]))[:MAX_SERVICES]
