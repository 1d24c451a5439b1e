"""One WebSocket of this server as those who relay have it: bytes are handed over in the turn in which they come.

Under our own server (:mod:`server.line_protocol`) there is no task and no queue between the connection and who takes
what comes, and what is sent goes at once as long as the peer reads. Under any other ASGI server the same is done
message by message. Whoever relays is written once, and for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

SHORT: Final = "outrider.short"  # the extension of a scope that has a short way
Take = Callable[[bytes], None]
TakeText = Callable[[bytes], bool]
"""Is offered a short text, of whatever bytes; returns whether it took it. One that it does not take is received."""
Fail = Callable[[Exception], None]
"""Is told what a taker raised; the taker is handed nothing more then."""


class Short(Protocol):
    """The short way that a connection may have."""

    @property
    def may_send(self) -> bool:
        """Whether what is sent now goes to the peer, and does not wait behind what it has not read."""

    def offer(self, data: bytes) -> bool:
        """Send a message of bytes if it goes at once; return whether it does, or else nothing."""

    def send_now(self, data: bytes | str, rest: bytes | memoryview = b"") -> None:
        """Send a message, if the connection is still there; one of bytes may be in two pieces."""

    def hand_to(self, take: Take | None, take_text: TakeText | None = None, fail: Fail | None = None) -> None:
        """Hand messages of bytes to ``take`` from now on, as long as none waits to be received; None: to nobody.

        Short texts are offered to ``take_text`` likewise. ``fail`` is told what the two raise; they get nothing more.
        """

    def nudge(self) -> None:
        """Let who receives look again."""

    def hold(self) -> None:
        """Read no more."""

    def go_on(self) -> None:
        """Read again."""


class Line:
    """One connection.

    Args:
        socket: Accepted.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._short: Short | None = (socket.scope.get("extensions") or {}).get(SHORT)
        self._fault: Exception | None = None  # what a taker raised
        self._may_read = asyncio.Event()
        self._may_read.set()
        #: Sends a message of bytes if it goes at once; returns whether it does, or else nothing.
        self.offer: Callable[[bytes], bool] = _refuse if self._short is None else self._short.offer

    @property
    def may_send(self) -> bool:
        """Whether :meth:`send_now` may be called."""
        return self._short is not None and self._short.may_send

    def send_now(self, data: bytes | str, rest: bytes | memoryview = b"") -> None:
        """Send a message in this turn of the loop; of no effect if the connection is gone.

        Args:
            data: The message.
            rest: Of bytes, what stands behind ``data`` in the same message.
        """
        if self._short is not None:
            self._short.send_now(data, rest)

    async def send(self, data: bytes | str) -> None:
        """Send a message, once the peer has read enough of what was sent before.

        Raises:
            WebSocketDisconnect: The connection is gone; so RuntimeError and OSError, starlette's other words for it.
        """
        if isinstance(data, str):
            await self._socket.send_text(data)
        else:
            await self._socket.send_bytes(data)

    def hold(self) -> None:
        """Read no more of the peer, but for what has arrived already."""
        self._may_read.clear()
        if self._short is not None:
            self._short.hold()

    def go_on(self) -> None:
        """Read the peer again."""
        if not self._may_read.is_set():
            self._may_read.set()
            if self._short is not None:
                self._short.go_on()

    async def receive(self, take: Take, take_text: TakeText | None = None) -> str:
        """Return the next text of the peer; bytes that come before it are handed to ``take``, in order.

        Args:
            take: Gets each message of bytes.
            take_text: Is offered short texts where there is a short way; what it takes is not returned.

        Raises:
            WebSocketDisconnect: The connection is gone.
            Exception: What ``take`` or ``take_text`` raised; they are handed nothing more.
        """
        short = self._short
        while True:
            await self._may_read.wait()
            if short is not None:
                short.hand_to(take, take_text, self._failed)
            try:
                message = await self._socket.receive()
            finally:
                if short is not None:  # what comes while the text is dealt with comes after it
                    short.hand_to(None)
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1006)
            if self._fault is not None:
                raise self._fault
            data: Any = message.get("bytes")
            if data is None:
                return str(message.get("text"))
            take(data)

    def _failed(self, error: Exception) -> None:
        self._fault = error
        if self._short is not None:
            self._short.nudge()


def _refuse(_: bytes) -> bool:
    return False


async def close(socket: WebSocket, code: int, reason: str) -> None:
    """Close a connection that may be gone already."""
    with suppress(RuntimeError, WebSocketDisconnect, OSError):
        await socket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))
