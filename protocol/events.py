"""What a link tells its owner: one frozen class for each thing that the peer did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks; answer with ``respond`` or ``fail``, once. The body has the form of its method."""

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
    is_two_way: bool = False  # may we send on it?


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes arrived; grant as much credit once they are dealt with."""

    id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """The peer gave more credit."""

    id: int


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer will send no more on this stream. If we may not send either, it is gone."""

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
    """The peer answered ping ``number``, and with it every earlier one."""

    number: int


Event = (
    RequestReceived | ResponseReceived | RequestFailed | StreamOpened | StreamData | StreamWritable | StreamFinished
    | StreamReset | RecordsReceived | RecordsAcknowledged | PongReceived
)  # fmt: skip
