"""TCP connections to decided addresses, with TLS over them where it is wanted. They know no names but for TLS to check.

All sockets are non-blocking and belong to one coroutine; whoever opens one closes it, whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

from policies.targets import read_address
from protocol.errors import OutriderError, UnavailableError
from stdlib.network.reach import Endpoint, Timings

READ_BYTES: Final = 64 << 10  # at once
_T = TypeVar("_T")


class CertificateError(UnavailableError):
    """Who answers could not prove to be who was asked for; the text says why."""


class Connection:
    """One open TCP connection."""

    def __init__(self, sock: socket.socket, name: str, endpoint: Endpoint | None = None) -> None:
        self.name = name  # of the peer, for people
        self.endpoint = endpoint  # None: accepted, or not of IP
        self.certificate: bytes | None = None  # of the peer, DER; None without TLS
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    @classmethod
    async def open(cls, candidates: Sequence[Endpoint], timings: Timings, timeout_s: float) -> Self:
        """Connect to the first of the candidates that answers; each gets its share of the time.

        Raises:
            UnavailableError: None of them answers; says what the last one said.
        """
        started = timings.clock()
        for place, endpoint in enumerate(candidates, 1):
            left_s = max(timeout_s - (timings.clock() - started), 0.05)
            is_last = place == len(candidates)
            try:
                async with asyncio.timeout(None if is_last else left_s / (len(candidates) - place + 1)):
                    found = await cls._connect(endpoint)
            except (OutriderError, TimeoutError):
                if is_last:
                    raise
            else:
                timings.told["tt_connect"] = timings.since(started)
                return found
        raise UnavailableError("there is no address to connect to")

    @classmethod
    async def _connect(cls, endpoint: Endpoint) -> Self:
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, endpoint.sockaddr)
            _check_peer(sock, endpoint)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(sock, str(endpoint.target), endpoint)
        except OSError as error:
            sock.close()
            raise failure(error, str(endpoint.target)) from None
        except BaseException:
            sock.close()
            raise

    async def start_tls(self, context: ssl.SSLContext, name: str, timings: Timings | None = None) -> None:
        """Begin TLS; the peer must prove to be ``name`` unless the context asks for no proof.

        Raises:
            CertificateError: It did not.
            UnavailableError: It does not speak TLS that we speak.
        """
        started = timings.clock() if timings is not None else 0.0
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        try:
            await self._drive(self._tls.do_handshake)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(error.verify_message or "the certificate is not valid") from None
        except ssl.SSLError as error:
            raise UnavailableError(f"{self.name}: no TLS: {error.reason or 'it closed'}") from None
        except OSError as error:
            raise failure(error, self.name) from None
        self.certificate = self._tls.getpeercert(binary_form=True)
        if timings is not None:
            timings.told["tt_tls"] = timings.since(started)

    @property
    def ip(self) -> str | None:
        """The address of the peer that was decided on."""
        return self.endpoint.target.address if self.endpoint is not None else None

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Return address and port of this end and of the other one, of TCP.

        Raises:
            UnavailableError: It is no longer connected.
        """
        try:
            named = [sock[:2] for sock in (self._socket.getsockname(), self._socket.getpeername())]
        except OSError as error:
            raise failure(error, self.name) from None
        own, peer = [(str(read_address(str(host).partition("%")[0])), int(port)) for host, port in named]
        return own, peer

    @property
    def tls_version(self) -> str | None:
        """What is spoken, such as ``TLSv1.3``; None without TLS."""
        return self._tls.version() if self._tls is not None else None

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            UnavailableError: The connection broke.
        """
        try:
            if self._tls is None:
                await self._loop.sock_sendall(self._socket, data)
                return
            tls, view = self._tls, memoryview(data)
            while view:
                sent = await self._drive(lambda: tls.write(view))  # noqa: B023 - called before the loop goes on
                view = view[sent:]
        except OSError as error:  # of TLS as well
            raise failure(error, self.name) from None

    async def receive(self, most: int = READ_BYTES) -> bytes:
        """Return what arrives next, at most ``most`` bytes; nothing once the peer has ended.

        Raises:
            UnavailableError: The connection broke.
        """
        try:
            if self._tls is None:
                return await self._loop.sock_recv(self._socket, most)
            tls = self._tls
            return await self._drive(lambda: tls.read(most))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except OSError as error:
            raise failure(error, self.name) from None

    def end_sending(self) -> None:
        """Tell the peer that nothing more will come. Over TLS this only closing can tell."""
        if self._tls is None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it at once, also while somebody waits for it, who hears of it by being cancelled. Idempotent."""
        close_socket(self._socket, self._loop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _drive(self, step: Callable[[], _T]) -> _T:
        """Take one step of TLS, with whatever must go to and fro for it."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._loop.sock_recv(self._socket, READ_BYTES)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # the alert, so that the peer's log says why
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._loop.sock_sendall(self._socket, data)


def close_socket(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """Close a socket that something may still wait for on the loop.

    What the loop knows of a descriptor outlives it, and its number is soon another socket's, of another run: that one
    would never be woken.
    """
    descriptor = sock.fileno()
    if descriptor >= 0 and not loop.is_closed():
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)
    sock.close()


def _check_peer(sock: socket.socket, endpoint: Endpoint) -> None:
    """Return if the kernel is connected to what was decided on; anything else would be a flaw of ours.

    Raises:
        UnavailableError: It is not.
    """
    peer = sock.getpeername()
    address = read_address(str(peer[0]).partition("%")[0])
    if str(address) != endpoint.target.address or (endpoint.target.port and peer[1] != endpoint.target.port):
        raise UnavailableError(f"{endpoint.target}: connected to {address} port {peer[1]} instead")


def failure(error: OSError, name: str) -> UnavailableError:
    """Return the error of ours for what the system or TLS said about a connection with ``name``."""
    told: Any = getattr(error, "reason", None)  # of TLS
    if not told and error.errno and not isinstance(error, ssl.SSLError):
        told = os.strerror(error.errno)  # the event loop puts words of its own into its errors
    told = told or error.strerror or type(error).__name__
    return UnavailableError(f"{name}: {told}")
