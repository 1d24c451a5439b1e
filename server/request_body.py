"""A short way for bodies that are handed on: each piece in the turn in which it comes, and copied by nobody.

Under our own server (:mod:`server.http_protocol`) there is no task, no buffer and no stop of reading between the
connection and who takes what comes, as long as they take it. Under any other ASGI server the same is done piece by
piece. Nothing of a body is counted on its way: only for one whose size costs nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HANDED: Final = "outrider.handed"  # the extension of a scope that has this way
Take = Callable[[bytes], bool]
Write = Callable[[bytes], Awaitable[None]]


class Incoming(Protocol):
    """A body that comes."""

    async def hand_on(self, take: Take, write: Write) -> None:
        """Hand all of it on, in order; returns at its end.

        Args:
            take: Is offered each piece in the turn in which it comes, and tells whether it took it.
            write: Is handed what was not taken, and returns when more may come.

        Raises:
            ClientDisconnect: The client is gone.
            Exception: What ``take`` or ``write`` raised; they are handed nothing more.
        """


class Handed:
    """The body of one request on a connection of ours.

    Args:
        cycle: Of the request.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._take: Take | None = None
        self._waiting: deque[bytes] = deque()  # of one read at most: nothing more is read while something waits
        self._failed: Exception | None = None

    def takes(self, piece: bytes) -> bool:
        """Offer a piece that came; return whether it is on its way, and nobody else is to have it."""
        if self._take is None:
            return False
        try:
            if self._failed is not None or (not self._waiting and self._take(piece)):
                return True
        except Exception as error:  # noqa: BLE001 - raised by who hands on; a connection has no part in it
            self._failed = error
        else:
            self._waiting.append(piece)
        self._cycle.flow.pause_reading()
        self._cycle.message_event.set()
        return True

    async def hand_on(self, take: Take, write: Write) -> None:
        """See :meth:`Incoming.hand_on`."""
        cycle = self._cycle
        if cycle.waiting_for_100_continue and not cycle.transport.is_closing():
            cycle.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if cycle.body:  # came before
            self._waiting.append(bytes(cycle.body))
            cycle.body = bytearray()
        self._take = take
        try:
            while True:
                while self._waiting and self._failed is None:
                    await write(self._waiting[0])
                    self._waiting.popleft()  # only now: what comes meanwhile stands behind it
                if self._failed is not None:
                    raise self._failed
                if cycle.disconnected:
                    raise ClientDisconnect
                if not cycle.more_body:
                    return
                cycle.message_event.clear()
                cycle.flow.resume_reading()
                await cycle.message_event.wait()
        finally:
            self._take = None
            self._waiting.clear()


class _Streamed:
    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces

    async def hand_on(self, take: Take, write: Write) -> None:
        async for piece in self._pieces:
            if piece:
                await write(piece)


def incoming(request: Request) -> Incoming:
    """Return the body of a request that nobody has begun to read."""
    found: Handed | None = (request.scope.get("extensions") or {}).get(HANDED)
    return _Streamed(request.stream()) if found is None else found
