"""``cidr.*``: addresses and networks of IPv4 and IPv6, by the library's own strict reading of them."""

from __future__ import annotations

import ipaddress
from typing import Any

from sandbox.pure.declared import Refused, boolean, bounded, integer, pure, shown, text, texts
from sandbox.values import INT_MAX

MAX_CHARACTERS = 128
MAX_SUBNETS = 1024
MAX_NETWORKS = 10_000

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_KINDS = ("private", "loopback", "link_local", "multicast", "unspecified", "reserved", "global")


@pure("cidr.address", text=text)
def address(text: str) -> dict[str, Any]:
    """Return what an address is."""
    found = _address("text", text)
    kinds = {kind: bool(getattr(found, f"is_{kind}")) for kind in _KINDS}
    return {"address": str(found), "version": found.version} | kinds


@pure("cidr.parse", network=text, strict=boolean)
def parse(network: str, strict: bool = True) -> dict[str, Any]:
    """Return what a network is; not ``strict``, its address may be any within it."""
    found = _network("network", network, strict)
    return {
        "network": str(found),
        "version": found.version,
        "prefix": found.prefixlen,
        "first": str(found.network_address),
        "last": str(found.broadcast_address),
        "netmask": str(found.netmask),
        "size": found.num_addresses if found.num_addresses <= INT_MAX else None,
    }


@pure("cidr.contains", network=text, other=text)
def contains(network: str, other: str) -> bool:
    """Tell whether an address or a whole network lies within ``network``. Another version lies in none."""
    outer = _network("network", network, True)
    inner = _network("other", other, True)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type] # of one version


@pure("cidr.overlaps", first=text, second=text)
def overlaps(first: str, second: str) -> bool:
    """Tell whether two networks have an address in common."""
    one, other = _network("first", first, True), _network("second", second, True)
    return one.version == other.version and one.overlaps(other)


@pure("cidr.subnets", network=text, prefix=integer(0, 128))
def subnets(network: str, prefix: int) -> list[str]:
    """Return the parts of a network that have ``prefix``."""
    outer = _network("network", network, True)
    if not outer.prefixlen <= prefix <= outer.max_prefixlen:
        raise Refused("prefix", f"must be {outer.prefixlen} to {outer.max_prefixlen}")
    if prefix - outer.prefixlen > MAX_SUBNETS.bit_length() - 1:
        raise Refused("prefix", f"would make more than {MAX_SUBNETS} networks", "too_large")
    return [str(part) for part in outer.subnets(new_prefix=prefix)]


@pure("cidr.collapse", networks=texts)
def collapse(networks: list[str]) -> list[str]:
    """Return the fewest networks that hold the same addresses, IPv4 first."""
    if len(networks) > MAX_NETWORKS:
        raise Refused("networks", f"has more than {MAX_NETWORKS} items", "too_large")
    found = [_network("networks", item, True) for item in networks]
    fours = [item for item in found if isinstance(item, ipaddress.IPv4Network)]
    sixes = [item for item in found if isinstance(item, ipaddress.IPv6Network)]
    return [str(item) for item in (*ipaddress.collapse_addresses(fours), *ipaddress.collapse_addresses(sixes))]


def _address(parameter: str, given: str) -> Address:
    try:
        return ipaddress.ip_address(bounded(parameter, given, MAX_CHARACTERS))
    except ValueError:
        raise Refused(parameter, f"{shown(given)} is no address") from None


def _network(parameter: str, given: str, strict: bool) -> Network:
    """Return a network; an address is the network of itself alone."""
    try:
        return ipaddress.ip_network(bounded(parameter, given, MAX_CHARACTERS), strict)
    except ValueError as error:
        problem = "has bits after its prefix" if "host bits" in str(error) else "is no network"
        raise Refused(parameter, f"{shown(given)} {problem}") from None
