"""Connections here and streams to the host, joined: local, dynamic and remote forwards.

A connection that the host refuses is closed at once, and talk says why. A side that ends its sending ends it for the
other; a reader that stops holds up its own connection alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cli.failures import from_problem
from cli.forwarding.socks import Reply, Socks, code_for
from cli.forwarding.specs import Place, Spec
from cli.forwarding.wire import Wire
from protocol.errors import ConflictError, OutriderError, ProtocolError, UnavailableError
from protocol.forwarding import Preface
from protocol.pipes import Pipe

PIECE_BYTES = 256 << 10  # read at once; four frames
SOCKS_S = 10.0  # that a SOCKS5 client may take to say where it wants to go
BACKLOG = 128
RETRY_S = 0.1  # after a connection that this machine could not take
MAX_CONNECTIONS = 128  # protocol.forwarding.MAX_CONNECTIONS: what the host takes


@dataclass
class Carrier:
    """What all connections of one command share."""

    wire: Wire
    say: Callable[[str], None]
    max_bytes: int | None = None
    ttl_s: float | None = None
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)  # those that are connections
    _listening: list[socket.socket] = field(default_factory=list)

    # here -> host ----------------------------------------------------------------------------------------------------

    def listen(self, spec: Spec) -> Place:
        """Listen here for what ``spec`` says; return where.

        Raises:
            UnavailableError: It cannot be listened there.
        """
        sock = _bound(spec)
        self._listening.append(sock)
        self._begin(self._accept(sock, spec.target))
        address = sock.getsockname()
        return Place(str(address[0]), int(address[1]))

    async def _accept(self, listening: socket.socket, target: Place | None) -> None:
        while True:
            try:
                sock, peer = await _accepted(listening)
            except OSError as error:  # it went before we came, or there is no descriptor left: others may still come
                self.say(f"refused  a connection could not be taken: {error.strerror}")
                await asyncio.sleep(RETRY_S)
                continue
            sock.setblocking(False)
            if len(self._carrying) >= MAX_CONNECTIONS:
                self.say(f"refused  {MAX_CONNECTIONS} connections are open already")
                _reset(sock)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._begin_connection(self._connection(sock, Place(str(peer[0]), int(peer[1])), target))

    async def _connection(self, sock: socket.socket, peer: Place, target: Place | None) -> None:
        pipe: Pipe | None = None
        socks = Socks() if target is None else None
        try:
            first = b""
            if socks is not None:
                target = await _asked(sock, socks)
                first = socks.rest
            if target is None:
                return
            bounds = {"max_bytes": self.max_bytes, "ttl_s": self.ttl_s}
            header = {"act": "forward", "host": target.host, "port": target.port, "peer": str(peer)}
            pipe = self.wire.stream(header | {name: value for name, value in bounds.items() if value is not None})
            rest = await self._opened(pipe, sock, socks, target)
            if rest is not None:
                await _carry(sock, pipe, first, rest)
        except OutriderError as error:
            if pipe is None or not isinstance(error, ConflictError):  # a stream that was given up has its reason told
                self.say(f"refused  {target or peer}: {error}")
            else:
                self.say(f"broken  {target}: {error}")
            _reset(sock)
        except OSError as error:
            self.say(f"broken  {target or peer}: {error.strerror}")
        finally:
            if pipe is not None:
                pipe.reset("closed")
            sock.close()

    async def _opened(self, pipe: Pipe, sock: socket.socket, socks: Socks | None, target: Place) -> bytes | None:
        """Return the first bytes of the host's side once it is connected; None if it refused, which is told."""
        word, told, rest = await _preface(pipe)
        loop = asyncio.get_running_loop()
        if word == "open":
            self.connections += 1
            if socks is not None:
                await loop.sock_sendall(sock, socks.reply(Reply.SUCCEEDED))
            return rest
        error = from_problem({**told, "detail": told.get("message")})
        self.say(f"refused  {target}: {error}")
        if socks is not None:
            with suppress(OSError):
                await loop.sock_sendall(sock, socks.reply(code_for(error.code)))
        else:
            _reset(sock)
        return None

    # host -> here ----------------------------------------------------------------------------------------------------

    async def remote(self, spec: Spec) -> Place:
        """Have the host listen for what ``spec`` says, and connect here to its target; return where it listens.

        Raises:
            OutriderError: The host refuses.
        """
        target = spec.target
        if target is None:
            raise ProtocolError("a remote forward has a target")
        pipe = self.wire.stream({"act": "listen", "address": spec.listen.host, "port": spec.listen.port})
        word, told, rest = await _preface(pipe)
        if word != "open":
            pipe.reset("closed")
            raise from_problem({**told, "detail": told.get("message")})
        self._begin(self._incoming(pipe, rest, target))
        port = told.get("port")
        return Place(str(told.get("address")), port if type(port) is int else 0)

    async def _incoming(self, pipe: Pipe, rest: bytes, target: Place) -> None:
        try:
            while True:
                word, told, rest = await _preface(pipe, rest)
                if word != "connection":
                    continue
                number, peer = told.get("connection"), f"{told.get('ip')}:{told.get('port')}"
                if type(number) is not int:
                    raise ProtocolError("the host tells of a connection without a number")
                if len(self._carrying) >= MAX_CONNECTIONS:  # an honest host has no more; each is one to us here
                    self.say(f"refused  {peer} to {target}: {MAX_CONNECTIONS} connections are open already")
                    continue
                self._begin_connection(self._taken(number, peer, target))
        except OutriderError as error:
            self.say(f"ended  the host listens no more: {error}")

    async def _taken(self, number: int, peer: str, target: Place) -> None:
        pipe: Pipe | None = None
        sock: socket.socket | None = None
        try:
            pipe = self.wire.stream({"act": "accept", "connection": number})
            sock = await _connect(target)
            word, told, rest = await _preface(pipe)
            if word != "open":
                raise from_problem({**told, "detail": told.get("message")})
            self.connections += 1
            await _carry(sock, pipe, b"", rest)
        except OutriderError as error:
            self.say(f"broken  {peer} to {target}: {error}")
        except OSError as error:
            self.say(f"refused  {peer} to {target}: {error.strerror or error}")
        finally:
            if pipe is not None:
                pipe.reset("closed")
            if sock is not None:
                sock.close()

    # all of it -------------------------------------------------------------------------------------------------------

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _begin_connection(self, work: Any) -> None:
        task = self._begin(work)
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def close(self) -> None:
        """Listen no more, and end every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._listening:
            sock.close()


def _bound(spec: Spec) -> socket.socket:
    place = spec.listen
    ports = [place.port, 0] if spec.may_move else [place.port]
    for port in ports:
        sock = socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((place.host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if port != ports[-1]:
                continue
            raise UnavailableError(f"cannot listen on {Place(place.host, port)}: {error.strerror}") from None
        return sock
    raise UnavailableError(f"cannot listen on {place}")


async def _accepted(listening: socket.socket) -> tuple[socket.socket, Any]:
    return await asyncio.get_running_loop().sock_accept(listening)


async def _asked(sock: socket.socket, socks: Socks) -> Place | None:
    """Return where a SOCKS5 client wants to go; None if it went, or talked nonsense."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SOCKS_S):
            while socks.target is None:
                data = await loop.sock_recv(sock, 1024)
                if not data:
                    return None
                try:
                    socks.feed(data)
                finally:
                    if answers := socks.answers():
                        await loop.sock_sendall(sock, answers)
    except TimeoutError:
        raise ProtocolError("a SOCKS5 client that does not come to the point") from None
    return socks.target


async def _preface(pipe: Pipe, rest: bytes = b"") -> tuple[str, dict[str, Any], bytes]:
    preface = Preface()
    found = preface.feed(rest)
    while found is None:
        data = await pipe.read()
        if not data:
            raise ProtocolError("the host ended the stream without an answer")
        found = preface.feed(data)
    return found


async def _connect(target: Place) -> socket.socket:
    """Connect from here. The name is looked up by this machine, whose operator chose it."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    problem: OSError | None = None
    for family, *_, address in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem or OSError("no such address")


async def _carry(sock: socket.socket, pipe: Pipe, first: bytes, rest: bytes) -> None:
    """Move bytes in both directions until both have ended."""
    tasks = [asyncio.ensure_future(_up(sock, pipe, first)), asyncio.ensure_future(_down(sock, pipe, rest))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _up(sock: socket.socket, pipe: Pipe, first: bytes) -> None:
    loop = asyncio.get_running_loop()
    if first:
        await pipe.write(first)
    while data := await loop.sock_recv(sock, PIECE_BYTES):
        await pipe.write(data)
    pipe.finish()


async def _down(sock: socket.socket, pipe: Pipe, rest: bytes) -> None:
    loop = asyncio.get_running_loop()
    if rest:
        await loop.sock_sendall(sock, rest)
    while pieces := await pipe.gather(PIECE_BYTES):
        for piece in pieces:  # not joined: to copy costs more than to call the kernel again
            await loop.sock_sendall(sock, piece)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _reset(sock: socket.socket) -> None:
    """Close so that the client sees a refusal, not the end of an empty answer."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()
