"""A connection from when it is there until TLS is agreed on: bounded from its first moment, as those after it are.

The library begins TLS by itself and tells of a connection when that is done. Until then nobody counts it, for a minute,
and each holds a descriptor and a quarter of a megabyte: who says nothing, or half of a greeting, needs no more than a
thousand sockets to use up what the server may have open. Here the connection comes in plain, counts among the strangers
(:mod:`server.strangers`) at once, and has ``limits.TLS_TIMEOUT_S`` for TLS; then it is the library's.

The loop that accepted it lets go of it, unread, and is given it anew with TLS: not every loop can be kept from reading
a connection before its transport can be handed on.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from server import limits
from server.http_protocol import strangers_of
from server.strangers import Strangers


def put_before(settings: Any) -> None:
    """Have a configuration of uvicorn, loaded and with TLS, begin TLS here."""
    context, behind = settings.ssl, settings.http_protocol_class

    def made(*, server_state: Any, _loop: asyncio.AbstractEventLoop | None = None, **given: Any) -> Threshold:
        inner = partial(behind, server_state=server_state, _loop=_loop, **given)
        return Threshold(context, strangers_of(server_state), inner, _loop or asyncio.get_running_loop())

    settings.ssl, settings.http_protocol_class = None, made


class Threshold(asyncio.Protocol):
    """One connection.

    Args:
        context: Of the server.
        strangers: Among whom it counts until TLS is agreed on.
        inner: Makes the protocol that comes behind.
        loop: That of the connection.
    """

    def __init__(
        self, context: ssl.SSLContext, strangers: Strangers, inner: Callable[[], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._context = context
        self._strangers = strangers
        self._inner = inner
        self._loop = loop
        self._socket: socket.socket | None = None  # from when the connection is there
        self._agreeing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and begin."""
        peer = transport.get_extra_info("peername")
        held = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        cast("asyncio.Transport", transport).abort()  # of this descriptor; the connection has another one now
        held.setblocking(False)
        self._socket = held
        self._strangers.came(self, str(peer[0]) if isinstance(peer, tuple) and peer else "")
        self._agreeing = self._loop.create_task(self._agree(held))

    async def _agree(self, held: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._inner, held, ssl=self._context, ssl_handshake_timeout=limits.TLS_TIMEOUT_S
            )
        except OSError:  # no TLS, not in time, or gone: whoever scans the network; nobody needs to know
            return
        finally:
            self._strangers.forget(self)

    # server.strangers.Connection -------------------------------------------------------------------------------------

    @property
    def is_known(self) -> bool:
        """Whether the caller has proved who they are: never, here."""
        return False

    def end(self) -> None:
        """Let it go."""
        if self._socket is not None:
            with suppress(OSError):  # it is gone already
                self._socket.shutdown(socket.SHUT_RDWR)
