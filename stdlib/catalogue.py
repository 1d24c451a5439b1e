"""The catalogue: the one list of all calls, and what readers of scripts and workers are told of them.

The calls are what ``stdlib.declaring`` made of the declarations on their implementations.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from protocol.tiers import Tier
from stdlib.call_specs import CallSpec, all_declared
from stdlib.parameters import Parameter

#: The modules that declare calls; a family may have several.
FAMILIES = (
    "check", "consent", "data", "data_bytes", "data_names", "fs", "fs_blobs", "fs_content", "fs_entries",
    "fs_lines", "fs_open", "fs_open_write", "fs_search", "fs_tail", "fs_temporary", "fs_usage", "fs_walk", "fs_watch",
    "fs_write", "log", "net_databases", "net_download", "net_firewall", "net_forward", "net_http", "net_probes",
    "net_services", "net_sockets", "net_streams", "net_tables", "proc", "run", "script", "secrets", "state", "sys",
    "sys_audit", "sys_changes", "sys_clock", "sys_containers", "sys_cron", "sys_disks", "sys_hardware", "sys_kernel",
    "sys_logs", "sys_packages", "sys_services", "sys_users", "time", "tty", "tty_login", "tty_people",
)  # fmt: skip


class Catalogue:
    """All calls, by name. The agent, which must be small, has ``stdlib.index.Index`` in its place."""

    def __init__(self, specs: Mapping[str, CallSpec]) -> None:
        self._specs = dict(sorted(specs.items()))

    def find(self, name: str) -> CallSpec | None:
        """Return the call that the gate may make under ``name``; None for an unknown or a local one."""
        spec = self._specs.get(name)
        return None if spec is None or spec.is_local else spec

    def __iter__(self) -> Iterator[CallSpec]:
        return iter(self._specs.values())

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return list(self._specs)

    def tables(self) -> list[dict[str, Any]]:
        """Return what static analysis knows of the calls, as plain data (see ``sandbox.call_tables``)."""
        return [_table(spec) for spec in self]

    def tiers(self) -> dict[str, Tier]:
        """Return the tier of each call, for static analysis."""
        return {spec.name: spec.tier for spec in self}

    def bindings(self) -> list[dict[str, Any]]:
        """Return what a worker knows of the calls, as plain data."""
        return [
            {
                "name": spec.name, "parameters": [item.name for item in spec.parameters], "local": spec.is_local,
                "maps": [place for place, item in enumerate(spec.parameters) if item.is_map],
                "method": spec.is_method,
            }
            for spec in self
        ]  # fmt: skip


def _table(spec: CallSpec) -> dict[str, Any]:
    return {
        "name": spec.name, "tier": spec.tier.label, "local": spec.is_local,
        "gives": spec.gives, "handle": spec.gives_kind,
        "parameters": [_row(spec, item) for item in spec.parameters],
    }  # fmt: skip


def _row(spec: CallSpec, item: Parameter) -> dict[str, Any]:
    row: dict[str, Any] = {"name": item.name, "kind": item.kind, "required": item.is_required, "map": item.is_map}
    if item.bounds is not None:
        row |= {"low": item.bounds.low, "high": item.bounds.high}
    if item.choices:
        row["choices"] = list(item.choices)
    if item.form is not None:
        row |= {"form": item.form.pattern, "told": item.form.told}
    if item.is_path or item.is_target:
        row["role"] = "path" if item.is_path else "target"
        if item.is_path and spec.below:
            row["below"] = spec.below
    elif item.name == spec.command:
        row["role"] = "command"
    return row


@cache
def load() -> Catalogue:
    """Return the catalogue of all families."""
    for family in FAMILIES:
        importlib.import_module(f"stdlib.{family}")
    return Catalogue(all_declared())
