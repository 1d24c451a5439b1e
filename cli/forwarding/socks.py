"""SOCKS5 (RFC 1928) as a server hears it, without I/O: bytes in; a place to connect to, and bytes to answer, out.

Only CONNECT, and no authentication: who may connect to the port may use it, which is why it is on loopback unless told
otherwise. Everything is bounded; what is no SOCKS5 is refused at the byte that shows it.
"""

from __future__ import annotations

import ipaddress
from enum import Enum, IntEnum

from cli.forwarding.specs import Place
from policies.targets import read_host
from protocol.errors import ArgumentError, ProtocolError

VERSION = 5
NO_AUTHENTICATION = 0
NOTHING_ACCEPTABLE = 0xFF
CONNECT = 1
MAX_BYTES = 2 + 255 + 4 + 1 + 255 + 2  # the longest greeting and the longest request


class Reply(IntEnum):
    """RFC 1928 section 6."""

    SUCCEEDED = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    HOST_UNREACHABLE = 4
    REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_NOT_SUPPORTED = 8


class _State(Enum):
    GREETING = 1
    REQUEST = 2
    DONE = 3


class Socks:
    """One client's beginning."""

    def __init__(self) -> None:
        self.target: Place | None = None  # where to, once it has said
        self.rest = b""  # what came behind the request
        self._state = _State.GREETING
        self._buffer = b""
        self._answers = b""

    def answers(self) -> bytes:
        """Return what to send to the client now."""
        answers, self._answers = self._answers, b""
        return answers

    def feed(self, data: bytes) -> None:
        """Take what the client sent; :attr:`target` is set when the request is whole.

        Raises:
            ProtocolError: It is no SOCKS5, or asks for what is not there; send :meth:`answers`, then close.
        """
        self._buffer += data
        if self._state is _State.GREETING:
            self._greeting()
        if self._state is _State.REQUEST:
            self._request()
        if self._state is not _State.DONE and len(self._buffer) > MAX_BYTES:
            raise ProtocolError("a SOCKS5 client that does not come to the point")

    def reply(self, code: Reply) -> bytes:
        """Return the answer to the request; the bound address is not told (RFC 1928 lets it be zero)."""
        return bytes([VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0])

    def _greeting(self) -> None:
        if self._buffer[:1] and self._buffer[0] != VERSION:
            raise ProtocolError("this port speaks SOCKS5 and nothing else")
        if len(self._buffer) < 2 or len(self._buffer) < 2 + self._buffer[1]:
            return
        methods = self._buffer[2 : 2 + self._buffer[1]]
        self._buffer = self._buffer[2 + self._buffer[1] :]
        if NO_AUTHENTICATION not in methods:
            self._answers += bytes([VERSION, NOTHING_ACCEPTABLE])
            raise ProtocolError("the SOCKS5 client wants a password asked, and there is none")
        self._answers += bytes([VERSION, NO_AUTHENTICATION])
        self._state = _State.REQUEST

    def _request(self) -> None:
        buffer = self._buffer
        if (buffer[:1] and buffer[0] != VERSION) or (buffer[2:3] and buffer[2] != 0):
            raise ProtocolError("the SOCKS5 request has another version, or something in its reserved byte")
        if buffer[1:2] and buffer[1] != CONNECT:
            self._answers += self.reply(Reply.COMMAND_NOT_SUPPORTED)
            raise ProtocolError("the SOCKS5 client asks for something other than a connection")
        if len(buffer) < 5:
            return
        length = {1: 4, 3: 1 + buffer[4], 4: 16}.get(buffer[3])
        if length is None:
            self._answers += self.reply(Reply.ADDRESS_NOT_SUPPORTED)
            raise ProtocolError("the SOCKS5 request has an address of an unknown form")
        if len(buffer) < 4 + length + 2:
            return
        host = self._host(buffer[3], buffer[4 : 4 + length])
        port = int.from_bytes(buffer[4 + length : 6 + length], "big")
        if host is None or port == 0:
            self._answers += self.reply(Reply.ADDRESS_NOT_SUPPORTED)
            raise ProtocolError("the SOCKS5 request names no host, or port 0")
        self.target, self.rest, self._buffer = Place(host, port), buffer[6 + length :], b""
        self._state = _State.DONE

    @staticmethod
    def _host(kind: int, data: bytes) -> str | None:
        if kind != 3:
            return str(ipaddress.ip_address(data))
        try:
            return read_host(data[1:].decode("ascii"))
        except (UnicodeDecodeError, ArgumentError):
            return None


def code_for(code: str) -> Reply:
    """Return the answer for an error of ours."""
    return {"denied": Reply.NOT_ALLOWED, "not_found": Reply.HOST_UNREACHABLE, "unavailable": Reply.REFUSED}.get(
        code, Reply.FAILURE
    )
