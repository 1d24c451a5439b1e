"""One link between agent and server, without I/O: frames in, events out; commands in, frames out.

The same class stands at both ends. Rules it keeps:

- A stream is opened by either side (agent: odd ids, server: even ids) and carries bytes only as far as the receiver
  gave credit; sending beyond it is a protocol error. So one stream can neither starve the others nor fill memory.
- Records travel from agent to server in sequence, each exactly once on a link; a gap or a repeat is a protocol error.
- Every request is answered once; every answer belongs to an open request. A request of unknown method or wrong form is
  answered with its failure here and reported to nobody; the link goes on, so that versions can differ. So is one for
  which there is no room beside those that are not answered yet.
- Hostile frames raise ProtocolError (or its TooLargeError) and close the link; nothing else leaves :meth:`receive`.
- When the connection is lost, every open stream and request is reported exactly once.
- Each side counts what the *peer* has open; streams and requests of one side cannot use up the places of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from protocol import limits, messages
from protocol.errors import (
    DOORS,
    ArgumentError,
    ConflictError,
    NotConnectedError,
    ProtocolError,
    RateError,
    TooLargeError,
    UnavailableError,
)
from protocol.events import (
    Event,
    PongReceived,
    RecordsAcknowledged,
    RecordsReceived,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    StreamData,
    StreamFinished,
    StreamOpened,
    StreamReset,
    StreamWritable,
)
from protocol.frames import SHORT_BLOB, SHORT_BLOBS
from protocol.messages import Kind
from protocol.outbox import Outbox, Pieces
from protocol.streams import Stream

__all__ = [
    "Event", "Link", "PongReceived", "RecordsAcknowledged", "RecordsReceived", "RequestFailed", "RequestReceived",
    "ResponseReceived", "Role", "StreamData", "StreamFinished", "StreamOpened", "StreamReset", "StreamWritable",
]  # fmt: skip

_VIEWED_BYTES = 4 << 10  # from here on a view costs less than a copy
LOST = 1006  # RFC 6455 section 7.1.5: closed without a close frame


class Role(StrEnum):
    """Which end of the link."""

    AGENT = "agent"
    SERVER = "server"


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
        self._out = Outbox(next_record)
        self._next_record = next_record
        self._acknowledged = next_record - 1
        self._streams: dict[int, Stream] = {}
        self._newest: Stream | None = None  # one of these: bytes came for it last
        self._next_stream = 1 if role is Role.AGENT else 2
        self._last_peer_stream = 0
        self._next_request = 1
        self._asked: set[int] = set()  # our requests that wait for their answer
        self._asking: dict[int, int] = {}  # the peer's requests that wait for ours, with the bytes of each
        self._asking_bytes = 0  # of all of these
        self._frame_bytes = 0  # of the frame that is taken
        self._last_asking = 0
        self._last_ping = 0  # newest number sent
        self._last_pong = 0  # newest number answered

    # requests ----------------------------------------------------------------------------------------------------

    def request(self, method: str, body: Mapping[str, Any]) -> int:
        """Ask the peer; return the id that the answer will have.

        Raises:
            ArgumentError: The body does not have the form of ``method``, or this side has no such method.
            UnavailableError: Too many requests are unanswered.
            NotConnectedError: The link is closed.
        """
        self._check_open()
        messages.check_request(method, body, messages.requests_of(self.role))
        if len(self._asked) >= limits.MAX_REQUESTS:
            raise UnavailableError("too many requests are unanswered on this link")
        number = self._next_request
        self._out.control(messages.pack(Kind.REQUEST, number, method, dict(body)))
        self._next_request += 1
        self._asked.add(number)
        return number

    def respond(self, number: int, body: Mapping[str, Any]) -> None:
        """Answer the peer's request ``number``.

        Raises:
            TooLargeError: The body does not fit a frame; the request still waits, ``fail`` it.
            ConflictError: It does not wait for an answer.
            NotConnectedError: The link is closed.
        """
        self._check_asking(number)
        self._out.control(messages.pack(Kind.RESPONSE, number, dict(body)))
        self._answer(number)

    def fail(self, number: int, code: str, message: str) -> None:
        """Tell the peer that its request ``number`` failed; errors as in :meth:`respond`, a long message is cut."""
        self._check_asking(number)
        self._out.control(messages.pack(Kind.FAILURE, number, code, messages.told(message)))
        self._answer(number)

    # streams -----------------------------------------------------------------------------------------------------

    def open(self, purpose: str, header: Mapping[str, Any], *, is_two_way: bool = False) -> int:
        """Open a stream; return its id. ``limits.INITIAL_CREDIT_BYTES`` may be sent at once.

        Args:
            purpose: What it is for; the peer resets what it does not know.
            header: What the peer must know to use it.
            is_two_way: May the peer send on it as well?

        Raises:
            UnavailableError: Too many streams of this side are open.
            NotConnectedError: The link is closed.
        """
        self._check_open()
        if self._open_streams(is_ours=True) >= limits.MAX_STREAMS:
            raise UnavailableError("too many streams are open on this link")
        number = self._next_stream
        credit = limits.INITIAL_CREDIT_BYTES if is_two_way else 0
        self._out.control(messages.pack(Kind.OPEN, number, purpose, dict(header), credit))
        self._next_stream += 2
        self._streams[number] = Stream(
            number, is_ours=True, is_two_way=is_two_way, send_credit=limits.INITIAL_CREDIT_BYTES
        )
        return number

    def send(self, number: int, data: bytes | memoryview) -> int:
        """Send as much of ``data`` as the peer's credit allows; return how many bytes that was. The rest is yours.

        Raises:
            ConflictError: The stream is not open for sending (finished, reset by the peer, or one-way).
            NotConnectedError: The link is closed.
        """
        stream = self._sending(number)
        size = stream.queue(data)
        self._out.stream(stream)
        return size

    def send_at_once(self, number: int, data: bytes | memoryview, offer: Callable[[bytes], bool]) -> bool:
        """Send all of ``data`` in one frame, if nothing waits before it and the stream's credit is enough.

        Args:
            number: The stream.
            data: Its bytes.
            offer: Sends a frame before anything else, or does not; returns whether it did.

        Returns:
            Whether it was sent. If not, nothing has happened, and :meth:`send` says why.
        """
        stream = self._streams.get(number)
        if stream is None or not stream.may_send or self.close_code is not None or not self._out.is_empty:
            return False
        size = len(data)
        if not 0 < size <= stream.send_credit or size > limits.MAX_STREAM_DATA_BYTES:
            return False
        if size < len(SHORT_BLOBS):
            frame = b"".join((stream.head, SHORT_BLOBS[size], data))
        else:
            frame = messages.data_frame(stream.head, data)
        if not offer(frame):
            return False
        stream.send_credit -= size
        return True

    def credit(self, number: int) -> int:
        """Return how many bytes the peer's credit allows on a stream now; errors as in :meth:`send`."""
        return self._sending(number).send_credit

    def grant(self, number: int, credit: int) -> None:
        """Let the peer send ``credit`` more bytes, up to ``limits.MAX_CREDIT_BYTES`` in all. A gone stream: nothing."""
        stream = self._streams.get(number)
        granted = stream.grant(credit) if stream is not None else 0
        if granted:
            self._out.credit(number, granted)

    def finish(self, number: int) -> None:
        """Say that no more bytes follow on a stream; errors as in :meth:`send`."""
        stream = self._sending(number)
        stream.finish()
        self._out.stream(stream)

    def reset(self, number: int, code: str) -> None:
        """Give up a stream at once, in both directions; what waits on it is dropped. A gone stream: nothing."""
        stream = self._streams.get(number)
        if stream is not None:
            self._out.control(messages.pack(Kind.RESET, number, code))
            self._drop(stream)

    # records and signs of life -----------------------------------------------------------------------------------

    def send_records(self, first: int, blobs: Sequence[bytes]) -> None:
        """Send records in sequence; the agent's command.

        Raises:
            ConflictError: They do not go on where the last ones ended.
            TooLargeError: One is over ``limits.MAX_RECORD_BYTES``.
            NotConnectedError: The link is closed.
        """
        self._check_open()
        if self.role is not Role.AGENT or first != self._next_record:
            raise ConflictError(f"records must go on from {self._next_record}, not {first}")
        if not all(0 < len(blob) <= limits.MAX_RECORD_BYTES for blob in blobs):
            raise TooLargeError(f"a record must have 1 to {limits.MAX_RECORD_BYTES} bytes")
        self._out.records(blobs)
        self._next_record += len(blobs)

    def acknowledge(self, through: int) -> None:
        """Say that everything up to and with ``through`` is on disk; the server's command.

        Raises:
            ConflictError: That many did not arrive, or more were acknowledged before.
            NotConnectedError: The link is closed.
        """
        self._check_open()
        if self.role is not Role.SERVER or not self._acknowledged <= through < self._next_record:
            raise ConflictError(f"{through} cannot be acknowledged")
        self._acknowledged = through
        self._out.acknowledge(through)

    def ping(self) -> int:
        """Ask for a sign of life; return the number that the pong will have, or a later one."""
        self._check_open()
        self._last_ping += 1
        self._out.control(messages.pack(Kind.PING, self._last_ping))
        return self._last_ping

    # frames ------------------------------------------------------------------------------------------------------

    def next_frame(self) -> bytes | None:
        """Return the most urgent frame to send now, None if there is none.

        A sender that takes one, sends it and asks again lets control overtake bulk that waits; :meth:`take` decides
        the order of everything at once.
        """
        pieces = self.next_pieces()
        return None if pieces is None else b"".join(pieces)

    def next_pieces(self) -> Pieces | None:
        """Return the same as :meth:`next_frame` in two pieces, of which the second may be empty: less is copied."""
        found = self._out.next_pieces() if self.close_code is None else None
        if found is None:
            return None
        pieces, stream = found
        if stream is not None and stream.is_done:
            self._drop(stream)
        return pieces

    @property
    def has_frames(self) -> bool:
        """Is there a frame to take?"""
        return not self._out.is_empty

    def take(self) -> list[bytes]:
        """Return all frames to send now, in order."""
        return list(iter(self.next_frame, None))

    def receive(self, frame: bytes) -> list[Event]:
        """Return what a frame of the peer means.

        Raises:
            ProtocolError: The peer broke the protocol; ``close_code`` and ``close_reason`` say what to tell it. Or the
                link was closed before.
        """
        if self.close_code is not None:
            raise ProtocolError(f"the link is closed ({self.close_reason})")
        try:
            kind, values = messages.unpack(frame)
            self._frame_bytes = len(frame)
            handler = _HANDLERS.get(kind)
            if handler is None:
                raise ProtocolError(f"a message of kind {kind.name} has no place here")
            events = handler(self, *values)
            if len(self._out) > limits.MAX_CONTROL_FRAMES:
                raise ProtocolError("the peer makes us answer and does not read")
        except ProtocolError as error:
            self.close_code, self.close_reason = DOORS[error.code].close_code, error.message[:100]
            raise
        return events

    def receive_data(self, frame: bytes) -> tuple[int, bytes | memoryview] | None:
        """Return stream and bytes of a frame of the peer that brings some for an open stream, in few steps.

        Many bytes are a view of the frame, so that whoever hands them on copies nothing.

        Returns:
            None if it is anything else, or not as it must be: then :meth:`receive` takes it, and nothing has happened.
        """
        stream = self._newest
        begin = 0 if stream is None else len(stream.head) + 2
        size = len(frame) - begin
        if (
            stream is None or size < 1 or not frame.startswith(stream.head)
            or frame[begin - 2] != SHORT_BLOB or frame[begin - 1] != size
        ):  # fmt: skip  # not a few bytes more for the same stream, as of a key
            place = messages.data_at(frame)
            if place is None:
                return None
            number, begin = place
            stream, size = self._streams.get(number), len(frame) - begin
        if stream is None or not stream.may_receive or size > stream.receive_credit or self.close_code is not None:
            return None
        self._newest = stream
        stream.receive_credit -= size
        return stream.number, frame[begin:] if size < _VIEWED_BYTES else memoryview(frame)[begin:]

    def lost(self) -> list[Event]:
        """The connection is gone: return what every open stream and request became. Nothing is sent any more."""
        events: list[Event] = [StreamReset(number, "lost") for number in sorted(self._streams)]
        events += [RequestFailed(number, "not_connected", "the link was lost") for number in sorted(self._asked)]
        self._streams.clear()
        self._newest = None
        self._asked.clear()
        self._asking.clear()
        self._asking_bytes = 0
        if self.close_code is None:
            self.close_code, self.close_reason = LOST, "lost"
        return events

    # what the commands check -------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.close_code is not None:
            raise NotConnectedError(f"the link is closed ({self.close_reason})")

    def _answer(self, number: int) -> None:
        self._asking_bytes -= self._asking.pop(number, 0)

    def _check_asking(self, number: int) -> None:
        self._check_open()
        if number not in self._asking:
            raise ConflictError(f"request {number} is not waiting for an answer")

    def _sending(self, number: int) -> Stream:
        self._check_open()
        stream = self._streams.get(number)
        if stream is None or not stream.may_send:
            raise ConflictError(f"stream {number} is not open for sending")
        return stream

    def _open_streams(self, *, is_ours: bool) -> int:
        return sum(1 for stream in self._streams.values() if stream.is_ours is is_ours)

    def _drop(self, stream: Stream) -> None:
        self._out.forget(stream)
        self._streams.pop(stream.number, None)
        if self._newest is stream:
            self._newest = None

    # frames of the peer ------------------------------------------------------------------------------------------

    def _known(self, number: int) -> Stream | None:
        """Return a stream, or None if it is gone: its last frames may have crossed ours that gave it up."""
        stream = self._streams.get(number)
        if stream is None:
            is_ours = number % 2 == self._next_stream % 2
            if not 0 < number <= (self._next_stream - 2 if is_ours else self._last_peer_stream):
                raise ProtocolError(f"stream {number} was never opened")
        return stream

    def _on_open(self, number: int, purpose: str, header: dict[str, Any], credit: int) -> list[Event]:
        if number % 2 == self._next_stream % 2 or number <= self._last_peer_stream:
            raise ProtocolError(f"stream {number} cannot be opened by the peer")
        if self._open_streams(is_ours=False) >= limits.MAX_STREAMS:
            raise TooLargeError("the peer opens too many streams")
        self._last_peer_stream = number
        is_two_way = credit > 0
        self._streams[number] = Stream(number, is_ours=False, is_two_way=is_two_way, send_credit=credit)
        return [StreamOpened(number, purpose, header, is_two_way)]

    def _on_data(self, number: int, data: bytes) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        stream.received(len(data))
        return [StreamData(number, data)]

    def _on_credit(self, number: int, credit: int) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        stream.credited(credit)
        return [StreamWritable(number)] if stream.may_send else []

    def _on_finish(self, number: int) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        stream.ended()
        if stream.is_done:
            self._drop(stream)
        return [StreamFinished(number)]

    def _on_reset(self, number: int, code: str) -> list[Event]:
        stream = self._known(number)
        if stream is None:
            return []
        self._drop(stream)
        return [StreamReset(number, code)]

    def _on_ping(self, number: int) -> list[Event]:
        self._out.pong(number)
        return []

    def _on_pong(self, number: int) -> list[Event]:
        if not self._last_pong < number <= self._last_ping:
            raise ProtocolError(f"a pong answers no ping of ours ({number})")
        self._last_pong = number
        return [PongReceived(number)]

    def _on_request(self, number: int, method: str, body: dict[str, Any]) -> list[Event]:
        if number <= self._last_asking:
            raise ProtocolError(f"request {number} comes twice or out of order")
        if len(self._asking) >= limits.MAX_REQUESTS:
            raise TooLargeError("the peer asks too much at once")
        self._last_asking = number
        peer = Role.SERVER if self.role is Role.AGENT else Role.AGENT
        try:
            messages.check_request(method, body, messages.requests_of(peer))
            if self._asking_bytes + self._frame_bytes > limits.MAX_REQUESTS_BYTES:
                raise RateError("what was asked before and is not answered takes all the room that there is for it")
        except (ArgumentError, RateError) as error:
            self._out.control(messages.pack(Kind.FAILURE, number, error.code, messages.told(str(error))))
            return []
        self._asking[number] = self._frame_bytes
        self._asking_bytes += self._frame_bytes
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
        if self.role is not Role.AGENT or not self._acknowledged <= through <= self._out.sent_through:
            raise ProtocolError(f"records were acknowledged that were not sent ({through})")
        self._acknowledged = through
        return [RecordsAcknowledged(through)]


_HANDLERS: dict[Kind, Callable[..., list[Event]]] = {
    Kind.OPEN: Link._on_open, Kind.DATA: Link._on_data, Kind.CREDIT: Link._on_credit, Kind.FINISH: Link._on_finish,
    Kind.RESET: Link._on_reset, Kind.PING: Link._on_ping, Kind.PONG: Link._on_pong,
    Kind.REQUEST: Link._on_request, Kind.RESPONSE: Link._on_response, Kind.FAILURE: Link._on_failure,
    Kind.RECORDS: Link._on_records, Kind.ACKNOWLEDGE: Link._on_acknowledge,
}  # fmt: skip
