"""Whole binary frames to and from one peer: a WebSocket in life, a pair of queues in tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from protocol.errors import NotConnectedError


class LinkClosedError(NotConnectedError):
    """The connection ended. ``close_code`` is what the server gave (RFC 6455 section 7.4), None if it said nothing."""

    def __init__(self, message: str, *, close_code: int | None = None) -> None:
        self.close_code = close_code
        super().__init__(message)


class Transport(Protocol):
    """One connection to the server."""

    async def send(self, frame: bytes) -> None:
        """Send one frame, waiting while the peer does not read.

        Raises:
            LinkClosedError: The connection is gone.
        """

    async def receive(self) -> bytes:
        """Return the next frame, bounded before it is kept.

        Raises:
            LinkClosedError: The connection is gone.
            ProtocolError: The peer sent something that is not a binary frame.
        """

    @property
    def may_send(self) -> bool:
        """Whether :meth:`send_now` may be called: what is sent goes at once, and does not wait for the peer to read."""
        return False

    def _refuse(self, _frame: bytes) -> bool:
        return False

    @property
    def offer(self) -> Callable[[bytes], bool]:
        """What sends a frame in this turn of the loop if :attr:`may_send`, and returns whether it did."""
        return self._refuse

    def send_now(self, frame: bytes, rest: bytes | memoryview = b"") -> None:
        """Send one frame, maybe in two pieces, in this turn of the loop; of no effect if the connection is gone."""

    async def receive_each(self, take: Callable[[bytes], None]) -> None:
        """Hand frames to ``take`` as they come, if possible in the turn of the loop in which they do; for ever.

        Raises:
            LinkClosedError: The connection is gone.
            ProtocolError: As :meth:`receive`.
            Exception: What ``take`` raised; it is handed nothing more.
        """
        while True:
            take(await self.receive())

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a WebSocket close code and a reason of at most 123 bytes. Never raises."""


Connect = Callable[[], Awaitable[Transport]]
