"""Every field that a call about the host gives is in its text, and every field in the text is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from documented import family, names_in_text
from exemplary import ON_MADE_HOST, exemplary
from running import perform

from stdlib.catalogue import load

CHANGING = {spec.name for spec in load() if spec.changes}
#: What is compared in tests of their own, with types.
ELSEWHERE = {
    "sys.host", "sys.uptime", "sys.loadavg", "sys.memory", "sys.cpu", "sys.cpu_info", "sys.disks", "sys.clock",
    "sys.env", "sys.pressure", "sys.sysctl", "net.interfaces", "net.counters",
}  # fmt: skip
ARGUMENTS: dict[str, list[Any]] = {
    "sys.user": ["mia"], "sys.group": ["adm"], "sys.service": ["cron"], "sys.smart": ["sda"], "sys.disk_io": ["sda"],
}  # fmt: skip
#: Rows within rows, whose fields are said without quotes.
INSIDE = {
    "sys.last_logins": {"time", "kernel"}, "sys.updates": {"name", "installed", "candidate", "security"},
    "sys.smart": {"id", "name", "value", "worst", "threshold", "raw", "failed"},
    "sys.hardware": {
        "address", "class", "vendor", "device", "driver", "name", "product", "manufacturer", "description",
    },
}  # fmt: skip
OF_UNIX = {"net.listeners": {"path", "type"}, "net.sockets": {"path", "type"}}
OF_SUMMARY = {"sys.audit_events": {"more"}}
CALLS = sorted((family("sys") | {f"net.{name}" for name in (
    "firewall", "listeners", "neighbours", "routes", "socket_owners", "sockets",
)}) - ELSEWHERE - CHANGING)  # fmt: skip


def told(value: Any) -> set[str]:
    """The names of fields of a value: its own, and those of the rows in it."""
    rows = [value] if isinstance(value, dict) else value
    found: set[str] = set()
    for row in rows:
        found |= set(row)
        for inside in row.values():
            if isinstance(inside, list) and inside and isinstance(inside[0], dict):
                found |= told(inside)
    return found


@pytest.mark.parametrize("name", CALLS)
async def test_fields_are_those_of_the_text(name: str, tmp_path: Path) -> None:
    made = exemplary(tmp_path)
    made.put("proc/9/cgroup", f"0::/system.slice/docker-{'ab' * 32}.scope\n")
    on_made = name in ON_MADE_HOST | {"sys.user", "sys.group", "sys.users", "sys.containers"}
    value = await perform(name, *ARGUMENTS.get(name, []), host=made.host if on_made else None)
    fields = told(value)
    assert fields
    if name == "sys.users":
        fields -= told(await perform("sys.user", "mia", host=made.host))  # its text refers to that call
    spec = load().find(name)
    assert spec is not None
    in_text = {word for word in names_in_text(name) if re.fullmatch("[a-z0-9_]+", word)}
    elsewhere = OF_UNIX.get(name, set()) | OF_SUMMARY.get(name, set())
    assert in_text - fields <= elsewhere, "the text promises what is not there"
    assert fields - in_text <= INSIDE.get(name, set()) | {item.name for item in spec.parameters}, "it is not said"
    json.dumps(value)  # plain data only
