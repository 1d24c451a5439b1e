"""systemd's units: their names, checked, and what ``systemctl show`` prints about them, read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from stdlib.parameters import Form

#: systemd.unit(5); no leading dash, no pattern, no slash.
NAME = Form(r"[A-Za-z0-9_][A-Za-z0-9:_.\\@-]{0,240}", "cannot be the name of a unit")
KINDS = ("service", "timer", "socket", "target", "path", "mount", "automount", "swap", "slice", "scope", "device")
_MICROSECONDS_OF_NEVER = (0, (1 << 64) - 1)


def unit_name(name: str, parameter: str, kind: str = "service") -> str:
    """Return the full name of a unit; ``.service`` may be left out.

    Raises:
        ArgumentError: It cannot be the name of a unit.
    """
    NAME.require(name, parameter)
    return name if name.rpartition(".")[2] in KINDS and "." in name else f"{name}.{kind}"


def blocks(printed: str) -> Iterator[dict[str, str]]:
    """Yield the properties of each unit that ``systemctl show`` printed: blocks of lines, an empty line between."""
    for block in printed.split("\n\n"):
        told = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        if told:
            yield told


def moment(text: str | None) -> float | None:
    """Return a time that systemctl printed in UTC (``Thu 2026-11-26 02:37:16 UTC``) as seconds since 1970 UTC."""
    match = re.fullmatch(r"(?:\w+ )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? UTC", text or "")
    if match is None:  # empty or n/a: never
        return None
    whole = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return whole + float(match[2] or 0)


def count(text: str | None) -> int | None:
    """Return a number that systemctl printed; None for ``[not set]`` and for what stands for no limit."""
    if text is None or not text.isdecimal():
        return None
    return None if int(text) == _MICROSECONDS_OF_NEVER[1] else int(text)


def summary(told: dict[str, str]) -> dict[str, Any]:
    """Return what a list says of a service."""
    pid = count(told.get("MainPID"))
    return {
        "name": told.get("Id", ""), "description": told.get("Description", ""), "load": told.get("LoadState"),
        "state": told.get("ActiveState"), "sub": told.get("SubState"), "enabled": told.get("UnitFileState") or None,
        "pid": pid or None, "since": moment(told.get("ActiveEnterTimestamp")),
    }  # fmt: skip


SUMMARY = "Id,Description,LoadState,ActiveState,SubState,UnitFileState,MainPID,ActiveEnterTimestamp"
DETAILS = (
    f"{SUMMARY},Type,Result,ExecMainStatus,ExecMainCode,NRestarts,Restart,MemoryCurrent,TasksCurrent,CPUUsageNSec,"
    "FragmentPath,User,Names,Requires,After,TriggeredBy,InactiveEnterTimestamp,ControlGroup"
)
TIMER = "Id,Unit,ActiveState,UnitFileState,NextElapseUSecRealtime,LastTriggerUSec,Result,Persistent"


def details(told: dict[str, str]) -> dict[str, Any]:
    """Return what is told of one service."""
    cpu_ns = count(told.get("CPUUsageNSec"))
    return {
        **summary(told), "type": told.get("Type"), "result": told.get("Result"),
        "exit_status": count(told.get("ExecMainStatus")), "restarts": count(told.get("NRestarts")),
        "restart": told.get("Restart"), "memory": count(told.get("MemoryCurrent")),
        "tasks": count(told.get("TasksCurrent")), "cpu": None if cpu_ns is None else cpu_ns / 1e9,
        "file": told.get("FragmentPath") or None, "user": told.get("User") or None,
        "names": told.get("Names", "").split(), "requires": told.get("Requires", "").split(),
        "ended": moment(told.get("InactiveEnterTimestamp")), "group": told.get("ControlGroup") or None,
    }  # fmt: skip


def timer(told: dict[str, str]) -> dict[str, Any]:
    """Return what is told of one timer."""
    return {
        "name": told.get("Id", ""), "unit": told.get("Unit"), "state": told.get("ActiveState"),
        "enabled": told.get("UnitFileState") or None, "next": moment(told.get("NextElapseUSecRealtime")),
        "last": moment(told.get("LastTriggerUSec")), "result": told.get("Result"),
        "persistent": told.get("Persistent") == "yes",
    }  # fmt: skip
