"""The kernel's routing socket, as far as a dump of neighbours needs it, and dumps of its like. Any user may ask.

Source: netlink(7), rtnetlink(7), linux/neighbour.h. All numbers are in the host's byte order, all parts aligned to
four.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from protocol.errors import UnavailableError

GET_NEIGHBOURS = 30  # RTM_GETNEIGH, linux/rtnetlink.h
_NEW_NEIGHBOUR = 28
_REQUEST_DUMP = 0x1 | 0x300  # NLM_F_REQUEST | NLM_F_DUMP
ERROR = 2
_DONE = 3
_HEAD = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")
_DESTINATION, _LINK_ADDRESS = 1, 2  # NDA_DST, NDA_LLADDR
_ROUTER = 0x80  # NTF_ROUTER
_MAX_DUMP_BYTES = 16 << 20  # a table of 100,000 entries; chosen without measurement
_STATES = {
    0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed",
    0x40: "none", 0x80: "permanent",
}  # fmt: skip


class Neighbour(NamedTuple):
    """One entry of the table."""

    family: str
    address: str
    mac: str | None
    interface: int
    state: str
    is_router: bool


def dump(
    kind: int, request: bytes = bytes(12), protocol: int = socket.NETLINK_ROUTE, what: str = "neighbours"
) -> list[bytes]:
    """Return the messages that the kernel answers a dump request with.

    Args:
        kind: Of the request.
        request: Its body.
        protocol: Of netlink(7).
        what: Is asked for, in errors.

    Raises:
        UnavailableError: It refuses, or the answer is longer than the bound.
    """
    found: list[bytes] = []
    size = 0
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
            kernel.settimeout(5.0)
            kernel.sendall(_HEAD.pack(_HEAD.size + len(request), kind, _REQUEST_DUMP, 1, 0) + request)
            while not found or not _is_last(found[-1]):
                found.append(kernel.recv(64 << 10))
                size += len(found[-1])
                if size > _MAX_DUMP_BYTES:
                    raise UnavailableError(f"the table of {what} is longer than 16 MiB")
    except OSError as error:
        raise UnavailableError(f"the kernel does not tell its {what}: {error}") from error
    return found


def _is_last(data: bytes) -> bool:
    return not data or any(kind in (_DONE, ERROR) for kind, _ in messages(data))


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and body of each whole message in ``data``."""
    position = 0
    while position + _HEAD.size <= len(data):
        length, kind, _, _, _ = _HEAD.unpack_from(data, position)
        if length < _HEAD.size or position + length > len(data):
            return
        yield kind, data[position + _HEAD.size : position + length]
        position += (length + 3) & ~3


def neighbours(dumped: list[bytes]) -> Iterator[Neighbour]:
    """Yield the neighbours of a dump; those of other families than IPv4 and IPv6 are left out."""
    for data in dumped:
        for kind, body in messages(data):
            if kind == _NEW_NEIGHBOUR and len(body) >= _NEIGHBOUR.size:
                found = _neighbour(body)
                if found is not None:
                    yield found


def _neighbour(body: bytes) -> Neighbour | None:
    family, interface, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    name = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}.get(family)
    told = dict(attributes(body[_NEIGHBOUR.size :]))
    address = told.get(_DESTINATION, b"")
    if name is None or len(address) != {"ipv4": 4, "ipv6": 16}[name]:
        return None
    mac = told.get(_LINK_ADDRESS)
    return Neighbour(
        name, socket.inet_ntop(family, address), mac.hex(":") if mac else None, interface,
        _STATES.get(state, "none"), bool(flags & _ROUTER),
    )  # fmt: skip


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each whole attribute in ``data``."""
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size or position + length > len(data):
            return
        yield kind, data[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
