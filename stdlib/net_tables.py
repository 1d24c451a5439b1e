"""``net.*``: interfaces and their counters, routes and neighbours, as the kernel has them."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import psutil

from protocol.errors import NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import rtnetlink, trees
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Bounds, Length

#: Columns of /proc/net/dev, proc(5): eight of what was received, eight of what was sent.
_COLUMNS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_overruns", "rx_frame", "rx_compressed", "rx_multicast",
    "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_overruns", "tx_collisions", "tx_carrier", "tx_compressed",
)  # fmt: skip


#: Kinds of hardware that say more than their number, linux/if_arp.h.
_TYPES = {
    1: "ethernet", 24: "firewire", 32: "infiniband", 512: "ppp", 768: "tunnel", 769: "tunnel", 772: "loopback",
    776: "tunnel", 778: "tunnel", 801: "wlan", 802: "wlan", 803: "wlan", 823: "tunnel", 65534: "none",
}  # fmt: skip


@call("net.interfaces", tier=Tier.OBSERVE, lua="local all = net.interfaces()", python="all = net.interfaces()")
def interfaces(host: Host) -> list[dict[str, Any]]:
    """Return the interfaces by name.

    ``name``, ``type`` (ethernet, loopback, wlan, bridge, vlan, bond, tunnel, ppp, wireguard, none or unknown),
    ``address``, ``netmask``, ``broadcast``, ``address6`` (the first of each, or nothing), ``mac``, ``mtu`` (bytes),
    ``flags`` (texts), ``link_state`` (up, down), ``internal`` (loopback).
    """
    addresses, states = psutil.net_if_addrs(), psutil.net_if_stats()
    return [_interface(host, name, addresses.get(name, []), states.get(name)) for name in sorted(states)]


def _interface(host: Host, name: str, addresses: list[Any], state: Any) -> dict[str, Any]:
    first = {address.family: address for address in reversed(addresses)}
    four, six, link = first.get(socket.AF_INET), first.get(socket.AF_INET6), first.get(psutil.AF_LINK)
    flags = [flag for flag in getattr(state, "flags", "").split(",") if flag]
    return {
        "name": name, "type": _type(host, name), "address": four and four.address, "netmask": four and four.netmask,
        "broadcast": four and four.broadcast, "address6": six and six.address.partition("%")[0],
        "mac": link and link.address, "mtu": state.mtu, "flags": flags,
        "link_state": "up" if state.isup else "down", "internal": "loopback" in flags,
    }  # fmt: skip


def _type(host: Host, name: str) -> str:
    place = f"{host.sys}/class/net/{name}"
    told = trees.settings(trees.value(f"{place}/uevent") or "").get("DEVTYPE")
    return told or _TYPES.get(trees.number(f"{place}/type") or 0, "unknown")


@call(
    "net.counters",
    tier=Tier.OBSERVE,
    lua='local sent = net.counters("lo").tx_bytes',
    python='sent = net.counters("lo")["tx_bytes"]',
)
async def counters(host: Host, name: Annotated[str, Length(64)]) -> dict[str, Any]:
    """Return the counters of interface ``name`` since it came up, and its ``link_state`` (up, down, unknown).

    ``rx_`` and ``tx_`` of ``bytes``, ``packets``, ``errors``, ``dropped``, ``overruns``, ``compressed``; ``rx_frame``,
    ``rx_multicast``, ``tx_carrier``, ``tx_collisions``.
    """
    for line in read_kernel(host, "net/dev").split("\n")[2:-1]:
        found, _, numbers = line.partition(":")
        if found.strip() == name:
            values = dict(zip(_COLUMNS, map(int, numbers.split()), strict=False))
            return {**values, "link_state": _link_state(name)}
    raise NotFoundError(f"there is no interface {name!r:.80}")


def _link_state(name: str) -> str:
    state = psutil.net_if_stats().get(name)
    return "unknown" if state is None else ("up" if state.isup else "down")


MAX_ROUTES = 5_000  # of one answer: each has 12 fields; a router of the whole internet has a million
_MAX_TABLE_BYTES = 32 << 20
#: Letters of route(8) for the bits of linux/route.h and linux/ipv6_route.h.
_FLAGS = (
    (0x1, "U"), (0x2, "G"), (0x4, "H"), (0x8, "R"), (0x10, "D"), (0x20, "M"), (0x40000, "A"), (0x1000000, "C"),
    (0x200, "!"),
)  # fmt: skip


@call(
    "net.routes",
    tier=Tier.OBSERVE,
    lua='local four = net.routes("ipv4").routes',
    python='four = net.routes("ipv4")["routes"]',
)
def routes(
    host: Host,
    family: Literal["all", "ipv4", "ipv6"] = "all",
    limit: Annotated[int, Bounds(1, MAX_ROUTES)] = 1_000,
) -> dict[str, Any]:
    """Return ``{routes, more}``: the kernel's main table for each family.

    Each is ``family``, ``destination`` (address/prefix), ``gateway`` (or nothing), ``netmask`` (ipv4), ``interface``,
    ``flags`` (letters of route(8)), ``metric``, ``references``, ``used`` (counts), ``mss``, ``window`` (bytes) and
    ``irtt`` (ms; these three are nothing for ipv6). Source: /proc/net/route, /proc/net/ipv6_route.
    """
    found: list[dict[str, Any]] = []
    is_cut = False
    for name, file, parse in (("ipv4", "route", _route4), ("ipv6", "ipv6_route", _route6)):
        if family not in ("all", name):
            continue
        text, cut = _table(host, file, may_lack=name == "ipv6" and family == "all")
        is_cut = is_cut or cut
        for row in map(parse, text.split("\n")):
            if row is not None and len(found) <= int(limit):
                found.append(row)
    return {"routes": found[: int(limit)], "more": is_cut or len(found) > int(limit)}


def _table(host: Host, file: str, *, may_lack: bool = False) -> tuple[str, bool]:
    path = f"{host.proc}/net/{file}"
    try:
        read = trees.read(path, _MAX_TABLE_BYTES)
    except OSError as error:
        if may_lack:  # a kernel without IPv6
            return "", False
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None
    return read.text, read.truncated


def _route4(line: str) -> dict[str, Any] | None:
    words = line.split()
    if len(words) != 11 or words[0] == "Iface":
        return None
    interface, destination, gateway, flags, references, used, metric, mask, mss, window, irtt = words
    netmask = _address4(mask)
    return {
        "family": "ipv4", "destination": f"{_address4(destination)}/{int(mask, 16).bit_count()}",
        "gateway": _address4(gateway) if int(gateway, 16) else None, "netmask": netmask, "interface": interface,
        "flags": _flags(int(flags, 16)), "metric": int(metric), "references": int(references), "used": int(used),
        "mss": int(mss), "window": int(window), "irtt": int(irtt),
    }  # fmt: skip


def _route6(line: str) -> dict[str, Any] | None:
    words = line.split()
    if len(words) != 10:
        return None
    destination, prefix, _, _, gateway, metric, references, used, flags, interface = words
    return {
        "family": "ipv6", "destination": f"{_address6(destination)}/{int(prefix, 16)}",
        "gateway": _address6(gateway) if int(gateway, 16) else None, "netmask": None, "interface": interface,
        "flags": _flags(int(flags, 16)), "metric": int(metric, 16), "references": int(references, 16),
        "used": int(used, 16), "mss": None, "window": None, "irtt": None,
    }  # fmt: skip


def _address4(text: str) -> str:
    return socket.inet_ntoa(int(text, 16).to_bytes(4, sys.byteorder))  # printed as a number of the host's byte order


def _address6(text: str) -> str:
    return str(ipaddress.IPv6Address(int(text, 16)))


def _flags(bits: int) -> str:
    return "".join(letter for bit, letter in _FLAGS if bits & bit)


@call("net.neighbours", tier=Tier.OBSERVE, lua="local near = net.neighbours()", python="near = net.neighbours()")
def neighbours(limit: Annotated[int, Bounds(1, 5_000)] = 1_000) -> dict[str, Any]:
    """Return ``{neighbours, more}``: whom the kernel knows on its links (ARP and neighbour discovery).

    Each is ``family`` (ipv4 or ipv6), ``address``, ``mac`` (or nothing), ``interface``, ``state`` (reachable, stale,
    delay, probe, incomplete, failed, permanent, none), ``router``. Source: rtnetlink(7), RTM_GETNEIGH.
    """
    rows = list(_neighbours())
    return {"neighbours": rows[: int(limit)], "more": len(rows) > int(limit)}


def _neighbours() -> Iterator[dict[str, Any]]:
    names = dict(socket.if_nameindex())
    for item in rtnetlink.neighbours(rtnetlink.dump(rtnetlink.GET_NEIGHBOURS)):
        yield {
            "family": item.family, "address": item.address, "mac": item.mac,
            "interface": names.get(item.interface, str(item.interface)), "state": item.state, "router": item.is_router,
        }  # fmt: skip
