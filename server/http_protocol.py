"""uvicorn's HTTP with bounds on what somebody may send, or hold, before anybody knows who they are.

The library takes a head (request line and headers) of any size for as long as it takes, putting it together anew with
each piece; requests that wait for their turn without end; and a connection that says nothing, or goes on with a body
that was refused, for ever. None of that needs a token. Here:

- what belongs to no body (heads, trailers) has at most ``limits.MAX_HEAD_BYTES``, and a head comes in
  ``limits.HEAD_TIMEOUT_S``;
- connections on which nobody is known are bounded for each address and in all, and the oldest goes
  (:mod:`server.strangers`);
- connections of one person on which nothing is asked are bounded likewise; what is asked the door counts;
- at most ``limits.MAX_PIPELINED`` requests of a connection wait behind the one that is answered;
- a connection on which nothing is asked, or that goes on sending what nobody reads, ends in the same time;
- a stranger who does not read what they are answered, and a connection that is closed with something unread, end after
  ``limits.UNREAD_TIMEOUT_S``: closing alone waits for the last byte to be read;
- a connection that is gone ends what it was answered, also if it had asked for more behind that.

How fast a body must come is for whoever takes it: by then it is known whose it is.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server import limits
from server.answer_body import BODY, Body
from server.request_body import HANDED, Handed
from server.strangers import Strangers

_STRANGERS: Final[WeakKeyDictionary[Any, Strangers]] = WeakKeyDictionary()  # by the library's state of a server
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def strangers_of(state: Any) -> Strangers:
    """Return those of the server that has this state of the library's."""
    return _STRANGERS.setdefault(state, Strangers())


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._loose_bytes = 0  # that came since the last byte of a body, or the end of a head or message
        self._is_in_head = False
        self._is_socket = False  # a WebSocket's now
        self._ending: asyncio.TimerHandle | None = None  # at which the connection ends if nothing is asked until then
        self._aborting: asyncio.TimerHandle | None = None  # at which it ends if nothing is read until then
        self._answered: Any = None  # the request that is answered now, or was last
        self._strangers = strangers_of(self.server_state)

    # what comes ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library has it
        """Begin, and wait for the first head."""
        super().connection_made(transport)
        self._strangers.came(self, self.client[0] if self.client else "")
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and end the connection if it is, or waits for, too much."""
        self._loose_bytes += len(data)
        super().data_received(data)
        if self.parser is None or self.transport.is_closing() or self._is_socket:
            self._wait_no_more()
        elif self._loose_bytes > limits.MAX_HEAD_BYTES:
            self.logger.warning("a head of a request is over %d bytes", limits.MAX_HEAD_BYTES)
            self._refuse(_TOO_LARGE)
        elif self._is_in_head or self.cycle is None or self.cycle.response_complete:
            self._wait()  # from when it began on: a byte now and then makes it no longer
        else:
            self._wait_no_more()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol, which has bounds of its own."""
        self._is_socket = True
        self._strangers.forget(self)  # from here on it is bounded by what it asks for
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless answers are outstanding: then it would be taken for one of them."""
        if self._is_answering:
            self.transport.abort()
        elif not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self, answer: bytes) -> None:
        self._wait_no_more()
        if self._is_answering:
            self.transport.abort()
        else:
            self.transport.write(answer)
            self.transport.close()

    @property
    def is_known(self) -> bool:
        """Whether the request that is answered, or was last, came with a token that is good."""
        return self._answered is not None and "caller" in self._answered.scope["state"]

    def end(self) -> None:
        """Let the connection go, in the middle of whatever it is."""
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        return self._answered is not None and not self._answered.response_complete

    # the parser's --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head ended: the request is answered, or waits.

        Raises:
            ValueError: Too many wait already; the parser stops.
        """
        self._loose_bytes, self._is_in_head = 0, False
        if len(self.pipeline) >= limits.MAX_PIPELINED:
            self.transport.abort()
            raise ValueError("too many requests wait on one connection")
        super().on_headers_complete()
        if self.cycle is not None:
            _equip(self.cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of a body came."""
        self._loose_bytes = 0
        if self.cycle is None or self.cycle.response_complete or not _equip(self.cycle).takes(body):
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is here in full."""
        self._loose_bytes = 0
        super().on_message_complete()

    # time ------------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        if self._ending is None:
            self._ending = self.loop.call_later(limits.HEAD_TIMEOUT_S, self._end)

    def _wait_no_more(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _end(self) -> None:
        self._ending = None
        if self.pipeline or self._is_answering:  # then it is we who do not read on
            self._wait()
        else:
            self.transport.abort()

    # what goes -------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Wait until what was sent is read: for a stranger not for ever; a file may go as slowly as a person reads.

        What somebody who is known does not read is bounded in bytes (:class:`server.strangers.Unread`).
        """
        super().pause_writing()
        if self.is_known:
            caller = self._answered.scope["state"]["caller"]
            self._strangers.unread.add(self, caller.principal, self.transport.get_write_buffer_size())
        else:
            self._abort_later()

    def resume_writing(self) -> None:
        """It was read."""
        super().resume_writing()
        self._strangers.unread.forget(self)
        if not self.transport.is_closing():
            self._abort_no_more()

    def on_response_complete(self) -> None:
        """An answer was sent, though not read, in full."""
        caller = None if self._answered is None else self._answered.scope["state"].get("caller")
        if caller is not None and not self.transport.is_closing():  # first: what waits behind it is begun at once
            self._strangers.resting.add(self, caller.principal)
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more is asked."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    def _abort_later(self) -> None:
        if self._aborting is None:
            self._aborting = self.loop.call_later(limits.UNREAD_TIMEOUT_S, self.transport.abort)

    def _abort_no_more(self) -> None:
        if self._aborting is not None:
            self._aborting.cancel()
            self._aborting = None

    # whose turn it is ------------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answered = cycle
        self._strangers.resting.forget(self)
        _equip(cycle)
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is answered, and nobody else of those who waited."""
        self._strangers.forget(self)
        self._strangers.resting.forget(self)
        self._strangers.unread.forget(self)
        self._wait_no_more()
        self._abort_no_more()
        self.pipeline.clear()
        if self._is_answering:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)


def _equip(cycle: Any) -> Handed:
    """Put the short ways of a request into its scope, if they are not there, and return that of its body."""
    ways = cycle.scope.setdefault("extensions", {})
    if HANDED not in ways:
        ways |= {BODY: Body(cycle), HANDED: Handed(cycle)}
    found: Handed = ways[HANDED]
    return found
