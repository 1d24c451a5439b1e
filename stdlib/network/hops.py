"""The way to a host: UDP datagrams with a small time to live, and what routers say about them in the error queue.

Needs no privilege (ip(7), ``IP_RECVERR``). One datagram is under way at a time; a hop that is silent is shown as one.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from typing import Any, Final

from kernel.visits import begun_apart
from policies.targets import read_address
from protocol.errors import UnavailableError
from stdlib.network.connection import failure
from stdlib.network.reach import Endpoint, Timings

FIRST_PORT: Final = 33_434  # traceroute(8): nobody listens there
HOP_WAIT_S: Final = 1.0
_IP_RECVERR: Final = 11  # linux/in.h
_IPV6_RECVERR: Final = 25  # linux/in6.h
_EXTENDED: Final = struct.Struct("=IBBBBII")  # sock_extended_err, linux/errqueue.h
_BY_ICMP: Final = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_EXPIRED: Final = {2: 11, 3: 3}  # type "time exceeded" by origin: RFC 792, RFC 4443


async def trace(endpoint: Endpoint, most: int, timings: Timings) -> tuple[list[dict[str, Any]], bool]:
    """Return the hops (``ttl``, ``address``, ``ms``) and whether the host itself was reached.

    Raises:
        UnavailableError: This kernel does not tell what routers say.

    Cancellation:
        Safe: the thread stops at once and closes its socket.
    """
    stopped = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        work = begun_apart(_trace, endpoint, most, timings, stopped)
    except BaseException:  # there is no thread to be had
        os.close(stopped)
        raise
    try:
        return await asyncio.shield(work)
    finally:
        os.eventfd_write(stopped, 1)
        work.add_done_callback(lambda done: _closed(stopped, done))


def _closed(descriptor: int, done: asyncio.Future[Any]) -> None:
    os.close(descriptor)
    if not done.cancelled():
        done.exception()  # who was cancelled hears of nothing any more


def _trace(endpoint: Endpoint, most: int, timings: Timings, stopped: int) -> tuple[list[dict[str, Any]], bool]:
    hops: list[dict[str, Any]] = []
    for ttl in range(1, most + 1):
        hop, is_end = _hop(endpoint, ttl, timings, stopped)
        if hop is None:
            break
        hops.append(hop)
        if is_end:
            return hops, hop["address"] == endpoint.target.address
    return hops, False


def _hop(endpoint: Endpoint, ttl: int, timings: Timings, stopped: int) -> tuple[dict[str, Any] | None, bool]:
    """Return one hop, and whether it is the last; no hop if there is no need for more."""
    with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:
        try:
            _prepare(sock, endpoint, ttl)
            sock.connect((endpoint.sockaddr[0], FIRST_PORT + ttl, *endpoint.sockaddr[2:]))
            started = timings.clock()
            sock.send(b"outrider")
        except OSError as error:
            raise failure(error, str(endpoint.target)) from None
        poller = select.poll()
        poller.register(sock, select.POLLIN | select.POLLERR)
        poller.register(stopped, select.POLLIN)
        ready = dict(poller.poll(HOP_WAIT_S * 1000))
        if stopped in ready:
            return None, True
        if not ready:
            return {"ttl": ttl, "address": None, "ms": None}, False
        elapsed_ms = timings.since(started)
        if not ready[sock.fileno()] & select.POLLERR:  # somebody listens there and answers
            return {"ttl": ttl, "address": endpoint.target.address, "ms": elapsed_ms}, True
        address, is_end = _said(sock)
        return {"ttl": ttl, "address": address, "ms": elapsed_ms}, is_end


def _prepare(sock: socket.socket, endpoint: Endpoint, ttl: int) -> None:
    if endpoint.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)


def _said(sock: socket.socket) -> tuple[str | None, bool]:
    """Return who said something about the datagram, and whether that ends the way."""
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except OSError as error:
        raise UnavailableError(f"the kernel does not tell what routers say: {error.strerror}") from None
    for level, kind, data in ancillary:
        if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
            return _read(data)
    return None, True


def _read(data: bytes) -> tuple[str | None, bool]:
    if len(data) < _EXTENDED.size:
        return None, True
    _, origin, kind, *_ = _EXTENDED.unpack_from(data)
    address = _offender(data[_EXTENDED.size :]) if origin in _BY_ICMP else None
    return address, _EXPIRED.get(origin) != kind


def _offender(sockaddr: bytes) -> str | None:
    """Return the address in a ``struct sockaddr``."""
    family = int.from_bytes(sockaddr[:2], "little" if struct.pack("=H", 1)[0] else "big")
    if family == socket.AF_INET and len(sockaddr) >= 8:
        text = socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    elif family == socket.AF_INET6 and len(sockaddr) >= 24:
        text = socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    else:
        return None
    return str(read_address(text))
