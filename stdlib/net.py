"""``net.*``: interfaces and their counters."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import psutil

from protocol.errors import NotFoundError
from protocol.tiers import Tier
from stdlib.catalogue import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Length

#: Columns of /proc/net/dev, proc(5): eight of what was received, eight of what was sent.
_COLUMNS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_overruns", "rx_frame", "rx_compressed", "rx_multicast",
    "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_overruns", "tx_collisions", "tx_carrier", "tx_compressed",
)  # fmt: skip


@call("net.interfaces", tier=Tier.OBSERVE, lua="local all = net.interfaces()", python="all = net.interfaces()")
def interfaces() -> list[dict[str, Any]]:
    """Return the interfaces: ``name``, ``address``, ``netmask``, ``broadcast``, ``address6``, ``mac``, ``mtu``,
    ``flags`` (texts), ``link_state`` (up, down), ``internal`` (loopback)."""
    addresses, states = psutil.net_if_addrs(), psutil.net_if_stats()
    return [_interface(name, addresses.get(name, []), states.get(name)) for name in sorted(states)]


def _interface(name: str, addresses: list[Any], state: Any) -> dict[str, Any]:
    first = {address.family: address for address in reversed(addresses)}
    four, six, link = first.get(socket.AF_INET), first.get(socket.AF_INET6), first.get(psutil.AF_LINK)
    flags = [flag for flag in getattr(state, "flags", "").split(",") if flag]
    return {
        "name": name, "address": four and four.address, "netmask": four and four.netmask,
        "broadcast": four and four.broadcast, "address6": six and six.address.partition("%")[0],
        "mac": link and link.address, "mtu": state.mtu, "flags": flags,
        "link_state": "up" if state.isup else "down", "internal": "loopback" in flags,
    }  # fmt: skip


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
