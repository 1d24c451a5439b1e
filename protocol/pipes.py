"""Streams of a link as pipes: read what came, write what shall go, each with backpressure. No sockets, no clock.

A pipe gives its peer as much credit as its reader has taken, so that a reader that stops costs one window and nothing
more; a writer waits where the peer gives no credit. Whoever owns the link hands its stream events in and sends the
link's frames when it is woken. What to wait on is injected (``asyncio.Event``), so that tests need no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from protocol import events, limits
from protocol.errors import ConflictError, NotConnectedError, OutriderError, TooLargeError
from protocol.frames import LENGTH_BYTES, LengthPrefixed, blob_head, decode, encode, prefixed
from protocol.link import LOST, Link

WINDOW_BYTES: Final = 1 << 20  # that a peer may be ahead of our reader; 10 Gbit/s over 1 ms needs about this much
WIDE_WINDOW_BYTES: Final = 2 << 20  # of a file that is downloaded: a fifteenth quicker, and what one slow reader holds
MAX_MESSAGE_BYTES: Final = limits.MAX_CHANNEL_FRAME_BYTES + 1024  # of one message: one frame of a gate and its name

_TOGETHER_BYTES: Final = 4 << 10  # of what waits is kept in one piece: a piece of a byte or two costs forty times that
_SHORT_BYTES: Final = 256 + LENGTH_BYTES  # of a message with its length, of which only the last byte is not 0


def _decoded(body: bytes) -> Any:
    return decode(body, max_bytes=MAX_MESSAGE_BYTES)


class GivenUpError(ConflictError):
    """The peer reset the stream; ``reset`` is the code that it gave."""

    def __init__(self, reset: str) -> None:
        self.reset = reset
        super().__init__(f"the peer gave the stream up: {reset}")


class Bell(Protocol):
    """What a pipe waits on; ``asyncio.Event`` is one."""

    def set(self) -> None:
        """Wake whoever waits."""

    def clear(self) -> None:
        """Let whoever comes next wait."""

    async def wait(self) -> object:
        """Return once it is set."""


class Pipe:
    """One stream at one end. One reader and one writer at a time."""

    def __init__(self, pipes: Pipes, number: int, purpose: str, header: Mapping[str, Any], window: int) -> None:
        self.purpose = purpose
        self.header = header
        self._pipes = pipes
        self._number = number
        self._window = max(window, limits.INITIAL_CREDIT_BYTES)
        self._owed = 0  # bytes that were read, and for which no credit was given yet
        self._arrived: deque[bytes | memoryview] = deque()  # views of whole frames, which nobody can change
        self._is_at_end = False  # the peer sends no more
        self._is_finished = False  # we send no more
        self._is_deaf = False  # we read no more
        self._gone: OutriderError | None = None  # why nothing goes on in either direction
        self._readable = pipes.bell()
        self._writable = pipes.bell()
        self._messages = LengthPrefixed(MAX_MESSAGE_BYTES)
        self._unread: deque[bytes] = deque()  # whole messages that were cut out already
        self._take: Callable[[Any], bool] | None = None  # who is handed each message as it comes
        self._read: Callable[[bytes], Any] = _decoded  # makes it of its bytes
        self._refused: Exception | None = None  # what that raised
        self._target: Pipe | None = None  # who is handed all bytes as they come
        self._is_writing = False  # somebody waits for credit in the middle of what they write
        if window > limits.INITIAL_CREDIT_BYTES:
            pipes.link.grant(number, window - limits.INITIAL_CREDIT_BYTES)
            pipes.wake()

    def widen(self, window: int) -> None:
        """Let the peer be ``window`` bytes ahead of our reader, up to ``limits.MAX_CREDIT_BYTES``; never fewer."""
        more = min(window, limits.MAX_CREDIT_BYTES) - self._window
        if more > 0 and not self._is_at_end and self._gone is None:
            self._window += more
            self._pipes.link.grant(self._number, more)
            self._pipes.wake()

    @property
    def is_open(self) -> bool:
        """Whether bytes may still come or go."""
        return self._gone is None and not (self._is_at_end and self._is_finished)

    async def read(self) -> bytes:
        """Return bytes that came; ``b""`` once the peer has finished.

        Raises:
            NotConnectedError: The link ended.
            ConflictError: The peer, or this side, gave the stream up; the text has the code.

        Cancellation:
            Safe.
        """
        if not await self._has_come():
            return b""
        data = self._arrived.popleft()
        self._took(len(data))
        return bytes(data)

    async def gather(self, most: int) -> list[bytes | memoryview]:
        """Return what has come, in pieces of at least one byte; waits for the first, then takes what lies there.

        Args:
            most: Bytes after which no further piece is taken.

        Returns:
            An empty list once the peer has finished. Raises and may be cancelled as :meth:`read`.
        """
        pieces: list[bytes | memoryview] = []
        size = 0
        if await self._has_come():
            while self._arrived and size < most:
                pieces.append(self._arrived.popleft())
                size += len(pieces[-1])
            self._took(size)
        return pieces

    async def _has_come(self) -> bool:
        """Wait until there is something to read; return whether there is, and not the end."""
        while not self._arrived:
            if self._gone is not None:
                raise self._gone
            if self._is_at_end:
                return False
            self._readable.clear()
            await self._readable.wait()
        return True

    async def relay(self, target: Pipe) -> None:
        """Hand on to ``target`` all that comes, in the very turn in which it does while its credit lasts; then the end.

        Credit is given here only for what was handed on, so that a reader there who stops stops the peer here.

        Raises:
            NotConnectedError: A link ended.
            ConflictError: One of the two was given up.
        """
        self._target, self._refused = target, None
        try:
            while True:
                self._readable.clear()
                target._writable.clear()
                self._relay_on()
                if self._refused is not None:
                    raise self._refused
                if self._gone is not None:
                    raise self._gone
                if self._arrived:
                    await target._writable.wait()
                elif self._is_at_end:
                    target.finish()
                    return
                else:
                    await self._readable.wait()
        finally:
            self._target = None

    def _relay_on(self) -> bool:
        """Hand on what the target has credit for; return whether that was all."""
        size = 0
        try:
            while self._target is not None and self._arrived and self._target.write_now(self._arrived[0]):
                size += len(self._arrived.popleft())
        except OutriderError as error:
            self._target, self._refused = None, error
        self._took(size)
        return self._target is not None and not self._arrived

    async def wait_gone(self) -> None:
        """Return once nothing goes on in either direction: the peer gave the stream up, or the link ended."""
        while self._gone is None:
            self._readable.clear()
            await self._readable.wait()

    def _took(self, size: int) -> None:
        """Give credit for what was read, once it is worth a frame: a quarter of the window."""
        self._owed += size
        if self._owed * 4 >= self._window and not self._is_at_end and self._gone is None:
            self._pipes.link.grant(self._number, self._owed)
            self._owed = 0
            self._pipes.wake()

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of ``data``; returns when the last of it is within the peer's credit. Raises as :meth:`read`.

        Cancellation:
            What was sent stays sent; the stream is to be given up.
        """
        left: bytes | memoryview = data
        self._is_writing = True
        try:
            while left:
                self._check_writing()
                self._writable.clear()
                sent = self._pipes.link.send(self._number, left)
                if sent:
                    left = b"" if sent == len(left) else memoryview(left)[sent:]
                    self._pipes.wake()
                if left:
                    await self._writable.wait()
        finally:
            self._is_writing = False

    def write_now(self, data: bytes | memoryview) -> bool:
        """Send all of ``data`` if the peer's credit is enough for it and nothing waits before it; else nothing.

        Returns:
            Whether it was sent. Raises as :meth:`read`.
        """
        if self._gone is not None or self._is_finished:
            self._check_writing()
        if self._is_writing:
            return False
        if self._pipes.put is not None and self._pipes.put(self._number, data):
            return True
        if self._pipes.link.credit(self._number) < len(data):
            return False
        self._pipes.link.send(self._number, data)
        self._pipes.wake()
        return True

    def _check_writing(self) -> None:
        if self._gone is not None:
            raise self._gone
        if self._is_finished:
            raise ConflictError("nothing can be sent on a stream that this side has finished")

    async def receive(self) -> Any:
        """Return the next message (:meth:`send`); None once the peer has finished.

        Raises:
            ProtocolError: What came is no message, or the peer finished in the middle of one.
            NotConnectedError: As :meth:`read`, and ConflictError too.
        """
        while not self._unread:
            data = await self.read()
            if not data:
                if self._messages.pending:
                    raise ConflictError("the peer finished in the middle of a message")
                return None
            self._unread += self._messages.feed(data)
        return _decoded(self._unread.popleft())

    async def receive_each(self, take: Callable[[Any], bool], read: Callable[[bytes], Any] = _decoded) -> None:
        """Hand each message to ``take`` in the very turn in which it comes; no task stands between.

        Args:
            take: Returns whether it wants more. What it raises ends this and is raised here.
            read: Makes what is taken of the bytes of a message; the value that they encode, if nothing else is said.

        Returns:
            Once it wants no more, or the peer has finished. Raises as :meth:`receive`.
        """
        self._take, self._read, self._refused = take, read, None
        try:
            while True:
                self._readable.clear()
                wants_more = self._hand_on()
                if self._refused is not None:
                    raise self._refused
                if not wants_more:
                    return
                if self._gone is not None:
                    raise self._gone
                if self._is_at_end:
                    if self._messages.pending:
                        raise ConflictError("the peer finished in the middle of a message")
                    return
                await self._readable.wait()
        finally:
            self._take = None

    def _hand_on(self) -> bool:
        """Hand on what came; return whether more is wanted. Who wants no more, or raises, is handed nothing more."""
        try:
            while self._take is not None and (self._unread or self._arrived):
                while self._take is not None and self._unread:
                    if not self._take(self._read(self._unread.popleft())):
                        self._take = None
                if self._arrived:
                    data = self._arrived.popleft()
                    self._took(len(data))
                    self._unread += self._messages.feed(bytes(data))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for; who hands frames in has no part in it
            self._take, self._refused = None, error
        return self._take is not None

    async def send(self, message: Any) -> None:
        """Send one message of plain values; raises as :meth:`write`, and TooLargeError."""
        await self.write(prefixed(encode(message, max_bytes=MAX_MESSAGE_BYTES)))

    async def send_bytes(self, word: str, data: bytes | memoryview) -> None:
        """Send the message ``[word, data]``, of which ``data`` is most, with few copies; raises as :meth:`send`."""
        head = b"\x92" + encode(word) + blob_head(len(data))  # a list of two
        size = len(head) + len(data)
        if size > MAX_MESSAGE_BYTES:
            raise TooLargeError(f"a message of {size} bytes is over the limit of {MAX_MESSAGE_BYTES}")
        first = size.to_bytes(LENGTH_BYTES, "big") + head
        room = limits.MAX_STREAM_DATA_BYTES - len(first)  # in the frame of the head
        if len(data) <= room:
            await self.write(b"".join((first, data)))
        else:
            whole = memoryview(data)
            await self.write(b"".join((first, whole[:room])))
            await self.write(whole[room:])

    def send_now(self, message: Any) -> bool:
        """Send one message if it can go at once; returns and raises as :meth:`write_now`, and TooLargeError."""
        return self.write_now(prefixed(encode(message, max_bytes=MAX_MESSAGE_BYTES)))

    def finish(self) -> None:
        """Say that no more will be sent. Idempotent; of no effect once the stream is gone."""
        if not self._is_finished and self._gone is None:
            self._is_finished = True
            if self._pipes.link.close_code is None:
                self._pipes.link.finish(self._number)
                self._pipes.wake()
            self._let_go_if_done()

    def close(self) -> None:
        """Finish, and take no more of what comes; what was sent still arrives. Idempotent."""
        self.finish()
        self._is_deaf = True
        self._arrived.clear()

    def reset(self, code: str) -> None:
        """Give the stream up in both directions at once. Idempotent."""
        if self.is_open:
            if self._pipes.link.close_code is None:
                self._pipes.link.reset(self._number, code)
                self._pipes.wake()
            self._lose(ConflictError(f"this side gave the stream up: {code}"))

    # what the peer did -----------------------------------------------------------------------------------------------

    def _come(self, data: bytes | memoryview) -> None:
        if self._is_deaf:  # no credit is given for it, so that the peer comes to a stop
            return
        newest = self._arrived[-1] if self._arrived else None
        if type(newest) is bytes and len(newest) + len(data) <= _TOGETHER_BYTES:
            self._arrived[-1] = b"".join((newest, data))
        else:
            self._arrived.append(data)
        if (self._take is not None and self._hand_on()) or (self._target is not None and self._relay_on()):
            return  # nothing is left for who waits
        self._readable.set()

    def _end(self) -> None:
        self._is_at_end = True
        self._readable.set()
        self._let_go_if_done()

    def _may_write(self) -> None:
        self._writable.set()

    def _lose(self, error: OutriderError) -> None:
        self._gone = error
        self._pipes.forget(self._number)
        self._readable.set()
        self._writable.set()
        if self._target is not None:  # who relays may wait for its credit
            self._target._writable.set()

    def _let_go_if_done(self) -> None:
        if self._is_at_end and self._is_finished:
            self._pipes.forget(self._number)


class Pipes:
    """The pipes of one link.

    Args:
        link: Whose streams they are.
        wake: Called when the link has frames to send.
        bell: Makes what pipes wait on.
        window: Credit of each pipe, in bytes, up to ``limits.MAX_CREDIT_BYTES``.
        put: Sends bytes of a stream in this moment, if that may be, and returns whether it did.
    """

    def __init__(
        self, link: Link, wake: Callable[[], None], bell: Callable[[], Bell], *, window: int = WINDOW_BYTES,
        put: Callable[[int, bytes | memoryview], bool] | None = None,
    ) -> None:  # fmt: skip
        self.link = link
        self.wake = wake
        self.put = put
        self.bell = bell
        self._window = window
        self._open: dict[int, Pipe] = {}

    def open(self, purpose: str, header: Mapping[str, Any]) -> Pipe:
        """Open a pipe to the peer; raises as :meth:`protocol.link.Link.open`."""
        number = self.link.open(purpose, header, is_two_way=True)
        self.wake()
        return self._add(number, purpose, header)

    def accept(self, opened: events.StreamOpened) -> Pipe:
        """Take up a stream that the peer opened."""
        pipe = self._add(opened.id, opened.purpose, opened.header)
        pipe._is_finished = not opened.is_two_way
        return pipe

    def on(self, event: events.Event) -> bool:
        """Hand an event in; False if it is about no pipe."""
        pipe = self._open.get(getattr(event, "id", -1))
        if pipe is None:
            return False
        match event:
            case events.StreamData(data=data):
                pipe._come(data)
            case events.StreamFinished():
                pipe._end()
            case events.StreamWritable():
                pipe._may_write()
            case events.StreamReset(code=code):
                pipe._lose(_lost(code))
            case _:
                return False
        return True

    def come(self, number: int, data: bytes | memoryview) -> bool:
        """Hand bytes of a stream in; False if it is no pipe's."""
        pipe = self._open.get(number)
        if pipe is None:
            return False
        if (
            pipe._take is not None and LENGTH_BYTES < len(data) < _SHORT_BYTES and type(data) is bytes
            and data[:3] == b"\0\0\0" and data[3] == len(data) - LENGTH_BYTES
            and not (pipe._arrived or pipe._unread or pipe._messages.pending or pipe._is_deaf)
            and (pipe._owed + len(data)) * 4 < pipe._window
        ):  # fmt: skip  # one short message whole, as of a key, in few steps
            pipe._owed += len(data)
            try:
                if pipe._take(pipe._read(data[LENGTH_BYTES:])):
                    return True
                pipe._take = None
            except Exception as error:  # noqa: BLE001 - as in Pipe._hand_on
                pipe._take, pipe._refused = None, error
            pipe._readable.set()
        else:
            pipe._come(data)
        return True

    def lose(self) -> None:
        """The link is gone."""
        for pipe in list(self._open.values()):
            pipe._lose(NotConnectedError(f"the link ended ({self.link.close_code or LOST})"))

    def forget(self, number: int) -> None:
        """A pipe is done."""
        self._open.pop(number, None)

    def _add(self, number: int, purpose: str, header: Mapping[str, Any]) -> Pipe:
        pipe = self._open[number] = Pipe(self, number, purpose, header, self._window)
        return pipe


def _lost(code: str) -> OutriderError:
    if code == "lost":
        return NotConnectedError("the link ended")
    return GivenUpError(code)
