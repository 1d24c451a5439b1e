"""The gate's end of one worker's socket: bytes between the loop and the conversation, and nothing else.

It never blocks and never raises for what a worker does. Until it is told to listen it reads nothing, and while the run
has not taken what came (it may be closing something that was released) it reads nothing more: a worker which speaks
meanwhile fills its socket and no memory here. Events wait in order until they are taken. While the run is busy with a
call it takes no events; then whatever ends the conversation is told at once through ``on_trouble``. A call that comes
while the run waits is offered to ``on_call`` at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sandbox.channel import READ_BYTES, Asked, CallMade, Conversation, Event, Pulled, Violated
from sandbox.ears import Ear
from sandbox.inline import Suspended
from sandbox.replies import Reply

# Waking up costs more than a call: 30 us on a virtual machine, against 15 us until an honest script calls again. So a
# run that calls briskly is listened to for a moment instead; this costs less CPU than the sleep would. Measured.
BRISK_NS: Final = 200_000  # between an answer and the next call, for a run to count as brisk
SPIN_NS: Final = 60_000  # at most this long for one call
TURN_NS: Final = 1_000_000  # and for all of them together, before the loop serves others
#: Calls that are slept for after many moments in vain: where gate and worker share one processor, as on a busy host, to
#: wait for it is to stand in its way.
MAX_REST: Final = 64

_ASKED: Final = (CallMade, Pulled)
_TRANSIENT: Final = (BlockingIOError, InterruptedError)


class Wire:
    """One worker's socket.

    Args:
        loop: Any loop with ``add_reader`` and ``add_writer``.
        sock: This side of the socketpair, not blocking; owned from here on.
        on_call: Takes a call at once: answers it, or returns what the run has to go on with.
        on_trouble: Called with a violation, or None for the end of the stream, seen while a call is open.
        ear: Of that socket, if there is one already; owned from here on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_call: Callable[[Asked], Suspended[Reply] | None],
        on_trouble: Callable[[Violated | None], None],
        ear: Ear | None = None,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_call = on_call
        self._on_trouble = on_trouble
        self._ear = ear or Ear(loop, sock)
        self._conversation = Conversation()
        self._events: deque[Event | Suspended[Reply]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._answered_ns = 0  # monotonic; when the last turn ended
        self._rest = 0  # calls to sleep for before one is waited for again
        self._next_rest = 1  # after the next moment in vain
        self._unsent: bytes | memoryview = b""  # what the socket did not take at once
        self._is_paused = False  # nothing is read until all events are taken
        self._is_ended = False  # the worker's end is closed
        self._is_closed = False

    def listen(self) -> None:
        """Begin to read what the worker says. Once."""
        self._ear.give(self._on_readable)
        self._ear.open()

    async def next(self) -> Event | Suspended[Reply] | None:
        """Return the next event; None when the worker's end is closed.

        Cancellation:
            Safe; no event is lost. What was begun meanwhile is told in place of this: it may have asked for it.
        """
        while not self._events:
            if self._is_ended or self._is_closed:
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                begun = self._events[0] if self._events else None
                if not isinstance(begun, Suspended):
                    raise
                begun.interrupt(error)
            finally:
                self._waiter = None
        event = self._events.popleft()
        if self._is_paused and not self._events:
            self._is_paused = False
            self._ear.open()
        if isinstance(event, _ASKED) and self._events and isinstance(self._events[0], Violated):
            self._loop.call_soon(self._on_trouble, self._events[0])  # it came with the call, which may take long
        return event

    def send(self, data: bytes) -> None:
        """Send; what the socket does not take now goes when it does."""
        if self._is_closed:
            return
        if self._unsent:
            self._unsent = bytes(self._unsent) + data
            return
        try:
            sent = self._sock.send(data)
        except OSError as error:  # not now, or the worker is gone, which is seen by reading
            sent = 0 if isinstance(error, _TRANSIENT) else len(data)
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]  # so that what is left of a large answer is not copied
            self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def answer(self, body: bytes) -> None:
        """Answer the open call."""
        self.send(self._conversation.answer(body))
        self._conversation.is_answer_unread = bool(self._unsent)

    def close(self) -> None:
        """Stop listening and close the socket. Whatever comes later is not seen. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ear.close()
        if self._unsent:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._wake()
        for event in self._events:
            if isinstance(event, Suspended):  # begun, and stopped before the run could go on with it
                event.abandon()
        self._events.clear()

    def _on_readable(self) -> None:
        """Take what is there. A worker that calls and calls again is waited for a moment, within one short turn."""
        now_ns = time.monotonic_ns()
        turn_ends_ns = now_ns + TURN_NS
        is_brisk = now_ns - self._answered_ns < BRISK_NS
        data = self._receive(now_ns)
        while data is not None and self._take(data) and is_brisk:
            now_ns = self._answered_ns = time.monotonic_ns()
            if now_ns >= turn_ends_ns:  # however quick it is: its next call may be here already, and the one after it
                break
            data = self._wait(now_ns, turn_ends_ns)
        self._answered_ns = time.monotonic_ns()

    def _wait(self, now_ns: int, turn_ends_ns: int) -> bytes | None:
        """Return the next call, if it is worth waiting for and comes within a moment."""
        if self._rest:
            self._rest -= 1
            return None
        until_ns = now_ns + SPIN_NS
        data = self._receive(min(until_ns, turn_ends_ns))
        if data is not None:
            self._next_rest = 1
        elif until_ns <= turn_ends_ns:
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, MAX_REST)
        return data

    def _receive(self, until_ns: int) -> bytes | None:
        """Return what the worker sent, empty at its end; None if there is nothing up to then."""
        while True:
            try:
                return self._sock.recv(READ_BYTES)
            except _TRANSIENT:
                if time.monotonic_ns() >= until_ns:
                    return None
            except OSError:  # reset: a worker that died with unread bytes; the same as its end
                return b""

    def _take(self, data: bytes) -> bool:
        """Take received bytes; return whether they were one call that is answered already."""
        if not data:
            self._end()
            return False
        was_call_open = self._conversation.is_call_open
        events = self._conversation.receive(data)
        if len(events) == 1 and not self._events and self._waiter is not None and isinstance(events[0], _ASKED):
            suspended = self._on_call(events[0])
            if suspended is None:
                return not self._is_closed
            self._events.append(suspended)
        else:
            self._events.extend(events)
        if was_call_open and events and isinstance(events[-1], Violated):
            self._on_trouble(events[-1])
        elif self._waiter is None and self._events and not self._conversation.is_call_open and not self._is_closed:
            self._is_paused = True
            self._ear.close()
        self._wake()
        return False

    def _end(self) -> None:
        self._is_ended = True
        self._ear.close()  # or the end would be reported for ever
        if self._conversation.is_call_open:
            self._on_trouble(None)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _send_some(self, data: memoryview) -> bytes | memoryview:
        """Return what is left."""
        try:
            return data[self._sock.send(data) :]
        except _TRANSIENT:
            return data
        except OSError:  # the worker is gone; its end is seen by reading
            return b""

    def _on_writable(self) -> None:
        self._unsent = self._send_some(memoryview(self._unsent))
        if not self._unsent:
            self._conversation.is_answer_unread = False
            self._loop.remove_writer(self._sock.fileno())
