"""A client's WebSocket on which whole messages of bytes come and go with no task and no queue on their way.

They are cut out of what comes, and written, in few steps (:mod:`protocol.whole_frames`). All else is the library's, in
order: once one message waits in its queue, those after it wait there too, until whoever receives has taken them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from websockets.frames import Frame, Opcode
from websockets.protocol import State

from protocol.whole_frames import (
    MASK_BYTES,
    MASKED_HEADS,
    WHOLE_BINARY,
    Unfinished,
    cut,
    head,
    is_between,
    keys,
    masked,
    write,
    write_all,
)

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as _Connection
else:
    _Connection = object  # nothing here needs an event loop; who mixes this in brings the library's connection


class WholeMessages(_Connection):
    """To be mixed into the library's connection of a client, before it."""

    #: Is offered each such message; one for which it returns False is the library's.
    take: Callable[[bytes], bool | None] | None = None
    fail: Callable[[Exception], None] | None = None  # is told what that raised, and it is offered nothing more then
    most: int = 0  # bytes of a message that is offered; whoever takes any sets it to 125 at least
    waiting = 0  # messages in the library's queue; whoever receives one counts it off
    is_between = False  # all that came until now were whole messages
    _is_clear = False  # and nothing is kept of one
    _is_open = False  # by the library's word, which is looked at whenever it has written anything

    def connection_made(self, transport: Any) -> None:
        """Take up a connection."""
        self._keys = keys(os.urandom)
        self._unfinished = Unfinished()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Offer whole messages; from the first that is anything else, or refused, on, what came is the library's."""
        if (
            self._is_clear and self.take is not None and not self.waiting
            and 1 < len(data) < 128 and data[0] == WHOLE_BINARY and data[1] == len(data) - 2
        ):  # fmt: skip  # one that is short, as of a key, in few steps
            try:
                if self.take(data[2:]) is not False:
                    return
            except Exception as error:  # noqa: BLE001 - told to who wants to know
                self._failed(error)
                return
        self._received(data)

    def _received(self, data: bytes) -> None:
        self._is_clear = False
        whole, at = self._unfinished.more(data) if self._unfinished.missing else (b"", 0)
        if self._unfinished.missing:
            return
        if whole and self._offered(whole, 0) == 0:
            data, at = whole + data[at:], 0
        else:
            at = self._offered(data, at)
        self.is_between = at == len(data)
        self._is_clear = self.is_between and not self._unfinished.missing
        if not self.is_between:
            super().data_received(data[at:] if at else data)

    def _offered(self, data: bytes, at: int) -> int:
        """Offer the whole messages from ``at`` on, and keep the beginning of one; return where the rest begins."""
        if self.take is not None and not self.waiting and (
            (self.is_between and self.protocol.state is State.OPEN) or is_between(self.protocol)
        ):  # fmt: skip
            while (
                at < len(data)
                and self.take is not None
                and (place := cut(data, at, is_masked=False, most=self.most)) is not None
                and self._taken(data[place[0] : place[1]])
            ):
                at = place[1]
            if at < len(data) and self._begins(data, at):
                at = len(data)
        return at

    def _begins(self, data: bytes, at: int) -> bool:
        """Tell whether what stands there is a part of a message that will be offered, and keep it then."""
        if self.take is None or self.waiting:
            return False
        return self._unfinished.begin(data, at, is_masked=False, most=self.most)

    def _taken(self, data: bytes) -> bool:
        """Offer a message; return whether it needs nobody else."""
        try:
            return self.take is not None and self.take(data) is not False
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return True

    def _failed(self, error: Exception) -> None:
        self.take = None
        if self.fail is None:
            raise error
        self.fail(error)

    def process_event(self, event: Any) -> None:
        """Take an event of the connection; as the library's, but for a whole message that nothing waits before."""
        if type(event) is Frame:
            is_whole = event.opcode is Opcode.BINARY and event.fin and len(event.data) <= self.most
            if is_whole and not self.waiting and self._taken(bytes(event.data)):
                return
            if event.opcode in (Opcode.BINARY, Opcode.TEXT):
                self.waiting += 1
        super().process_event(event)

    def send_data(self) -> None:
        """Send what the library wrote, which may have been its last word."""
        try:
            super().send_data()
        finally:
            self._is_open = self.protocol.state is State.OPEN

    def offer(self, data: bytes) -> bool:
        """Send a message in this turn of the loop if it goes at once; return whether it does, or else nothing."""
        if self.paused or not self._is_open or self.transport.is_closing():
            return False
        (key,), size = next(self._keys), len(data)
        try:
            if size < 126:
                self.transport.write(MASKED_HEADS[size] + key + masked(data, key))
            else:
                write(self.transport, head(size, key), masked(data, key))
        except (OSError, RuntimeError):  # uvloop's word for a transport that is closed
            return False
        return True

    def send_now(self, data: bytes, rest: bytes | memoryview = b"") -> None:
        """Send a message in this turn of the loop; of no effect if the connection is not open.

        Args:
            data: The message, or its beginning.
            rest: Its rest, so that nobody has to copy the two into one.
        """
        if self.protocol.state is not State.OPEN:
            return
        (key,), size = next(self._keys), len(data)
        hidden = masked(data, key)
        with suppress(OSError, RuntimeError):  # as above
            if rest:
                turned = size % MASK_BYTES  # the key goes on in the rest where it stopped
                pieces = head(size + len(rest), key) + hidden, masked(rest, key[turned:] + key[:turned])
                write_all(self.transport, pieces)
            else:
                write(self.transport, head(size, key), hidden)
