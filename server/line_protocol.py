"""uvicorn's WebSocket with a short way: bytes that come whole are handed over at once, and what is sent goes at once.

Whole messages of bytes are cut out of what comes (:mod:`protocol.whole_frames`); what is left out is a queue, a task
and two system calls, to stop and to start reading, for each of them. A short text is offered to who knows some at a
glance. All else is parsed by the library, which keeps the state of the connection, as ever; other texts, control frames
and messages in several frames take the way of ASGI, in order.

Two things are bounded here that the library leaves open. Pings are answered although what was answered before is not
read, so whoever sends many and reads nothing is cut off. And to close waits for the last byte to be read: a connection
that is closed is cut off after ``limits.UNREAD_TIMEOUT_S``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from protocol.whole_frames import (
    HEADS,
    MASK_BYTES,
    MASKED,
    TEXT,
    WHOLE_BINARY,
    Unfinished,
    cut,
    head,
    is_between,
    masked,
    write,
    write_all,
)
from server import limits
from server.line import SHORT, Fail, Take, TakeText

MAX_SHORT_TEXT_BYTES: Final = 125  # of a text that is offered; such a frame has the shortest head
_HEAD_BYTES: Final = 2 + MASK_BYTES  # of such a frame, with its key


class LineProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._take: Take | None = None
        self._take_text: TakeText | None = None
        self._fail: Fail | None = None
        self._is_clear = False  # a whole message that comes now would be handed over: nothing is before it
        self._may_offer = False  # the connection is open, the peer reads, and the library is not at work on it
        self._is_between = False  # all that came until now were whole messages
        self._unfinished = Unfinished()
        self._aborting: asyncio.TimerHandle | None = None  # once it is to be closed

    async def run_asgi(self) -> None:
        """Serve it, with the short way in its scope."""
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[SHORT] = self
        await super().run_asgi()
        self._abort_if_closing()

    def data_received(self, data: bytes) -> None:
        """Hand whole messages over; from the first that is anything else on, what came is the library's."""
        if (
            self._is_clear and self._take is not None and _HEAD_BYTES <= len(data) < _HEAD_BYTES + 126
            and data[0] == WHOLE_BINARY and data[1] == MASKED | len(data) - _HEAD_BYTES
        ):  # fmt: skip  # one that is short, as of a key, in few steps
            try:
                self._take(masked(data[_HEAD_BYTES:], data[2:_HEAD_BYTES]))
            except Exception as error:  # noqa: BLE001 - raised by who receives; a connection has no part in it
                self._failed(error)
        else:
            self._received(data)

    def _received(self, data: bytes) -> None:
        self._is_clear = False
        whole, at = self._unfinished.more(data) if self._unfinished.missing else (b"", 0)
        if self._unfinished.missing:
            return
        if whole and self._handed_over(whole, 0) == 0:
            data, at = whole + data[at:], 0
        else:
            at = self._handed_over(data, at)
        self._is_between = at == len(data)
        if self._is_between:
            self._is_clear = self._may_take and not self._unfinished.missing
        else:
            self._may_offer = False  # the library may know of the end before it has said so
            super().data_received(data[at:] if at else data)
            self._look()
            self._abort_if_closing()

    def _look(self) -> None:
        """Look anew whether what is offered may go; whoever changes any of this looks again."""
        self._may_offer = (
            self.handshake_complete and not self.close_sent and not self.disconnected
            and self.initial_response is None and self.writable.is_set()
        )  # fmt: skip

    def _hand(self, data: bytes) -> None:
        """Hand a message over; who raises is told so, and handed nothing more."""
        if self._take is not None:
            try:
                self._take(data)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)

    def _handed_text(self, data: bytes) -> bool:
        """Offer a text; return whether it was taken."""
        try:
            return self._take_text is not None and self._take_text(data)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return True

    def _failed(self, error: Exception) -> None:
        fail = self._fail
        self.hand_to(None)
        if fail is not None:
            fail(error)

    def _handed_over(self, data: bytes, at: int) -> int:
        """Hand over the whole messages from ``at`` on, and keep the beginning of one; return where the rest begins."""
        if self._take is not None and (
            (self._is_between and self.conn.state is State.OPEN) or is_between(self.conn)
        ):  # fmt: skip
            most = self.conn.max_message_size or 0
            while at < len(data) and self._may_take:
                if (place := cut(data, at, is_masked=True, most=most)) is not None:
                    self._hand(_shown(data, *place))
                elif (
                    self._take_text is None
                    or (place := cut(data, at, is_masked=True, most=MAX_SHORT_TEXT_BYTES, kind=TEXT)) is None
                    or not self._handed_text(_shown(data, *place))
                ):
                    break
                at = place[1]
            if at < len(data) and self._may_take and self._unfinished.begin(data, at, is_masked=True, most=most):
                at = len(data)
        return at

    def handle_bytes(self, event: Frame) -> None:
        """Hand a whole message over, unless one before it still waits."""
        if self._take is not None and event.fin and self._may_take:
            self._hand(bytes(event.data))
        else:
            super().handle_bytes(event)

    def handle_ping(self) -> None:
        """Answer a ping, if answers are read."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > limits.MAX_UNREAD_BYTES:
            self.transport.abort()

    async def send(self, message: Any) -> None:
        """Send what the application says."""
        if message["type"] == "websocket.send":
            await super().send(message)
            return
        self._is_clear = False
        try:
            await super().send(message)
        finally:
            self._look()
        self._abort_if_closing()

    def keepalive_timeout(self) -> None:
        """The peer does not answer."""
        self._is_clear = self._may_offer = False
        super().keepalive_timeout()
        self._abort_if_closing()

    def shutdown(self) -> None:
        """The server ends."""
        self._is_clear = self._may_offer = False
        super().shutdown()

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._may_offer = False
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._is_clear = self._may_offer = False
        if self._aborting is not None:
            self._aborting.cancel()
        super().connection_lost(exc)

    def _abort_if_closing(self) -> None:
        if self._aborting is None and (self.close_sent or self.transport.is_closing()):
            self._aborting = self.loop.call_later(limits.UNREAD_TIMEOUT_S, self.transport.abort)

    @property
    def _may_take(self) -> bool:
        """Whether messages are handed over: somebody takes them, none before still waits, the connection goes on."""
        return self._take is not None and not self.close_sent and self.queue.empty()

    # server.line.Short -----------------------------------------------------------------------------------------------

    @property
    def may_send(self) -> bool:
        """Whether what is sent now goes to the peer, and does not wait behind what it has not read."""
        return (
            self.writable.is_set() and self.handshake_complete and not self.close_sent and not self.disconnected
            and self.initial_response is None and not self.transport.is_closing()
        )  # fmt: skip

    def offer(self, data: bytes) -> bool:
        """Send a message in this turn of the loop if it goes at once; return whether it does, or else nothing."""
        if not self._may_offer or self.transport.is_closing():
            return False
        if len(data) < 126:
            self.transport.write(HEADS[len(data)] + data)
        else:
            write(self.transport, head(len(data)), data)
        return True

    def send_now(self, data: bytes | str, rest: bytes | memoryview = b"") -> None:
        """Send a message, if the connection is still there; one of bytes may be in two pieces."""
        if (
            not self.handshake_complete or self.close_sent or self.disconnected or self.initial_response is not None
            or self.transport.is_closing() or self.conn.state is not State.OPEN
        ):  # fmt: skip
            return
        if isinstance(data, str):
            self.conn.send_text(data.encode())
            self.transport.write(b"".join(self.conn.data_to_send()))
        elif rest:
            write_all(self.transport, (head(len(data) + len(rest)) + data, rest))
        else:
            write(self.transport, head(len(data)), data)

    def hand_to(self, take: Take | None, take_text: TakeText | None = None, fail: Fail | None = None) -> None:
        """Hand messages of bytes to ``take`` from now on, as long as none waits to be received; None: to nobody.

        Short texts are offered to ``take_text`` likewise. ``fail`` is told what the two raise; they get nothing more.
        """
        self._take, self._take_text, self._fail = take, take_text, fail
        self._is_clear = False

    def nudge(self) -> None:
        """Let who receives look again: at an empty message, which is not looked at."""
        self._is_clear = False
        self.queue.put_nowait({"type": "websocket.receive", "bytes": b"", "text": None})

    def hold(self) -> None:
        """Read no more."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if not self.transport.is_closing() and not self.read_paused:
            self.transport.resume_reading()


def _shown(data: bytes, begin: int, end: int) -> bytes:
    """Return the message that stands in ``data`` behind its key."""
    return masked(memoryview(data)[begin:end], data[begin - MASK_BYTES : begin])
