"""One end of a link over a way that is read and written: frames in, and what they give rise to out in the same turn.

What the peer has room for is sent at once, by whoever made it; the rest is sent by one task as the peer reads on. While
frames are taken nothing is sent, so that the answers to many go out together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from protocol import events
from protocol.link import Link

_LONG_BYTES: Final = 4 << 10


class Way(Protocol):
    """What frames leave by."""

    @property
    def may_send(self) -> bool:
        """Whether the peer reads as quickly as is written."""

    @property
    def offer(self) -> Callable[[bytes], bool]:
        """What sends a frame at once if :attr:`may_send`, and returns whether it did."""

    def send_now(self, frame: bytes, rest: bytes | memoryview = b"") -> None:
        """Send a frame and, if it is in two pieces, its rest, without waiting."""

    async def send(self, frame: bytes) -> None:
        """Send when the peer has read enough."""


class Waiting(Protocol):
    """An event, of whatever loop there is."""

    def set(self) -> None:
        """Let who waits go on."""

    def clear(self) -> None:
        """Let who comes next wait."""

    async def wait(self) -> Any:
        """Wait until it is set."""


class Turns:
    """Of one link.

    Args:
        link: Whose frames.
        way: What they leave by.
        on: Takes each event of the link.
        work: Not set.
    """

    def __init__(self, link: Link, way: Way, on: Callable[[events.Event], Any], work: Waiting) -> None:
        self._link = link
        self._way = way
        self._offer = way.offer
        self._on = on
        #: Is handed stream and bytes of what nearly every frame brings, and returns whether it knows the stream.
        self.come: Callable[[int, bytes | memoryview], bool] | None = None  # ``on`` takes that as well
        self._work = work  # frames wait for the peer to read
        self._is_taking = self._is_sending = False  # frames in; a frame that was taken out and waits
        self._is_woken = False  # somebody had frames to send while one was taken
        self._is_over = False

    def end(self) -> None:
        """Take and send nothing more; what waits in :meth:`send` returns. Idempotent."""
        self._is_over = True
        self._work.set()

    def take(self, frame: bytes) -> None:
        """Take a frame of the peer; raises as the link and ``on``."""
        if self._is_over:
            return
        self._is_taking, self._is_woken = True, False
        try:
            data = self._link.receive_data(frame) if self.come is not None else None
            if data is None or self.come is None:
                self._is_woken = True  # the link itself may have an answer
                for event in self._link.receive(frame):
                    self._on(event)
            elif not self.come(data[0], data[1]):
                self._is_woken = True
                self._on(events.StreamData(data[0], bytes(data[1])))
        finally:
            self._is_taking = False
        if self._is_woken:
            self.wake()

    def put(self, stream: int, data: bytes | memoryview) -> bool:
        """Send bytes of a stream now, if nothing waits before them and the peer has room; return whether they were.

        What is sent so is in no queue: a key costs less.
        """
        if self._is_taking or self._is_sending or self._is_over:
            return False
        if len(data) >= _LONG_BYTES and not self._way.may_send:  # nothing is copied in vain
            return False
        return self._link.send_at_once(stream, data, self._offer)

    def wake(self) -> None:
        """Send what may go at once; the rest goes when the peer has read enough."""
        self._is_woken = True
        if self._is_taking or self._is_sending or self._is_over or not self._link.has_frames:
            return
        while self._way.may_send:
            pieces = self._link.next_pieces()
            if pieces is None:
                return
            self._way.send_now(*pieces)
        self._work.set()

    async def send(self) -> None:
        """Send what waits for the peer to read, until the end; raises as the way."""
        while not self._is_over:
            await self._work.wait()
            self._work.clear()
            self._is_sending = True
            while (frame := self._link.next_frame()) is not None:
                await self._way.send(frame)
            self._is_sending = False
