"""``net.*`` of sockets: who listens, who is connected, and, one tier higher, whose they are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal

from protocol.errors import UnavailableError
from protocol.tiers import Tier
from stdlib import accounts, socket_tables, trees, unix_sockets
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds

MAX_ROWS = 5_000  # of one answer: each has 12 fields
_MAX_TABLE_BYTES = 64 << 20  # 400,000 sockets
_MAX_DESCRIPTORS = 1_000_000  # looked at in one search for owners
_TABLES = {
    "tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6", "udplite", "udplite6"), "raw": ("raw", "raw6"), "unix": ("unix",),
}  # fmt: skip
_LISTENING = {"tcp": ("listen",), "udp": ("close",), "raw": ("close",)}  # a UDP socket without a peer is "close"


@call(
    "net.listeners",
    tier=Tier.OBSERVE,
    lua='local open = net.listeners("tcp").listeners',
    python='open = net.listeners("tcp")["listeners"]',
)
def listeners(
    host: Host,
    proto: Literal["inet", "tcp", "udp", "raw", "unix"] = "inet",
    limit: Annotated[int, Bounds(1, MAX_ROWS)] = 1_000,
) -> dict[str, Any]:
    """Return ``{listeners, more}``: the sockets that wait for somebody; inet is TCP and UDP.

    Each is ``protocol``, ``family`` (ipv4 or ipv6), ``local_address``, ``local_port``, ``receive_queue`` (waiting
    connections of TCP, waiting bytes of UDP), ``uid``, ``user``, ``inode``; of unix ``protocol``, ``type``, ``path``,
    ``inode``. Whose process it is, net.socket_owners tells. Source: /proc/net; of unix sock_diag(7).
    """
    if proto == "unix":
        rows: Iterator[dict[str, Any]] = (
            {name: row[name] for name in ("protocol", "type", "path", "inode")}
            for row in _local(host)
            if row["state"] == "listen"
        )
        return _page("listeners", rows, int(limit))
    names = _names(host)
    kinds = ("tcp", "udp") if proto == "inet" else (proto,)
    found = (row for kind in kinds for row in _inet(host, kind, _LISTENING[kind]))
    return _page("listeners", (_listener(row, names) for row in found), int(limit))


def _listener(row: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    kept = ("protocol", "family", "local_address", "local_port", "receive_queue", "uid", "inode")
    return {**{name: row[name] for name in kept}, "user": names.get(row["uid"])}


@call(
    "net.sockets",
    tier=Tier.OBSERVE,
    lua='local busy = net.sockets({proto = "tcp", state = "established"}).sockets',
    python='busy = net.sockets(proto="tcp", state="established")["sockets"]',
)
def sockets(
    host: Host,
    proto: Literal["inet", "tcp", "udp", "raw", "unix"] = "inet",
    state: Literal[
        "all",
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
        "new_syn_recv",
    ] = "all",
    offset: Annotated[int, Bounds(0, 1_000_000)] = 0,
    limit: Annotated[int, Bounds(1, MAX_ROWS)] = 1_000,
) -> dict[str, Any]:
    """Return ``{sockets, states, more}``: the sockets from ``offset`` on, and how many there are in each state.

    Each is ``protocol``, ``family`` (ipv4 or ipv6), ``state``, ``local_address``, ``local_port``, ``remote_address``,
    ``remote_port``, ``send_queue``, ``receive_queue`` (bytes), ``uid``, ``user``, ``inode``; of unix ``protocol``,
    ``type``, ``state``, ``path``, ``inode``, whatever state is asked for. Whose process it is, net.socket_owners tells.
    Source: /proc/net; of unix sock_diag(7).
    """
    if proto == "unix":
        found = list(_local(host))
    else:
        kinds = ("tcp", "udp") if proto == "inet" else (proto,)
        found = [row for kind in kinds for row in _inet(host, kind, None if state == "all" else (state,))]
    first, last = int(offset), int(offset) + int(limit)
    names = {} if proto == "unix" else _names(host)
    page = [row if proto == "unix" else {**row, "user": names.get(row["uid"])} for row in found[first:last]]
    states = Counter(row["state"] for row in found)
    return {"sockets": page, "states": dict(states), "more": len(found) > last}


def _inet(host: Host, kind: str, states: tuple[str, ...] | None) -> Iterator[dict[str, Any]]:
    tables = [_text(host, file, may_lack=file != kind) for file in _TABLES[kind]]  # no IPv6, no UDP-Lite
    for text in tables:
        yield from socket_tables.inet(text, kind, states)


def _local(host: Host) -> Iterable[dict[str, Any]]:
    told = unix_sockets.told() if host.proc == Host.proc else None
    return socket_tables.local(_text(host, "unix")) if told is None else told


def _text(host: Host, file: str, *, may_lack: bool = False) -> str:
    path = f"{host.proc}/net/{file}"
    return trees.text_or_nothing(path, _MAX_TABLE_BYTES) if may_lack else trees.text_of(path, _MAX_TABLE_BYTES)


def _names(host: Host) -> dict[int, str]:
    return {row["uid"]: row["name"] for row in accounts.users(trees.text_or_nothing(f"{host.etc}/passwd", 8 << 20))}


def _page(name: str, rows: Iterator[dict[str, Any]], limit: int) -> dict[str, Any]:
    found = [row for row, _ in zip(rows, range(limit + 1), strict=False)]
    return {name: found[:limit], "more": len(found) > limit}


@call(
    "net.socket_owners",
    tier=Tier.INSPECT,
    lua="local owners = net.socket_owners().owners",
    python='owners = net.socket_owners()["owners"]',
)
def socket_owners(
    host: Host,
    inode: Annotated[int, Bounds(1, (1 << 53) - 1)] | None = None,
    limit: Annotated[int, Bounds(1, 20_000)] = 5_000,
) -> dict[str, Any]:
    """Return ``{owners, more, unread}``: which processes hold which sockets, or only those of one ``inode``.

    Each is ``inode`` (as net.sockets tells it), ``pid``, ``process`` (name). Processes of others that the agent may not
    look into are counted, not told. Source: /proc/PID/fd.

    Raises:
        UnavailableError: No process can be looked into.
    """
    found: list[dict[str, Any]] = []
    unread, looked, read = 0, 0, 0
    for pid in filter(str.isdecimal, trees.names(host.proc)):
        inodes = _sockets_of(f"{host.proc}/{pid}/fd")
        if inodes is None:
            unread += os.path.isdir(f"{host.proc}/{pid}")
            continue
        read, looked = read + 1, looked + len(inodes)
        wanted = sorted(item for item in inodes if inode in (None, item))
        process = trees.value(f"{host.proc}/{pid}/comm") if wanted else None
        found += [{"inode": item, "pid": int(pid), "process": process} for item in wanted]
        if len(found) > int(limit) or looked > _MAX_DESCRIPTORS:
            break
    if not read:
        raise UnavailableError("no process can be looked into")
    return {"owners": found[: int(limit)], "more": len(found) > int(limit), "unread": unread}


def _sockets_of(place: str) -> set[int] | None:
    """Return the inodes of the sockets that a process holds; None if it may not be looked into."""
    found = set()
    try:
        with os.scandir(place) as entries:
            for entry, _ in zip(entries, range(_MAX_DESCRIPTORS), strict=False):
                with suppress(OSError):  # it was closed meanwhile
                    kind, _, number = os.readlink(f"{place}/{entry.name}").partition(":[")
                    if kind == "socket":
                        found.add(int(number.rstrip("]")))
    except OSError:
        return None
    return found
