"""What goes over the streams of a forward: who may say what in a header, and the one message before the bytes. Pure.

A client opens one stream for each connection; its header says which act of the session it is, and a server hands that
on to the host. The host answers with one message, ``["open", {...}]`` or ``["error", {...}]``, with its length in
front; what follows an ``open`` is the connection's bytes, as they are, in both directions. A side that ends its sending
ends it for the other end of the connection alone.

    forward   {host, port, peer, max_bytes, ttl_s}   connect to ``port`` of ``host``
    listen    {address, port}                         listen there; answers with messages only
    accept    {connection}                            take a connection that a ``listen`` has told of
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from protocol.errors import ArgumentError, ProtocolError, TooLargeError
from protocol.frames import LENGTH_BYTES, decode, encode, prefixed

PURPOSE: Final = "forward"  # of a client's streams
PROTOCOL: Final = "outrider.forward.v1"  # of its WebSocket
MAX_PREFACE_BYTES: Final = 8 << 10
MAX_CONNECTIONS: Final = 128  # of one forward at the same time; a browser opens some tens
MAX_BYTES: Final = 1 << 50  # of a bound on what is moved
MAX_TTL_S: Final = 86_400.0

_TEXTS: Final = {"host": 255, "address": 255, "peer": 100}
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "forward": frozenset({"host", "port"}), "listen": frozenset({"address", "port"}),
    "accept": frozenset({"connection"}),
}  # fmt: skip
_ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "forward": frozenset({"peer", "max_bytes", "ttl_s"}), "listen": frozenset(), "accept": frozenset({"max_bytes"}),
}  # fmt: skip


def check_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of a stream if it is one that a client may give.

    Raises:
        ArgumentError: It is not; names the field.
    """
    act = header.get("act")
    if not isinstance(act, str) or act not in _NEEDED:
        raise ArgumentError(f"act: {str(act)[:40]!r} is none of {', '.join(_NEEDED)}", parameter="act")
    fields = {name: value for name, value in header.items() if name != "act"}
    odd = sorted(set(fields) - _NEEDED[act] - _ALLOWED[act]) or sorted(_NEEDED[act] - set(fields))
    if odd:
        raise ArgumentError(f"{odd[0][:40]}: has no place in {act}, or is missing there", parameter=odd[0][:40])
    for name, value in fields.items():
        if not _is_right(name, value):
            raise ArgumentError(f"{name}: does not have its form", parameter=name)
    return {"act": act, **fields}


def _is_right(name: str, value: object) -> bool:
    if name in _TEXTS:
        return isinstance(value, str) and 0 < len(value) <= _TEXTS[name] and value.isprintable()
    if name == "port":
        return type(value) is int and 1 <= value <= 65_535
    if name == "connection":
        return type(value) is int and 1 <= value <= 1 << 53
    if name == "max_bytes":
        return type(value) is int and 1 <= value <= MAX_BYTES
    return isinstance(value, int | float) and type(value) is not bool and 0 < value <= MAX_TTL_S


def preface(word: str, told: Mapping[str, Any]) -> bytes:
    """Return the message that goes before the bytes."""
    return prefixed(encode([word, dict(told)], max_bytes=MAX_PREFACE_BYTES))


class Preface:
    """Reads the one message before the bytes of a connection."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> tuple[str, dict[str, Any], bytes] | None:
        """Return the message's word, what it tells, and the bytes that came behind it; None until it is whole.

        Raises:
            ProtocolError: It is no such message, or TooLargeError.
        """
        self._buffer += data
        if len(self._buffer) < LENGTH_BYTES:
            return None
        end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if end > MAX_PREFACE_BYTES:
            raise TooLargeError(f"a message before a connection has at most {MAX_PREFACE_BYTES} bytes")
        if len(self._buffer) < end:
            return None
        message = decode(self._buffer[LENGTH_BYTES:end], max_bytes=MAX_PREFACE_BYTES)
        match message:
            case [str() as word, dict() as told]:
                return word, told, self._buffer[end:]
        raise ProtocolError("what came before a connection is no message")
