"""One WebSocket to the server with the streams of a forward: the owner of the socket, without rules of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from cli.failures import from_refusal
from cli.settings import Context
from cli.wired import Wired
from protocol.errors import NotConnectedError, ProtocolError, UnavailableError
from protocol.events import Event
from protocol.forwarding import PROTOCOL, PURPOSE
from protocol.limits import MAX_LINK_FRAME_BYTES
from protocol.link import Link, Role
from protocol.pipes import Pipe, Pipes
from protocol.turns import Turns

CONNECT_TIMEOUT_S = 10.0


class Wire:
    """The streams of one forward. Use :meth:`open`, then :meth:`run` beside what uses it."""

    def __init__(self, socket: Wired) -> None:
        self._socket = socket
        self._link = Link(Role.AGENT, next_record=1)
        self._turns = Turns(self._link, socket, self._on, asyncio.Event())
        self._pipes = Pipes(self._link, self._turns.wake, asyncio.Event, put=self._turns.put)
        self._turns.come = self._pipes.come
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, context: Context, session: str) -> Wire:
        """Connect to the server.

        Raises:
            UnavailableError: It does not answer.
            OutriderError: It refuses; says why.
        """
        parts = urlsplit(context.server)
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/api/v1/sessions/{session}/forward"
        try:
            socket = await connect(
                url, additional_headers={"Authorization": f"Bearer {context.token}"}, subprotocols=[PROTOCOL],  # type: ignore[list-item]  # a NewType of theirs
                max_size=MAX_LINK_FRAME_BYTES, compression=None, open_timeout=CONNECT_TIMEOUT_S, proxy=None,
                ssl=ssl.create_default_context() if scheme == "wss" else None, create_connection=Wired,
            )  # fmt: skip
        except InvalidStatus as error:
            raise from_refusal(error.response.status_code, error.response.body) from None
        except (OSError, TimeoutError, WebSocketException) as error:
            raise UnavailableError(f"{context.server} cannot be reached: {error or type(error).__name__}") from None
        return cls(cast(Wired, socket))

    def stream(self, header: Mapping[str, Any]) -> Pipe:
        """Open a stream to the host.

        Raises:
            UnavailableError: Too many are open.
            NotConnectedError: The server is gone.
        """
        return self._pipes.open(PURPOSE, header)

    async def run(self) -> None:
        """Serve until the connection ends.

        Raises:
            OutriderError: Why it did.
        """
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._turns.send()), self._failed]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ConnectionClosed as error:
            reason = error.rcvd.reason if error.rcvd is not None else ""
            raise NotConnectedError(f"the server ended the forward{f': {reason}' if reason else ''}") from None
        finally:
            self._pipes.lose()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Say good-bye."""
        with suppress(ConnectionClosed):
            await self._socket.close()

    async def _receive(self) -> None:
        self._socket.most = MAX_LINK_FRAME_BYTES
        self._socket.take = self._take_now
        async for frame in self._socket:
            if isinstance(frame, str):
                raise ProtocolError("the server sent a text frame")
            self._turns.take(frame)
            self._socket.waiting -= 1
        raise NotConnectedError("the server ended the forward: the session is over")

    def _on(self, event: Event) -> None:
        self._pipes.on(event)

    def _take_now(self, frame: bytes) -> bool:
        try:
            self._turns.take(frame)
        except Exception as error:  # noqa: BLE001 - raised by who runs this; the library has no part in it
            self._socket.take = None
            if not self._failed.done():
                self._failed.set_exception(error)
        return True
