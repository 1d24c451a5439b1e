"""The transport of real life: one WebSocket to the server, outbound.

TLS 1.3 and nothing older, no compression (its window costs 316 KB a connection), no frame larger than the link's bound.
Proxies are taken from the environment, as operators expect. Plain ``http`` is for loopback alone; the configuration
holds that, not this module.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

from agent import limits
from agent.postponed import postponed
from agent.transport import LinkClosedError, Transport
from protocol.errors import NotConnectedError, ProtocolError
from protocol.limits import MAX_LINK_FRAME_BYTES

# For a version that it knows, and for proxies, of which most hosts have none: 3 MB with what they load themselves.
with postponed("importlib.metadata", "urllib.request"):
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.client import connect as open_websocket
    from websockets.exceptions import ConnectionClosed, WebSocketException

    from protocol.whole_messages import WholeMessages

LINK_PATH = "/agent/v1/link"
_MAX_CLOSE_REASON_BYTES = 123  # RFC 6455 section 5.5: 125 with the code


def link_url(server: str) -> str:
    """Return the WebSocket address for the server's ``http(s)`` address."""
    parts = urlsplit(server)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{LINK_PATH}"


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context for TLS 1.3 that trusts ``ca_file``, or the host's own roots without one."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def names_proxies(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment says anything of proxies: then the library looks at what, as urllib does."""
    return any(name.lower().endswith("_proxy") for name in environment)


async def connect(server: str, *, ca_file: str | None = None) -> Transport:
    """Open a connection to the server's agent endpoint.

    Raises:
        NotConnectedError: It could not be opened; says why.
    """
    url = link_url(server)
    try:
        connection = await open_websocket(
            url,
            ssl=tls_context(ca_file) if url.startswith("wss:") else None,
            max_size=MAX_LINK_FRAME_BYTES,
            max_queue=16,  # frames read ahead while the agent is busy
            compression=None,
            proxy=True if names_proxies(os.environ) else None,
            open_timeout=limits.CONNECT_TIMEOUT_S,
            ping_interval=limits.PING_INTERVAL_S,
            ping_timeout=limits.PING_TIMEOUT_S,
            close_timeout=limits.SHIP_AT_STOP_S,
            user_agent_header=None,
            create_connection=_Connection,
        )
    # The last two: a proxy of the environment whose address makes no sense, or that needs a package that is not here.
    except (OSError, TimeoutError, WebSocketException, ValueError, ImportError) as error:
        raise NotConnectedError(f"no connection to {url}: {error or type(error).__name__}") from error
    return WebSocketTransport(cast(_Connection, connection))


class _Connection(WholeMessages, ClientConnection):
    """One connection; every message that comes whole is offered."""

    most = MAX_LINK_FRAME_BYTES


class WebSocketTransport(Transport):
    """A transport over one open connection of the websockets library."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    @property
    def may_send(self) -> bool:
        """Whether what is sent goes at once."""
        connection = self._connection
        return not connection.paused and not connection.transport.is_closing()

    async def send(self, frame: bytes) -> None:
        """Send one frame; waits while the peer does not read."""
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise _closed(error) from error

    @property
    def offer(self) -> Callable[[bytes], bool]:
        """What sends a frame at once, if it goes; returns whether it does."""
        return self._connection.offer

    def send_now(self, frame: bytes, rest: bytes | memoryview = b"") -> None:
        """Send one frame, which may be in two pieces; it is dropped if the connection is closing."""
        self._connection.send_now(frame, rest)

    async def receive_each(self, take: Callable[[bytes], None]) -> None:
        """Hand frames over as they come."""
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def fail(error: Exception) -> None:  # raised by who receives; the library has no part in it
            if not failed.done():
                failed.set_exception(error)

        def queued(frame: bytes) -> None:
            if not failed.done():
                try:
                    take(frame)
                except Exception as error:  # noqa: BLE001 - as above
                    self._connection.take = None
                    fail(error)

        self._connection.take, self._connection.fail = take, fail
        # What came before, what is no whole message, and the end.
        waiting = asyncio.ensure_future(super().receive_each(queued))
        try:
            await asyncio.wait((waiting, failed), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            waiting.result()
        finally:
            self._connection.take = None
            failed.cancel()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def receive(self) -> bytes:
        """Return the next binary frame."""
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error
        self._connection.waiting -= 1
        if isinstance(frame, str):
            raise ProtocolError("the server sent a text frame")
        return frame

    async def close(self, code: int, reason: str) -> None:
        """Close; the library stops waiting for the peer by itself."""
        text = reason.encode()[:_MAX_CLOSE_REASON_BYTES].decode("utf-8", "ignore")
        await self._connection.close(code, text)


def _closed(error: ConnectionClosed) -> LinkClosedError:
    if error.rcvd is None:
        return LinkClosedError("the connection ended without a word from the server")
    code, reason = error.rcvd.code, error.rcvd.reason
    return LinkClosedError(f"the server closed the connection: {reason or code}", close_code=code)
