"""Network targets: what a call would connect to, and the patterns of policies that name such targets.

    web.example.org          one host, any port         10.0.0.0/8:22,80-90     a network, some ports
    web.example.org:443      one host, one port         [2001:db8::/32]:443     the same of IPv6, always in brackets
    *.example.org:443        all hosts below a name     *                       every host

A name is decided twice: as it was asked for, before it is looked up, and again with each address that it was found to
have. So a pattern that names a network fits what is connected to, and never a name that is not looked up yet.

Some addresses are *guarded*: cloud metadata, loopback, link-local, unspecified, multicast and reserved ones, and every
IPv6 form that carries one of them. Neither ``*`` nor the name of a host nor a network that is wider than the guarded
one allows them, whatever a resolver answers: only a pattern does that lies within the guarded network, or the word
``localhost`` for loopback. What denies needs no such care: there a pattern fits every form of what it names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from protocol.errors import ArgumentError

MAX_PATTERN_CHARACTERS: Final = 400  # a name, and a list of ports
MAX_NAME_CHARACTERS: Final = 253  # RFC 1035 section 2.3.4, without the last dot
MAX_PORT_RANGES: Final = 32  # of one pattern, chosen without measurement
MAX_PORT: Final = 65_535

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that the system's resolver may take for an IPv4 address
_NETWORK = re.compile(r"[0-9a-fA-F:.]{1,45}(/[0-9]{1,3})?")
_DOTTED = re.compile(r"[0-9.]+(/.*)?")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

LOOPBACK: Final = "loopback"
METADATA: Final = "cloud metadata"

#: Names that lead to the metadata of a cloud, however they are answered.
METADATA_NAMES: Final = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
    "metadata.tencentyun.com", "metadata.platformequinix.com",
})  # fmt: skip


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


#: What is guarded. Sources: RFC 6890 and the clouds' own documents.
GUARDED: Final[tuple[tuple[str, tuple[Network, ...]], ...]] = (
    (METADATA, _networks(
        "169.254.169.254/32",  # most clouds
        "169.254.170.2/32", "169.254.170.23/32", "fd00:ec2::254/128", "fd00:ec2::23/128",  # AWS: instances, tasks, pods
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle, older
        "169.254.0.23/32",  # Tencent
        "fd00:42::42/128",  # Scaleway
    )),
    (LOOPBACK, _networks("127.0.0.0/8", "::1/128")),
    ("link-local", _networks("169.254.0.0/16", "fe80::/10")),
    ("unspecified", _networks("0.0.0.0/8", "::/128")),  # Linux connects 0.0.0.0 to itself
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    ("reserved", _networks("240.0.0.0/4")),  # with the broadcast address
    ("translated", _networks("64:ff9b:1::/48")),  # RFC 8215: what it carries depends on the network
)  # fmt: skip

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_IN_LAST_32_BITS = (
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765 section 2.1
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052 section 2.1
)
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380


# addresses and names -------------------------------------------------------------------------------------------------


def read_address(text: str) -> Address | None:
    """Return the address that ``text`` writes; None if it writes none. What maps IPv4 into IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def read_host(text: str) -> str:
    """Return ``text``, a host's name or address, in the one form in which it is compared.

    Names are lower case and without a last dot; addresses are as short as can be.

    Raises:
        ArgumentError: It is neither, or a name that is not written in ASCII, or one that some resolvers take for an
            address, such as ``127.1``.
    """
    address = read_address(text)
    if address is not None:
        return str(address)
    if not text.isascii():
        raise ArgumentError(f"{text!r:.80} is not ASCII: write an international name in its xn-- form")
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_NAME_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ArgumentError(f"{text!r:.80} is neither the name nor the address of a host")
    if _NUMBER.fullmatch(labels[-1]):
        raise ArgumentError(f"{text!r:.80} is no whole address, and no name of a host ends in a number")
    return name


def carried(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries, by any of the known forms."""
    if address.version == 4:
        return ()
    number, found = int(address), []
    if any(address in network for network in _IN_LAST_32_BITS) and number > 1:
        found.append(number)
    if address in _SIX_TO_FOUR:
        found.append(number >> 80)
    if address in _TEREDO:
        found += [number >> 64, ~number]
    if (number >> 32) & 0xFDFFFFFF == 0x00005EFE:  # ISATAP, RFC 5214 section 6.1
        found.append(number)
    return tuple(ipaddress.IPv4Address(item & 0xFFFFFFFF) for item in found)


@dataclass(frozen=True, slots=True)
class Guard:
    """One reason why an address needs to be named."""

    name: str  # such as ``loopback``
    networks: tuple[Network, ...]  # a pattern must lie within one of them; none: it must be the address alone

    def is_named_by(self, network: Network) -> bool:
        """Tell whether a pattern for ``network`` speaks of this guarded thing and of nothing else."""
        if network.num_addresses == 1:
            return True
        return any(network.version == item.version and network.subnet_of(item) for item in self.networks)  # type: ignore[arg-type]  # one version


@lru_cache(maxsize=1024)
def guards(text: str) -> tuple[Guard, ...]:
    """Return why the address ``text`` must be named; nothing for an ordinary one."""
    address = read_address(text)
    if address is None:
        return (Guard("unreadable", ()),)
    found = [Guard(name, networks) for name, networks in GUARDED if _within(address, networks)]
    for inner in carried(address):
        found += [Guard(f"{name} carried in IPv6", ()) for name, networks in GUARDED if _within(inner, networks)]
    return tuple(found)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


# what a call would connect to ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetTarget:
    """One place in the network, as a call would reach it."""

    host: str  # as asked for, in the form of ``read_host``
    port: int | None = None  # None: the protocol has none, or the name is only looked up
    address: str | None = None  # what is connected to, in the form of ``read_host``; None: not looked up yet
    protocol: str = "tcp"  # tcp, udp, icmp or dns; for people, no rule decides on it

    @classmethod
    def of(cls, host: str, port: int | None = None, protocol: str = "tcp") -> NetTarget:
        """Return the target of what a script asks for; if that is an address, it is the one that is connected to.

        Raises:
            ArgumentError: ``host`` is neither a name nor an address.
        """
        name = read_host(host)
        return cls(name, port, name if read_address(name) is not None else None, protocol)

    def at(self, address: str) -> NetTarget:
        """Return this target with an address that its name was found to have.

        Raises:
            ArgumentError: It is no address.
        """
        found = read_address(address.partition("%")[0])  # the zone of a link-local address names an interface
        if found is None:
            raise ArgumentError(f"{address!r:.80} is no address")
        return NetTarget(self.host, self.port, str(found), self.protocol)

    @property
    def guarded(self) -> str:
        """What is guarded about it, such as ``loopback``; empty for an ordinary target."""
        if self.host in METADATA_NAMES:
            return METADATA
        found = guards(self.address) if self.address is not None else ()
        return found[0].name if found else ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        text = host if self.port is None else f"{host}:{self.port}"
        return text if self.address in (None, self.host) else f"{text} ({self.address})"


# patterns ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TargetPattern:
    """One pattern of a rule: a name, all names below one, a network, or everything; and ports, or any."""

    text: str
    name: str = field(default="", compare=False)  # of one host; with a leading dot: of all hosts below it
    network: Network | None = field(default=None, compare=False)  # neither name nor network: every host
    ports: tuple[tuple[int, int], ...] = field(default=(), compare=False)  # none: any, and calls without a port

    @classmethod
    def parse(cls, text: str, *, where: str | None = None) -> TargetPattern:
        """Return the pattern ``text``.

        Raises:
            ArgumentError: It is none; says what is wrong, and ``where``.
        """
        try:
            host, ports = _split(text)
            if host == "*":
                return cls(text, ports=ports)
            if host.startswith("["):
                return cls(text, network=_network(host[1:-1], 6), ports=ports)
            if _DOTTED.fullmatch(host) or "/" in host:
                return cls(text, network=_network(host, 4), ports=ports)
            if host.startswith("*."):
                return cls(text, f".{read_host(host[2:])}", ports=ports)
            return cls(text, read_host(host), ports=ports)
        except ArgumentError as error:
            raise ArgumentError(f"{text!r:.80} is no target: {error.message}", where=where) from None

    def allows(self, target: NetTarget) -> bool:
        """Tell whether a rule that allows this pattern allows ``target``; a guarded one must be named."""
        if not self._fits_port(target.port):
            return False
        if self.network is not None:
            return self._holds(target.address) and self._names(target)
        if target.host in METADATA_NAMES and self.name != target.host:
            return False
        return self._fits_name(target.host) and all(self._is_localhost(guard) for guard in _guards(target))

    def covers(self, target: NetTarget) -> bool:
        """Tell whether a rule that denies or asks for this pattern is about ``target``, in any form of its address."""
        if not self._fits_port(target.port):
            return False
        if self.network is None:
            return self._fits_name(target.host)
        address = read_address(target.address) if target.address is not None else None
        return address is not None and any(_in(item, self.network) for item in (address, *carried(address)))

    def may_hold(self, port: int | None) -> bool:
        """Tell whether this is a network that an address with ``port`` can lie in."""
        return self.network is not None and self._fits_port(port)

    def _fits_port(self, port: int | None) -> bool:
        return not self.ports or (port is not None and any(low <= port <= high for low, high in self.ports))

    def _fits_name(self, host: str) -> bool:
        if not self.name:
            return True
        return host.endswith(self.name) if self.name.startswith(".") else host == self.name

    def _holds(self, text: str | None) -> bool:
        address = read_address(text) if text is not None else None
        return address is not None and self.network is not None and _in(address, self.network)

    def _names(self, target: NetTarget) -> bool:
        network = self.network
        return network is not None and all(guard.is_named_by(network) for guard in _guards(target))

    def _is_localhost(self, guard: Guard) -> bool:
        return self.name == "localhost" and guard.name == LOOPBACK


def allowed_by(patterns: Iterable[TargetPattern], target: NetTarget, *, narrows: bool) -> bool:
    """Tell whether one of the patterns of a rule that allows fits.

    Args:
        patterns: Of the rule.
        target: What the call would reach.
        narrows: Whether the rule only narrows what others allow: then a name that is not looked up yet passes where a
            network would fit its address, because that is decided as soon as the address is known.
    """
    return any(
        pattern.allows(target) or (narrows and target.address is None and pattern.may_hold(target.port))
        for pattern in patterns
    )


def _guards(target: NetTarget) -> tuple[Guard, ...]:
    return guards(target.address) if target.address is not None else ()


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _split(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return host and ports of a pattern; the brackets of an IPv6 network stay."""
    if len(text) > MAX_PATTERN_CHARACTERS:
        raise ArgumentError(f"longer than {MAX_PATTERN_CHARACTERS} characters")
    if text.startswith("["):
        inside, closed, rest = text.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ArgumentError("after [ must come an IPv6 network, ] and nothing or :PORT")
        return inside + closed, _ports(rest[1:]) if rest else ()
    host, colon, rest = text.partition(":")
    if ":" in rest:
        raise ArgumentError("an IPv6 network stands in brackets, such as [2001:db8::/32]:443")
    return host, _ports(rest) if colon else ()


def _ports(text: str) -> tuple[tuple[int, int], ...]:
    parts = text.split(",")
    if len(parts) > MAX_PORT_RANGES:
        raise ArgumentError(f"more than {MAX_PORT_RANGES} ports and ranges")
    return tuple(_port_range(part) for part in parts)


def _port_range(text: str) -> tuple[int, int]:
    found = _PORTS.fullmatch(text) if text.isascii() else None
    low = int(found[1]) if found else 0
    high = int(found[2] or low) if found else 0
    if not 1 <= low <= high <= MAX_PORT:
        raise ArgumentError(f"{text!r:.40} is no port from 1 to {MAX_PORT} and no range of them")
    return low, high


def _network(text: str, version: int) -> Network:
    if not _NETWORK.fullmatch(text):  # ipaddress would also read masks and zones
        raise ArgumentError(f"{text!r:.60} is no network such as {'10.0.0.0/8' if version == 4 else '2001:db8::/32'}")
    try:
        network = ipaddress.IPv4Network(text) if version == 4 else ipaddress.IPv6Network(text)
    except ValueError as error:
        raise ArgumentError(str(error)[:120]) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def each(patterns: Iterable[str], *, where: str | None = None) -> Iterator[TargetPattern]:
    """Yield the patterns that the texts write.

    Raises:
        ArgumentError: One of them is none.
    """
    for text in patterns:
        yield TargetPattern.parse(text, where=where)
