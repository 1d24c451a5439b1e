"""Questions to name servers: by UDP, and by TCP where the answer does not fit. The servers are addresses by now."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from policies.targets import NetTarget
from protocol.errors import DeadlineError, NotFoundError, OutriderError, UnavailableError
from stdlib.host import Host
from stdlib.network.connection import Connection, failure
from stdlib.network.dns_messages import Answer, AnswerError, question, read
from stdlib.network.reach import Endpoint, Timings

MAX_SERVERS: Final = 3  # resolv.conf(5): MAXNS
ATTEMPTS: Final = 2  # for each server, as resolv.conf(5)
MAX_FILE_BYTES: Final = 64 << 10
PORT: Final = 53


def servers_of(host: Host) -> list[Endpoint]:
    """Return the name servers that the host itself uses. Its owner chose them, so that no rule is asked about them.

    Raises:
        UnavailableError: It has none.
    """
    try:
        with open(host.resolver, encoding="ascii", errors="replace") as file:
            words = [line.split() for line in file.read(MAX_FILE_BYTES).splitlines()]
    except OSError as error:
        raise UnavailableError(f"{host.resolver}: {error.strerror}") from None
    found: list[Endpoint] = []
    for text in (line[1] for line in words if len(line) > 1 and line[0] == "nameserver"):
        with suppress(OSError, OutriderError):
            (family, *_, sockaddr), *_ = socket.getaddrinfo(
                text, PORT, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )
            found.append(Endpoint(NetTarget(text, PORT, protocol="dns").at(text), family, sockaddr))
    if not found:
        raise UnavailableError(f"{host.resolver} names no name server")
    return found[:MAX_SERVERS]


async def ask(servers: Sequence[Endpoint], name: str, kind: str, timings: Timings, timeout_s: float) -> Answer:
    """Return the answer of the first server that gives one.

    Raises:
        NotFoundError: There is no such name.
        UnavailableError: No server answers, or the last one does not want to.
        DeadlineError: The last one said nothing.
    """
    tries = [server for server in servers for _ in range(ATTEMPTS)]
    last: OutriderError = DeadlineError(f"no name server answers about {name}")
    for server in tries:
        try:
            async with asyncio.timeout(timeout_s / len(tries)):
                answer = await _ask(server, name, kind, timings)
        except TimeoutError:
            last = DeadlineError(f"{server.target.host} does not answer about {name}")
        except UnavailableError as error:
            last = error
        else:
            if answer.code == "NOERROR":
                return answer
            if answer.code == "NXDOMAIN":
                raise NotFoundError(f"there is no name {name}")
            last = UnavailableError(f"{server.target.host} says {answer.code} about {name}")
    raise last


async def _ask(server: Endpoint, name: str, kind: str, timings: Timings) -> Answer:
    asked = question(secrets.randbits(16), name, kind)
    answer = await _by_udp(server, asked)
    return await _by_tcp(server, asked, timings) if answer.truncated else answer


async def _by_udp(server: Endpoint, asked: bytes) -> Answer:
    loop = asyncio.get_running_loop()
    with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(server.sockaddr)  # from now on the kernel drops what others send
            await loop.sock_sendall(sock, asked)
            while True:
                data = await loop.sock_recv(sock, 65_535)
                with suppress(AnswerError):  # a guess of somebody who cannot see the question; the real one may follow
                    return read(data, asked)
        except OSError as error:
            raise failure(error, str(server.target)) from None


async def _by_tcp(server: Endpoint, asked: bytes, timings: Timings) -> Answer:
    async with await Connection.open([server], timings, 0.0) as connection:
        await connection.send(len(asked).to_bytes(2, "big") + asked)
        data = bytearray()
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            part = await connection.receive()
            if not part:
                raise UnavailableError(f"{server.target}: the answer is cut off")
            data += part
    try:
        return read(bytes(data[2 : 2 + int.from_bytes(data[:2], "big")]), asked)
    except AnswerError as error:
        raise UnavailableError(f"{server.target}: {error}") from None
