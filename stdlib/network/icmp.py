"""Echo requests: ICMP datagram sockets, which need no privilege where the host allows them, else raw sockets."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import UnavailableError
from stdlib.network.connection import failure
from stdlib.network.reach import Endpoint, Timings

PAYLOAD_BYTES: Final = 40
_AFTER_ERROR_S: Final = 0.01  # an error that stays must not keep the loop busy
_ECHO: Final = struct.Struct("!BBHHH")  # type, code, checksum, identity, sequence: RFC 792, RFC 4443
_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}


@dataclass(slots=True)
class Echoes:
    """What came back, and how it was asked."""

    method: str = "datagram"  # or raw
    sent: int = 0
    times_ms: dict[int, float] = field(default_factory=dict)  # sequence -> milliseconds
    error: str | None = None  # what the network said last, if it said anything


async def ping(endpoint: Endpoint, count: int, interval_s: float, timeout_s: float, timings: Timings) -> Echoes:
    """Send ``count`` echo requests ``interval_s`` seconds apart and wait for the replies, all in ``timeout_s`` seconds.

    Raises:
        UnavailableError: This host lets the agent send none; says what would.
    """
    sock, method = _open(endpoint)
    with sock:
        sock.setblocking(False)
        try:
            sock.connect(endpoint.sockaddr)
        except OSError as error:
            raise failure(error, str(endpoint.target)) from None
        exchange = _Exchange(sock, endpoint, Echoes(method), timings)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                listener = group.create_task(exchange.listen(count))
                await exchange.send(count, interval_s)
                await listener
        return exchange.echoes


def _open(endpoint: Endpoint) -> tuple[socket.socket, str]:
    protocol = socket.IPPROTO_ICMP if endpoint.family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind, method in ((socket.SOCK_DGRAM, "datagram"), (socket.SOCK_RAW, "raw")):
        with suppress(OSError):
            return socket.socket(endpoint.family, kind, protocol), method
    raise UnavailableError(
        "the agent may not send echo requests: its group is not in net.ipv4.ping_group_range, and it has no CAP_NET_RAW"
    )


class _Exchange:
    """One series of requests."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, echoes: Echoes, timings: Timings) -> None:
        self.echoes = echoes
        self._socket, self._endpoint, self._timings = sock, endpoint, timings
        self._identity = secrets.randbits(16)
        self._payload = secrets.token_bytes(PAYLOAD_BYTES)  # nobody can answer who has not seen the question
        self._sent_at: dict[int, float] = {}

    async def send(self, count: int, interval_s: float) -> None:
        loop = asyncio.get_running_loop()
        for sequence in range(1, count + 1):
            if sequence > 1:
                await asyncio.sleep(interval_s)
            self._sent_at[sequence] = self._timings.clock()
            try:
                await loop.sock_sendall(self._socket, self._request(sequence))
            except OSError as error:  # such as no route; the next one may find one
                self.echoes.error = error.strerror
            self.echoes.sent = sequence

    async def listen(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        while len(self.echoes.times_ms) < count:
            try:
                data = await loop.sock_recv(self._socket, 2048)
            except OSError as error:  # what the network said about an earlier request
                self.echoes.error = error.strerror
                await asyncio.sleep(_AFTER_ERROR_S)
                continue
            sequence = self._sequence(data)
            if sequence is not None and sequence not in self.echoes.times_ms:
                self.echoes.times_ms[sequence] = self._timings.since(self._sent_at[sequence])

    def _request(self, sequence: int) -> bytes:
        kind = _REQUEST[socket.AddressFamily(self._endpoint.family)]
        body = _ECHO.pack(kind, 0, 0, self._identity, sequence) + self._payload
        return _ECHO.pack(kind, 0, checksum(body), self._identity, sequence) + self._payload

    def _sequence(self, data: bytes) -> int | None:
        """Return which request this answers; None for anything else."""
        is_raw, family = self.echoes.method == "raw", socket.AddressFamily(self._endpoint.family)
        if is_raw and family == socket.AF_INET:  # a raw IPv4 socket gives the IP header as well, ip(7)
            data = data[(data[0] & 15) * 4 :] if data else data
        if len(data) < _ECHO.size:
            return None
        kind, _, _, identity, sequence = map(int, _ECHO.unpack_from(data))
        # A datagram socket has an identity of the kernel's choice, icmp(7).
        is_ours: bool = kind == _REPLY[family] and data[_ECHO.size :] == self._payload and sequence in self._sent_at
        return sequence if is_ours and not (is_raw and identity != self._identity) else None


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(word for (word,) in struct.iter_unpack("!H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
