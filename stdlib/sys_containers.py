"""``sys.containers``: what runs in containers here, told by the control groups of processes.

The engines' sockets are not asked: who may talk to them is root on the host. Names and images come from the files that
the engines keep, of which only those two fields are read.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from protocol.tiers import Tier
from stdlib import trees
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds

MAX_CONTAINERS = 1_000
_MAX_CONFIGURATION_BYTES = 1 << 20
_MAX_STORE_BYTES = 8 << 20
_ID = "[0-9a-f]{64}"
#: What the engines put into the path of a control group. The first that fits counts.
_GROUPS = (
    (re.compile(rf"docker[-/]({_ID})"), "docker"), (re.compile(rf"libpod-(?:conmon-)?({_ID})"), "podman"),
    (re.compile(rf"cri-containerd[-:]({_ID})"), "containerd"), (re.compile(rf"crio-(?:conmon-)?({_ID})"), "cri-o"),
    (re.compile(rf"kubepods\S*/({_ID})"), "kubernetes"), (re.compile(r"lxc(?:\.payload)?[./]([A-Za-z0-9_.-]+)"), "lxc"),
    (re.compile(r"systemd-nspawn@([A-Za-z0-9_.\\-]+)\.service"), "systemd-nspawn"),
    (re.compile(r"machine-([A-Za-z0-9_.\\-]+)\.scope"), "machine"),
)  # fmt: skip


@call(
    "sys.containers",
    tier=Tier.OBSERVE,
    lua="local found = sys.containers().containers",
    python='found = sys.containers()["containers"]',
)
def containers(host: Host, limit: Annotated[int, Bounds(1, MAX_CONTAINERS)] = 200) -> dict[str, Any]:
    """Return ``{containers, more}``: the containers that have a process now, by runtime and id.

    Each is ``runtime`` (docker, podman, containerd, cri-o, kubernetes, lxc, systemd-nspawn, machine), ``id``,
    ``processes`` (count), ``pid`` (the lowest), ``name`` and ``image`` (of Docker's and Podman's, where the agent may
    read their files; nothing otherwise). Source: /proc/PID/cgroup, cgroups(7).
    """
    found: dict[tuple[str, str], list[int]] = {}
    for name in trees.names(host.proc):
        if name.isdecimal():
            for key in _of_process(trees.value(f"{host.proc}/{name}/cgroup") or ""):
                found.setdefault(key, []).append(int(name))
    podman = _podman_names(host) if any(runtime == "podman" for runtime, _ in found) else {}
    rows = [_row(host, key, found[key], podman) for key in sorted(found)[: int(limit)]]
    return {"containers": rows, "more": len(found) > int(limit)}


def _of_process(groups: str) -> list[tuple[str, str]]:
    for pattern, runtime in _GROUPS:
        match = pattern.search(groups)
        if match:
            return [(runtime, match[1])]
    return []


def _row(
    host: Host, key: tuple[str, str], pids: list[int], podman: dict[str, tuple[str | None, str | None]]
) -> dict[str, Any]:
    runtime, name = key
    told: tuple[str | None, str | None] = (None, None)
    if runtime == "docker":
        told = _docker_names(host, name)
    elif runtime == "podman":
        told = podman.get(name, told)
    elif not re.fullmatch(_ID, name):
        told = (name, None)
    return {
        "runtime": runtime, "id": name, "processes": len(pids), "pid": min(pids), "name": told[0], "image": told[1],
    }  # fmt: skip


def _docker_names(host: Host, name: str) -> tuple[str | None, str | None]:
    told = _json(f"{host.var}/lib/docker/containers/{name}/config.v2.json", _MAX_CONFIGURATION_BYTES)
    if not isinstance(told, dict):
        return None, None
    inside = told.get("Config")
    return _text(told.get("Name"), "/"), _text(inside.get("Image")) if isinstance(inside, dict) else None


def _podman_names(host: Host) -> dict[str, tuple[str | None, str | None]]:
    """Return name and image of the containers in the system's own store."""
    told = _json(f"{host.var}/lib/containers/storage/overlay-containers/containers.json", _MAX_STORE_BYTES)
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return {str(row.get("id")): (_first(row.get("names")), _image(row.get("metadata"))) for row in rows}


def _first(value: Any) -> str | None:
    return _text(value[0]) if isinstance(value, list) and value else None


def _image(metadata: Any) -> str | None:
    """Return the image's name, which stands in JSON within the JSON."""
    try:
        told = json.loads(metadata) if isinstance(metadata, str) else None
    except ValueError:
        return None
    return _text(told.get("image-name")) if isinstance(told, dict) else None


def _text(value: Any, prefix: str = "") -> str | None:
    return value.removeprefix(prefix)[:256] if isinstance(value, str) else None


def _json(path: str, most_bytes: int) -> Any:
    try:
        read = trees.read(path, most_bytes)
        return None if read.truncated else json.loads(read.data)
    except (OSError, ValueError):  # not there, not for us, or being written: the names are not told then
        return None
