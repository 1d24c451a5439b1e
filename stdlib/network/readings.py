"""What services say about themselves, read from their own text: Redis' INFO, the status pages of Apache and nginx."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from protocol.errors import UnavailableError

#: Our name -> its names in INFO, newest first. Servers before 2.6 had the older ones.
_REDIS: Final = {
    "uptime_in_seconds": ("uptime_in_seconds",), "connected_clients": ("connected_clients",),
    "blocked_clients": ("blocked_clients",), "used_memory": ("used_memory",),
    "bgsave_in_progress": ("rdb_bgsave_in_progress", "bgsave_in_progress"),
    "changes_since_last_save": ("rdb_changes_since_last_save", "changes_since_last_save"),
    "bgrewriteaof_in_progress": ("aof_rewrite_in_progress", "bgrewriteaof_in_progress"),
    "total_connections_received": ("total_connections_received",),
    "total_commands_processed": ("total_commands_processed",), "expired_keys": ("expired_keys",),
    "evicted_keys": ("evicted_keys",), "pubsub_patterns": ("pubsub_patterns",),
    "connected_slaves": ("connected_slaves",),
}  # fmt: skip

#: Letters of Apache's scoreboard, mod_status.
_SCOREBOARD: Final = {
    "_": "waiting", "S": "starting", "R": "reading", "W": "sending", "K": "keepalive", "D": "dns", "C": "closing",
    "L": "logging", "G": "gracefully_finishing", "I": "idle", ".": "open",
}  # fmt: skip


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_APACHE: Final[dict[str, tuple[str, Callable[[str], float | int]]]] = {
    "Total Accesses": ("total_accesses", int), "Total kBytes": ("total_kbytes", int), "Uptime": ("uptime", int),
    "ReqPerSec": ("requests_per_second", _real), "BytesPerSec": ("bytes_per_second", _real),
    "BytesPerReq": ("bytes_per_request", _real), "BusyWorkers": ("busy_workers", int),
    "IdleWorkers": ("idle_workers", int), "CPULoad": ("cpu_load", _real),
}  # fmt: skip

_NGINX: Final = re.compile(
    r"Active connections: ([0-9]{1,18}) *\r?\nserver accepts handled requests\r?\n"
    r" ([0-9]{1,18}) ([0-9]{1,18}) ([0-9]{1,18}) *\r?\n"
    r"Reading: ([0-9]{1,18}) Writing: ([0-9]{1,18}) Waiting: ([0-9]{1,18}) *(\r?\n)?"
)


def redis(text: str) -> dict[str, Any]:
    """Return what INFO says.

    Raises:
        UnavailableError: It is not INFO.
    """
    said = dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    version = said.get("redis_version")
    if version is None:
        raise UnavailableError("what answers is no Redis")
    found: dict[str, Any] = {"version": version[:64], "role": said.get("role", "")[:64] or None}
    return found | {name: _number(said, keys) for name, keys in _REDIS.items()}


def _number(said: Mapping[str, str], keys: tuple[str, ...]) -> int | None:
    text = next((said[key] for key in keys if key in said), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def status_page(text: str) -> dict[str, Any]:
    """Return what a status page says, and of which ``server``: ``apache`` or ``nginx``.

    Raises:
        UnavailableError: It is neither Apache's ``server-status?auto`` nor nginx's ``stub_status``.
    """
    nginx = _NGINX.fullmatch(text)
    if nginx is not None:
        names = ("active", "accepts", "handled", "requests", "reading", "writing", "waiting")
        return {"server": "nginx", **dict(zip(names, map(int, nginx.groups()[:7]), strict=True))}
    said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "Scoreboard" not in said or "BusyWorkers" not in said:
        raise UnavailableError("the page is neither Apache's server-status?auto nor nginx's stub_status")
    found: dict[str, Any] = {"server": "apache"}
    for key, (name, read) in _APACHE.items():
        try:
            found[name] = read(said[key]) if len(said.get(key, "")) < 40 else None
        except (KeyError, ValueError):
            found[name] = None  # without ExtendedStatus there is less
    board = said["Scoreboard"]
    return found | {name: board.count(letter) for letter, name in _SCOREBOARD.items()}
