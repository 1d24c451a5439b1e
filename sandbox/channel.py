"""The frames between one worker and its gate, and the rules of their conversation.

Every frame is a length of 4 bytes and one MessagePack array. Worker to gate: ``[1, call, [arguments], {named}]``,
``[2, output]``, ``[3, value, error, output_bytes]`` (the result; ``error`` is nil or ``[message, where, code]``),
``[4, stream]`` (a pull: asks for what comes next), ``[5, handle]`` (a release, which is not answered). Gate to worker:
once ``[0, [main, [[path, file], ...], {parameters}, output_bytes, libraries, codes]]`` or ``[6, [main, source]]``, then
``[1, value]``, ``[2, {code, message, ...}]``, ``[3, [handle, kind, {fields}]]``, ``[4, [[items], is it the end,
summary]]``, ``[5, [[blocks], is it the end, summary]]`` (of ``protocol.columns``), or, as the next of a stream of
bytes, one frame that is no MessagePack: ``RAW`` and the bytes, so that they are only copied.

The conversation, for which :class:`Conversation` is the judge:

- The gate starts with one start frame. A worker speaks any time, except while its call or its pull is open.
- One of those is open at most; a second one, or anything else while one is open, ends the run.
- A worker reads its answer before it speaks again; one that does not ends its run, so answers never pile up.
- A result is the last frame; anything after it ends the run.
- A frame that is too large, malformed or of an unknown kind ends the run; output of no bytes is malformed, as it
  would cost nothing and could go on for ever.

:class:`Channel` is the worker's side. It knows only ``read`` and ``write``, as the locked worker may do nothing else.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import read, write
from typing import Any, Final, NamedTuple

from protocol.columns import Columns, rows_of
from protocol.errors import OutriderError, ProtocolError, TooLargeError
from protocol.frames import LengthPrefixed, decode, decode_trusted, encode, encode_trusted
from protocol.limits import MAX_BUNDLE_BYTES, MAX_CHANNEL_FRAME_BYTES
from sandbox.modules import NONE, Libraries
from sandbox.runtimes import NO_CODES, CallError, Codes, Remote, Taken
from sandbox.values import CALL_CAPS, RESULT_CAPS

START: Final = 0
CALL, VALUE = 1, 1
OUTPUT, ERROR = 2, 2
RESULT, HANDLE = 3, 3
PULL, BATCH = 4, 4
RELEASE, BLOCKS = 5, 5
COMPILE: Final = 6
RAW: Final = b"\xc1"  # the one byte that begins no MessagePack value

_STARTS: Final = {START: 6, COMPILE: 2}  # what begins a conversation -> how many values its body has
_ERROR_PARTS: Final = ("message", "where", "code")

MAX_CODE_BYTES: Final = 512 * 1024  # of what one text was compiled to; the code of a line takes about 60 bytes
MAX_CODES_BYTES: Final = 1024 * 1024  # of what the files of one program were compiled to, together
#: A whole bundle, what stands around it, and what its files were compiled to.
MAX_START_FRAME_BYTES: Final = MAX_BUNDLE_BYTES + MAX_CHANNEL_FRAME_BYTES + MAX_CODES_BYTES
#: In a frame from a worker: a key and a value for each element that may cross, and what stands around them. Decoding so
#: many takes the agent's loop 60 ms on a slow machine, and a worker can send one frame after the other.
MAX_WORKER_ITEMS: Final = 2 * max(CALL_CAPS.items, RESULT_CAPS.items) + 64
MAX_CALL_NAME_CHARS: Final = 128  # the longest name in the catalogue has under 30
MAX_ERROR_CHARS: Final = 4096  # of an error text; the runtimes cut there as well
READ_BYTES: Final = 64 * 1024  # at once; more needs a fresh mapping for each read
#: A quick call is answered in 40 us; to go to sleep and to be woken takes a worker 25 us, and the gate 8 us for waking
#: it. So a worker listens for a moment first. Measured.
LISTEN_NS: Final = 80_000
_DONT_WAIT: Final = int(socket.MSG_DONTWAIT)  # a plain number: the enumeration's is looked into at each use
#: The length before a frame, as a tuple of one number. ``int.from_bytes`` has a worker copy eight pages.
_length_of: Final = struct.Struct(">I").unpack_from
MAX_REST: Final = 64  # answers that are slept for, after many moments in vain: calls are slow, or the host is busy


def framed(body: bytes) -> bytes:
    """Return ``body`` with its length before it."""
    return len(body).to_bytes(4, "big") + body


def _cut(splitter: LengthPrefixed, data: bytes) -> list[bytes]:
    """Return the frames that ``data`` completes; the usual case, exactly one of them, is not copied about."""
    size = len(data) - 4
    if size >= 0 and _length_of(data) == (size,) and not splitter.pending:
        return [data[4:]]  # under every limit: no more than READ_BYTES are read at once
    return splitter.feed(data)


class Channel:
    """The worker's side: blocking, over one descriptor.

    Args:
        descriptor: The worker's end of the socketpair.
        ahead: Whether nobody waits at the other end yet.
        take: Receives from that very descriptor, up to so many bytes and with these flags of recv(2). If given, the
            channel listens for an answer before it sleeps for it; for hosts that have another processor for the gate.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        ahead: bool = False,
        take: Callable[[int, int], bytes] | None = None,
    ) -> None:
        self._descriptor = descriptor
        self.ahead = ahead
        self.gives_bytes = False  # for texts too, once the program is there: a language of byte strings needs no other
        self._take = take
        self._rest = 0  # answers to sleep for before it listens again
        self._next_rest = 1  # after the next moment in vain
        self._splitter = LengthPrefixed(max_bytes=MAX_START_FRAME_BYTES)
        self._frames: list[bytes] = []  # whole, not yet looked at

    def receive_start(self) -> tuple[int, list[Any]]:
        """Return what to do and with what: ``START`` or ``COMPILE``, and the body of that frame. Blocks until it comes.

        Raises:
            EOFError: The gate is gone.
            ProtocolError: It was no such frame.
        """
        start = self._receive(MAX_START_FRAME_BYTES)
        kind, body = start
        if type(body) is not list or len(body) != _STARTS.get(kind):
            raise ProtocolError("the first frame is no start frame")
        return start

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Make one call and return its value, or the ``Remote`` that stands for what it gave.

        Raises:
            CallError: The gate refused, or the call failed.
            TooLargeError: The arguments fit no frame; nothing was sent.
            EOFError: The gate is gone.
        """
        self._send([CALL, name, args, named])
        kind, body = self._answer()
        if kind == VALUE:
            return body
        if kind == HANDLE and type(body) is list and len(body) == 3:
            return Remote(body[0], _text(body[1]), body[2])
        raise _failed(kind, body)

    def pull(self, stream: int) -> Taken:
        """Return what comes next of a stream.

        Raises:
            CallError: It failed; nothing more comes.
            EOFError: The gate is gone.
        """
        self._send([PULL, stream])
        kind, body = self._answer()
        if kind in (BATCH, BLOCKS) and type(body) is list and len(body) == 3:
            return Taken(body[0], body[1], body[2], kind == BLOCKS)
        raise _failed(kind, body)

    def release(self, handle: int) -> None:
        """Give a handle back. There is no answer: whatever is asked next is looked at after it."""
        self._send([RELEASE, handle])

    def output(self, data: bytes) -> None:
        """Send what the script printed."""
        self._send([OUTPUT, data])

    def finish(self, value: Any, error: list[str | None] | None = None, output_bytes: int = 0) -> None:
        """Send the one result.

        Args:
            value: Of the program; None if it failed.
            error: Message, place and code, each None if there is none, of a program that failed.
            output_bytes: What was printed, sent or not.

        Raises:
            TooLargeError: It fits no frame; nothing was sent.
        """
        body = encode_trusted([RESULT, value, error, output_bytes], MAX_CHANNEL_FRAME_BYTES)
        self._write(len(body).to_bytes(4, "big") + body)

    def _send(self, message: list[Any]) -> None:
        self._write(framed(encode(message, max_bytes=MAX_CHANNEL_FRAME_BYTES)))

    def _write(self, data: bytes) -> None:
        sent = write(self._descriptor, data)
        while sent < len(data):
            sent += write(self._descriptor, memoryview(data)[sent:])

    def _read(self) -> bytes:
        return read(self._descriptor, READ_BYTES)

    def _answer(self) -> tuple[int, Any]:
        """Return what the gate answers."""
        if self._take is not None and not self._frames:
            if self._rest:
                self._rest -= 1
            else:
                self._frames = _cut(self._splitter, self._listen(self._take))
        return self._receive(MAX_CHANNEL_FRAME_BYTES)

    def _listen(self, take: Callable[[int, int], bytes]) -> bytes:
        """Return what comes within a moment, or sleep until something does."""
        until_ns = time.monotonic_ns() + LISTEN_NS
        while True:
            try:
                data = take(READ_BYTES, _DONT_WAIT)
            except BlockingIOError:
                if time.monotonic_ns() < until_ns:
                    continue
            else:
                self._next_rest = 1
                return data or self._read()
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, MAX_REST)
            return self._read()

    def _receive(self, max_bytes: int) -> tuple[int, Any]:
        while not self._frames:
            data = self._read()
            if not data:
                raise EOFError("the gate is gone")
            self._frames = _cut(self._splitter, data)
        frame = self._frames.pop(0)
        if frame[:1] == RAW:
            return BATCH, [[frame[1:]], False, None]
        if len(frame) > max_bytes:
            raise ProtocolError("a frame of the gate is too large")
        message = decode_trusted(frame, texts=not self.gives_bytes)
        if type(message) is not list or len(message) != 2:
            raise ProtocolError("a frame of the gate is malformed")
        return message[0], message[1]


def _failed(kind: int, body: Any) -> CallError:
    if kind != ERROR or type(body) is not dict:
        raise ProtocolError(f"frame of kind {kind!r} is no answer")
    told = {_text(key): _text(value) for key, value in body.items()}
    return CallError(told.pop("code"), told.pop("message"), told)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if type(value) is bytes else value


class Loopback(Channel):
    """A channel that nobody hears: it gives one program and answers each call with nothing. For rehearsals.

    Args:
        start: The start frame of the program.
    """

    def __init__(self, start: bytes) -> None:
        super().__init__(-1)
        self._answers = [start]

    def _write(self, data: bytes) -> None:
        self._answers.append(framed(encode([VALUE, None], max_bytes=MAX_CHANNEL_FRAME_BYTES)))

    def _read(self) -> bytes:
        return self._answers.pop(0)


class CallMade(NamedTuple):  # made for each call; a frozen class takes three times as long
    """The worker asks for one call."""

    name: str
    args: list[Any]
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pulled:
    """The worker asks for what comes next of a stream."""

    stream: int  # what it claims; any number


@dataclass(frozen=True, slots=True)
class Released:
    """The worker needs a handle no more."""

    handle: int  # what it claims; any number


@dataclass(frozen=True, slots=True)
class Printed:
    """The script printed something."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The script has ended by itself. Everything here is what the worker claims."""

    ok: bool
    value: Any
    message: str | None  # at most MAX_ERROR_CHARS; None if ok
    where: str | None  # ``main.lua:4``
    code: str | None  # of an uncaught error of a call
    output_bytes: int  # what the script printed, sent or not


@dataclass(frozen=True, slots=True)
class Violated:
    """The worker broke the rules. Nothing after it is looked at."""

    error: OutriderError


Asked = CallMade | Pulled  # what is answered
Event = Asked | Released | Printed | Finished | Violated


class Conversation:
    """The gate's side of one channel: bytes in, events out; no I/O, never raises for what a worker sends."""

    def __init__(self) -> None:
        self._splitter = LengthPrefixed(max_bytes=MAX_CHANNEL_FRAME_BYTES)
        self.is_call_open = False  # something was asked and not yet answered
        self.is_answer_unread = False  # the newest answer is not all in the socket, so the worker cannot have read it
        self.is_over = False  # a result or a violation was seen

    def receive(self, data: bytes) -> list[Event]:
        """Return what ``data`` completes, in order. A violation is the last event there ever is."""
        if self.is_over:
            return []  # not an error: this side stopped listening, and the socket is about to be closed
        events: list[Event] = []
        try:
            for frame in _cut(self._splitter, data):
                message = decode(frame, max_bytes=MAX_CHANNEL_FRAME_BYTES, max_items=MAX_WORKER_ITEMS)
                events.append(self._event(message))
        except OutriderError as error:
            events.append(Violated(error))
            self.is_over = True
        return events

    def answer(self, body: bytes) -> bytes:
        """Return the bytes that answer the open call with an encoded frame (:func:`value_body`, :func:`error_body`)."""
        self.is_call_open = False
        return framed(body)

    def _event(self, message: Any) -> Event:
        if self.is_over:
            raise ProtocolError("a frame came after the result")
        if type(message) is not list or not message or type(message[0]) is not int:
            raise ProtocolError("a frame is no message")
        if self.is_call_open:
            raise ProtocolError("a frame came while a call was open")
        if self.is_answer_unread:
            raise ProtocolError("a frame came before the answer to the call was read")
        if message[0] == CALL and len(message) == 4:  # most are calls; matching a pattern takes three times as long
            _, name, args, named = message
            if type(name) is str and len(name) <= MAX_CALL_NAME_CHARS and type(args) is list and type(named) is dict:
                self.is_call_open = True
                return CallMade(name, args, named)
        match message:
            case [4, int() as stream]:
                self.is_call_open = True
                return Pulled(stream)
            case [5, int() as handle]:
                return Released(handle)
            case [2, bytes() as data] if data:
                return Printed(data)
            case [3, value, error, int() as output_bytes]:
                finished = _finished(value, error, output_bytes)
                self.is_over = True
                return finished
        raise ProtocolError(f"a frame of kind {message[0]} is unknown or malformed")


def start_frame(
    *,
    main: str,
    files: Mapping[str, bytes],
    parameters: Mapping[str, Any],
    output_bytes: int,
    libraries: Libraries = NONE,
    codes: Codes = NO_CODES,
) -> bytes:
    """Return the bytes that start a program; ``codes`` is what its files were compiled to, as far as that is known.

    Raises:
        TooLargeError: The files, with those of its libraries, are more than a bundle may hold.
    """
    held = libraries.to_plain() if libraries.requires else None
    body = [main, [*map(list, files.items())], dict(parameters), output_bytes, held, codes or None]
    return framed(encode([START, body], max_bytes=MAX_START_FRAME_BYTES))


def compile_frame(main: str, source: bytes) -> bytes:
    """Return the bytes that have a worker compile one text, run nothing, and give the code as its result."""
    return framed(encode([COMPILE, [main, source]], max_bytes=MAX_START_FRAME_BYTES))


def value_body(value: Any) -> bytes:
    """Return the encoded answer ``value``. A text with undecodable bytes (PEP 383), such as the name of a file that is
    not UTF-8, travels as the bytes it stands for.

    Raises:
        TooLargeError: It fits no frame.
        ProtocolError: It is not made of plain values.
    """
    try:
        return encode([VALUE, value], max_bytes=MAX_CHANNEL_FRAME_BYTES)
    except TooLargeError:
        raise
    except ProtocolError:  # seldom: only then is every text looked at
        return encode([VALUE, _with_bytes(value)], max_bytes=MAX_CHANNEL_FRAME_BYTES)


def handle_body(number: int, kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return the encoded answer that gives a handle; texts of ``fields`` as in :func:`value_body`.

    Raises:
        TooLargeError: The fields fit no frame.
    """
    try:
        return encode([HANDLE, [number, kind, dict(fields)]], max_bytes=MAX_CHANNEL_FRAME_BYTES)
    except TooLargeError:
        raise
    except ProtocolError:
        return encode([HANDLE, [number, kind, _with_bytes(dict(fields))]], max_bytes=MAX_CHANNEL_FRAME_BYTES)


def check_raw(data: bytes) -> None:
    """Return if bytes may be all of an answer to a pull.

    Raises:
        TooLargeError: They fit no frame.
    """
    if len(data) >= MAX_CHANNEL_FRAME_BYTES:
        raise TooLargeError(f"{len(data)} bytes of a stream are over the limit of {MAX_CHANNEL_FRAME_BYTES}")


def raw_body(data: bytes) -> bytes:
    """Return the answer to a pull that is nothing but bytes; raises as :func:`check_raw`."""
    check_raw(data)
    return RAW + data


def batch_body(items: list[Any], is_end: bool, summary: Any) -> bytes:
    """Return the encoded answer to a pull; raises as :func:`value_body`."""
    try:
        return encode([BATCH, [items, is_end, summary]], max_bytes=MAX_CHANNEL_FRAME_BYTES)
    except TooLargeError:
        raise
    except ProtocolError:
        return encode([BATCH, [_with_bytes(items), is_end, _with_bytes(summary)]], max_bytes=MAX_CHANNEL_FRAME_BYTES)


def blocks_body(blocks: list[Columns], is_end: bool, summary: Any) -> bytes:
    """Return the encoded answer to a pull that gives rows in columns; raises as :func:`value_body`."""
    wire = [block.to_wire() for block in blocks]
    return encode([BLOCKS, [wire, is_end, _with_bytes(summary)]], max_bytes=MAX_CHANNEL_FRAME_BYTES)


def batch_of(body: bytes) -> Taken:
    """Return what an answer to a pull holds, other than one of ``RAW``, as plain items."""
    kind, (items, is_end, summary) = decode_trusted(body)
    return Taken([row for block in items for row in rows_of(block)] if kind == BLOCKS else items, is_end, summary)


def _with_bytes(value: Any) -> Any:
    """Return a copy of a bounded value with each text that UTF-8 cannot hold as bytes, in a key with escapes."""
    if type(value) is str:
        return value if _is_utf8(value) else value.encode("utf-8", "surrogateescape")
    if type(value) is list:
        return [_with_bytes(item) for item in value]
    if type(value) is dict:
        return {key if _is_utf8(key) else escaped(key): _with_bytes(item) for key, item in value.items()}
    return value


def escaped(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot hold, as in the name of a file, written as ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def recordable(value: Any) -> Any:
    """Return a copy of a bounded value in which each text is one that a record can hold, as of :func:`escaped`."""
    if type(value) is str:
        return escaped(value)
    if type(value) is list:
        return [recordable(item) for item in value]
    if type(value) is dict:
        return {escaped(key): recordable(item) for key, item in value.items()}
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def error_body(code: str, message: str, **fields: str) -> bytes:
    """Return the encoded answer to a call that failed. Any text is taken: what is too long is cut, what is no UTF-8 is
    escaped, as a call that failed must not fail once more on its way to the record.
    """
    texts = {"message": message, **fields}
    cut = {name: escaped(text)[:MAX_ERROR_CHARS] for name, text in texts.items()}
    return encode([ERROR, {"code": code, **cut}], max_bytes=MAX_CHANNEL_FRAME_BYTES)


def _finished(value: Any, error: Any, output_bytes: int) -> Finished:
    if type(output_bytes) is not int or output_bytes < 0:  # True is an int as well
        raise ProtocolError("the result is malformed")
    if error is None:
        return Finished(True, value, None, None, None, output_bytes)
    if value is not None or type(error) is not list or len(error) != len(_ERROR_PARTS):
        raise ProtocolError("the result is malformed")
    message, where, code = map(_short, error)
    return Finished(False, None, message or "the script failed", where, code, output_bytes)


def _short(text: Any) -> str | None:
    if text is not None and (type(text) is not str or len(text) > MAX_ERROR_CHARS):
        raise ProtocolError("the error in the result is malformed")
    return text
