"""One link between agent and server, without I/O: frames in, events out; commands in, frames out.

The same class stands at both ends. Rules it keeps:

- A stream is opened by either side (agent: odd ids, server: even ids), carries bytes both ways, and each direction only
  as far as the receiver gave credit. Sending beyond credit is a protocol error; so one stream can neither starve the
  others nor fill memory.
- Records travel from agent to server in sequence, each exactly once on a link; a gap or a repeat is a protocol error.
- Every request is answered once; every answer belongs to an open request.
- Hostile frames raise ProtocolError (or its TooLargeError) and close the link; nothing else leaves :meth:`receive`.
- When the connection is lost, every open stream and request is reported exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from protocol import limits, messages
from protocol.errors import DOORS, ConflictError, ProtocolError, TooLargeError, UnavailableError
from protocol.messages import Kind


class Role(StrEnum):
    """Which end of the link."""

    AGENT = "agent"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks; answer with ``respond`` or ``fail``."""

    id: int
    method: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """The peer answered our request ``id``."""

    id: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """Our request ``id`` failed; code ``not_connected`` if the connection was lost."""

    id: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    id: int
    purpose: str
    header: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes arrived; grant credit once they are dealt with."""

    id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """The peer gave more credit."""

    id: int


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer will send no more on this stream."""

    id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The stream is gone in both directions; code ``lost`` if the connection was lost."""

    id: int
    code: str


@dataclass(frozen=True, slots=True)
class RecordsReceived:
    """Records arrived, in sequence from ``first``."""

    first: int
    blobs: list[bytes]


@dataclass(frozen=True, slots=True)
class RecordsAcknowledged:
    """The server holds everything up to and with ``through`` on disk."""

    through: int


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The peer answered ping ``number``."""

    number: int


Event = (
    RequestReceived | ResponseReceived | RequestFailed | StreamOpened | StreamData | StreamWritable | StreamFinished
    | StreamReset | RecordsReceived | RecordsAcknowledged | PongReceived
)  # fmt: skip


class _Stream:
    """State of one stream at this end."""

    __slots__ = ("may_receive", "may_send", "receive_credit", "send_credit", "waiting")

    def __init__(self, send_credit: int) -> None:
        self.send_credit = send_credit  # bytes the peer still lets us send
        self.receive_credit = limits.INITIAL_CREDIT_BYTES  # bytes we still let the peer send
        self.may_send = True
        self.may_receive = True
        self.waiting: deque[bytes] = deque()  # frames of this stream that were not taken yet


class Link:
    """One end of a link. Not thread-safe; one owner.

    Args:
        role: Which end this is.
        next_record: The sequence that the next record must have.
    """

    def __init__(self, role: Role, *, next_record: int) -> None:
        self.role = role
        self.close_code: int | None = None  # WebSocket close code; set once the link is closed
        self.close_reason = ""
        self._next_record = next_record
        self._acknowledged = next_record - 1
        self._streams: dict[int, _Stream] = {}
        self._next_stream = 1 if role is Role.AGENT else 2
        self._last_peer_stream = 0
        self._next_request = 1
        self._asked: set[int] = set()  # our requests that wait for their answer
        self._asking: set[int] = set()  # the peer's requests that wait for ours
        self._last_asking = 0
        self._control: deque[bytes] = deque()
        self._turn: deque[int] = deque()  # streams with frames waiting, in order of their turn
        self._bulk: deque[bytes] = deque()  # batches of records

    # commands ----------------------------------------------------------------------------------------------------

    def request(self, method: str, body: Mapping[str, Any]) -> int:
        """Ask the peer; return the id that the answer will have."""
        self._check_open()
        if len(self._asked) >= limits.MAX_REQUESTS:
            raise UnavailableError("too many requests are unanswered on this link")
        table = messages.REQUESTS_OF_AGENT if self.role is Role.AGENT else messages.REQUESTS_OF_SERVER
        messages.check_request(method, body, table)
        number = self._next_request
        self._control.append(messages.pack(Kind.REQUEST, number, method, dict(body)))
        self._next_request += 1
        self._asked.add(number)
        return number

    def respond(self, number: int, body: Mapping[str, Any]) -> None:
        """Answer the peer's request ``number``."""
        self._answer(number)
        self._control.append(messages.pack(Kind.RESPONSE, number, dict(body)))

    def fail(self, number: int, code: str, message: str) -> None:
        """Tell the peer that its request ``number`` failed."""
        self._answer(number)
        self._control.append(messages.pack(Kind.FAILURE, number, code, message[: limits.MAX_ERROR_TEXT_BYTES // 4]))

    def _answer(self, number: int) -> None:
        self._check_open()
        if number not in self._asking:
            raise ConflictError(f"request {number} is not waiting for an answer")
        self._asking.discard(number)

    def open(self, purpose: str, header: Mapping[str, Any]) -> int:
        """Open a stream; return its id. The peer's credit arrives as StreamWritable."""
        self._check_open()
        if len(self._streams) >= limits.MAX_STREAMS:
            raise UnavailableError("too many streams are open on this link")
        number = self._next_stream
        frame = messages.pack(Kind.OPEN, number, purpose, dict(header), limits.INITIAL_CREDIT_BYTES)
        self._next_stream += 2
        self._streams[number] = _Stream(limits.INITIAL_CREDIT_BYTES)
        self._control.append(frame)
        return number

    def send(self, number: int, data: bytes) -> int:
        """Send as much of ``data`` as the peer's credit allows; return how many bytes that was."""
        stream = self._sending(number)
        size = min(len(data), stream.send_credit)
        for at in range(0, size, limits.MAX_STREAM_DATA_BYTES):
            part = data[at : min(at + limits.MAX_STREAM_DATA_BYTES, size)]
            self._queue(number, stream, messages.pack(Kind.DATA, number, bytes(part)))
        stream.send_credit -= size
        return size

    def grant(self, number: int, credit: int) -> None:
        """Let the peer send ``credit`` more bytes. Granting to a stream that is gone does nothing."""
        stream = self._streams.get(number)
        if stream is None or not stream.may_receive or credit <= 0:
            return
        credit = min(credit, limits.MAX_CREDIT_BYTES - stream.receive_credit)
        if credit > 0:
            stream.receive_credit += credit
            self._control.append(messages.pack(Kind.CREDIT, number, credit))

    def finish(self, number: int) -> None:
        """Say that no more bytes follow on a stream."""
        stream = self._sending(number)
        stream.may_send = False
        self._queue(number, stream, messages.pack(Kind.FINISH, number))

    def reset(self, number: int, code: str) -> None:
        """Give up a stream at once, in both directions; what was queued on it is dropped."""
        if self._streams.pop(number, None) is not None:
            self._control.append(messages.pack(Kind.RESET, number, code))

    def send_records(self, first: int, blobs: Sequence[bytes]) -> None:
        """Send records in sequence; the agent's command."""
        self._check_open()
        if self.role is not Role.AGENT or first != self._next_record:
            raise ConflictError(f"records must go on from {self._next_record}, not {first}")
        for batch in batches(blobs):
            self._bulk.append(messages.pack(Kind.RECORDS, self._next_record, batch))
            self._next_record += len(batch)

    def acknowledge(self, through: int) -> None:
        """Say that everything up to and with ``through`` is on disk; the server's command."""
        self._check_open()
        if self.role is not Role.SERVER or not self._acknowledged <= through < self._next_record:
            raise ConflictError(f"{through} cannot be acknowledged")
        self._acknowledged = through
        self._control.append(messages.pack(Kind.ACKNOWLEDGE, through))

    def ping(self, number: int) -> None:
        """Ask for a sign of life."""
        self._check_open()
        self._control.append(messages.pack(Kind.PING, number))

    def take(self) -> list[bytes]:
        """Return the frames to send now: control first, then the streams in turn, then records."""
        frames = list(self._control)
        self._control.clear()
        while self._turn:
            number = self._turn.popleft()
            stream = self._streams.get(number)
            if stream is None or not stream.waiting:
                continue
            frames.append(stream.waiting.popleft())
            if stream.waiting:
                self._turn.append(number)
            else:
                self._forget_if_done(number, stream)
        frames += self._bulk
        self._bulk.clear()
        return frames

    def lost(self) -> list[Event]:
        """The connection is gone: return what every open stream and request became."""
        events: list[Event] = [StreamReset(number, "lost") for number in sorted(self._streams)]
        events += [RequestFailed(number, "not_connected", "the link was lost") for number in sorted(self._asked)]
        self._streams.clear()
        self._asked.clear()
        self._asking.clear()
        self._turn.clear()
        self._control.clear()
        self._bulk.clear()
        if self.close_code is None:
            self.close_code, self.close_reason = 1006, "lost"  # RFC 6455 section 7.1.5: closed without a close frame
        return events

    # frames of the peer ------------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> list[Event]:
        """Return what a frame of the peer means.

        Raises:
            ProtocolError: The peer broke the protocol; ``close_code`` and ``close_reason`` say what to tell it.
        """
        self._check_open()
        try:
            kind, values = messages.unpack(frame)
            handler = _HANDLERS.get(kind)
            if handler is None:
                raise ProtocolError(f"a message of kind {kind.name} has no place here")
            return handler(self, *values)
        except ProtocolError as error:
            self.close_code, self.close_reason = DOORS[error.code].close_code, error.message[:100]
            raise

    def _check_open(self) -> None:
        if self.close_code is not None:
            raise ProtocolError(f"the link is closed ({self.close_reason})")

    def _sending(self, number: int) -> _Stream:
        self._check_open()
        stream = self._streams.get(number)
        if stream is None or not stream.may_send:
            raise ConflictError(f"stream {number} is not open for sending")
        return stream

    def _queue(self, number: int, stream: _Stream, frame: bytes) -> None:
        if not stream.waiting:
            self._turn.append(number)
        stream.waiting.append(frame)

    def _forget_if_done(self, number: int, stream: _Stream) -> None:
        if not stream.may_send and not stream.may_receive and not stream.waiting:
            self._streams.pop(number, None)

    def _was_opened(self, number: int) -> bool:
        """Tell whether a stream of this id existed; frames on a stream that we gave up meanwhile are passed over."""
        if number % 2 == self._next_stream % 2:
            return 0 < number < self._next_stream
        return 0 < number <= self._last_peer_stream

    def _known(self, number: int) -> _Stream | None:
        stream = self._streams.get(number)
        if stream is None and not self._was_opened(number):
            raise ProtocolError(f"stream {number} was never opened")
        return stream

    def _on_open(self, number: int, purpose: str, header: dict[str, Any], credit: int) -> list[Event]:
        if number % 2 == self._next_stream % 2 or number <= self._last_peer_stream:
            raise ProtocolError(f"stream {number} cannot be opened by the peer")
        if len(self._streams) >= limits.MAX_STREAMS:
            raise TooLargeError("the peer opens too many streams")
        if credit > limits.MAX_CREDIT_BYTES:
            raise TooLargeError("the peer gives too much credit")
        self._last_peer_stream = number
        self._streams[number] = _Stream(credit)
        return [StreamOpened(number, purpose, header)]

    def _on_data(self, number: int, data: bytes) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        if not stream.may_receive:
            raise ProtocolError(f"data follows the end of stream {number}")
        if len(data) > stream.receive_credit:
            raise ProtocolError(f"the peer sends more on stream {number} than it may")
        stream.receive_credit -= len(data)
        return [StreamData(number, data)]

    def _on_credit(self, number: int, credit: int) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        if stream.send_credit + credit > limits.MAX_CREDIT_BYTES:
            raise TooLargeError("the peer gives too much credit")
        stream.send_credit += credit
        return [StreamWritable(number)] if stream.may_send else []

    def _on_finish(self, number: int) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        if not stream.may_receive:
            raise ProtocolError(f"stream {number} ends twice")
        stream.may_receive = False
        self._forget_if_done(number, stream)
        return [StreamFinished(number)]

    def _on_reset(self, number: int, code: str) -> list[Event]:
        if self._known(number) is None:
            return []
        del self._streams[number]
        return [StreamReset(number, code)]

    def _on_ping(self, number: int) -> list[Event]:
        self._control.append(messages.pack(Kind.PONG, number))
        return []

    def _on_pong(self, number: int) -> list[Event]:
        return [PongReceived(number)]

    def _on_request(self, number: int, method: str, body: dict[str, Any]) -> list[Event]:
        if number <= self._last_asking:
            raise ProtocolError(f"request {number} comes twice or out of order")
        if len(self._asking) >= limits.MAX_REQUESTS:
            raise TooLargeError("the peer asks too much at once")
        table = messages.REQUESTS_OF_SERVER if self.role is Role.AGENT else messages.REQUESTS_OF_AGENT
        messages.check_request(method, body, table)
        self._last_asking = number
        self._asking.add(number)
        return [RequestReceived(number, method, body)]

    def _on_response(self, number: int, body: dict[str, Any]) -> list[Event]:
        self._answered(number)
        return [ResponseReceived(number, body)]

    def _on_failure(self, number: int, code: str, message: str) -> list[Event]:
        self._answered(number)
        return [RequestFailed(number, code, message)]

    def _answered(self, number: int) -> None:
        if number not in self._asked:
            raise ProtocolError(f"an answer belongs to no request of ours ({number})")
        self._asked.discard(number)

    def _on_records(self, first: int, blobs: list[bytes]) -> list[Event]:
        if self.role is not Role.SERVER:
            raise ProtocolError("records travel from the agent to the server only")
        if first != self._next_record:
            raise ProtocolError(f"records go on at {first}, expected {self._next_record}")
        self._next_record += len(blobs)
        return [RecordsReceived(first, blobs)]

    def _on_acknowledge(self, through: int) -> list[Event]:
        if self.role is not Role.AGENT or not self._acknowledged <= through < self._next_record:
            raise ProtocolError(f"records were acknowledged that were not sent ({through})")
        self._acknowledged = through
        return [RecordsAcknowledged(through)]


_HANDLERS: dict[Kind, Callable[..., list[Event]]] = {
    Kind.OPEN: Link._on_open, Kind.DATA: Link._on_data, Kind.CREDIT: Link._on_credit, Kind.FINISH: Link._on_finish,
    Kind.RESET: Link._on_reset, Kind.PING: Link._on_ping, Kind.PONG: Link._on_pong,
    Kind.REQUEST: Link._on_request, Kind.RESPONSE: Link._on_response, Kind.FAILURE: Link._on_failure,
    Kind.RECORDS: Link._on_records, Kind.ACKNOWLEDGE: Link._on_acknowledge,
}  # fmt: skip


def batches(blobs: Sequence[bytes]) -> list[list[bytes]]:
    """Cut records into batches that fit a frame, in order."""
    made: list[list[bytes]] = []
    size = 0
    for blob in blobs:
        full = not made or len(made[-1]) >= limits.MAX_RECORD_BATCH or size + len(blob) > limits.MAX_RECORD_BATCH_BYTES
        if full:
            made.append([])
            size = 0
        made[-1].append(blob)
        size += len(blob)
    return made
