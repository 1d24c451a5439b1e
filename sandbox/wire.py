"""The gate's end of one worker's socket: bytes between the loop and the conversation, and nothing else.

It never blocks and never raises for what a worker does. Events wait in order until they are taken. While the run is
busy with a call it takes no events; then whatever ends the conversation is told at once through ``on_trouble``.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sandbox.channel import READ_BYTES, Conversation, Event, Violated

_TRANSIENT: Final = (BlockingIOError, InterruptedError)


class Wire:
    """One worker's socket.

    Args:
        loop: Any loop with ``add_reader`` and ``add_writer``.
        sock: This side of the socketpair, not blocking; owned from here on.
        on_trouble: Called with a violation, or None for the end of the stream, seen while a call is open.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, on_trouble: Callable[[Violated | None], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_trouble = on_trouble
        self._conversation = Conversation()
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._unsent = b""  # what the socket did not take at once
        self._is_ended = False  # the worker's end is closed
        self._is_closed = False
        loop.add_reader(sock.fileno(), self._on_readable)

    async def next(self) -> Event | None:
        """Return the next event; None when the worker's end is closed.

        Cancellation:
            Safe; no event is lost.
        """
        while not self._events:
            if self._is_ended or self._is_closed:
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def send(self, data: bytes) -> None:
        """Send; what the socket does not take now goes when it does."""
        if self._is_closed:
            return
        if self._unsent:
            self._unsent += data
            return
        self._unsent = self._send_some(data)
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def answer(self, body: bytes) -> None:
        """Answer the open call."""
        self.send(self._conversation.answer(body))

    def close(self) -> None:
        """Stop listening and close the socket. Whatever comes later is not seen. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._unsent:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._wake()

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except _TRANSIENT:
            return
        except OSError:  # reset: a worker that died with unread bytes; the same as its end
            data = b""
        if not data:
            self._end()
            return
        was_call_open = self._conversation.is_call_open
        events = self._conversation.receive(data)
        self._events.extend(events)
        if was_call_open and events and isinstance(events[-1], Violated):
            self._on_trouble(events[-1])
        self._wake()

    def _end(self) -> None:
        self._is_ended = True
        self._loop.remove_reader(self._sock.fileno())  # or the end would be reported for ever
        if self._conversation.is_call_open:
            self._on_trouble(None)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _send_some(self, data: bytes) -> bytes:
        """Return what is left."""
        try:
            return data[self._sock.send(data) :]
        except _TRANSIENT:
            return data
        except OSError:  # the worker is gone; its end is seen by reading
            return b""

    def _on_writable(self) -> None:
        self._unsent = self._send_some(self._unsent)
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())
