"""The standard library's HTTP client as the command line uses it: kept connections, bodies in pieces, few copies.

No redirects, cookies or proxies, so that a token goes nowhere else, and quick to load: a client that knows all of that
takes longer than most answers do.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import ssl

Bytes = bytes | bytearray | memoryview

READ_BYTES: Final = 256 << 10  # at once
_SAFE: Final = "/?:@!$&'()*+,;=%-._~[]"  # in a path and a query that a caller has quoted


class HttpError(Exception):
    """The server cannot be spoken to, or the connection broke; the text says how."""


class NoConnectionError(HttpError):
    """There is no connection, and nothing was sent."""


class SilenceError(HttpError):
    """Nothing went on for as long as was to be waited."""


class Http:
    """One server. Safe from several threads, each with answers of its own.

    Args:
        server: Its URL, as the context has it.
        connect_s: Seconds until a connection must be there.
        roots: Makes what tells who may vouch for a server of https.
    """

    def __init__(self, server: str, *, connect_s: float, roots: Callable[[], ssl.SSLContext]) -> None:
        parts = urlsplit(server)
        self._is_tls, self._place, self._prefix = parts.scheme == "https", parts.netloc, parts.path.rstrip("/")
        self._connect_s = connect_s
        self._roots = roots
        self._trusted: ssl.SSLContext | None = None  # once it was needed
        self._idle: list[HTTPConnection] = []

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], silent_s: float | None, *,
        body: bytes | None = None, pieces: Iterable[Bytes] | None = None,
    ) -> Answer:  # fmt: skip
        """Send a request, and return the answer once its head is there. Close it.

        Args:
            method: Of HTTP.
            target: Path and query.
            headers: With ``Content-Length`` if ``pieces`` are to come to so many bytes.
            silent_s: Seconds in which nothing goes on, after which the server counts as gone; None for ever.
            body: To send.
            pieces: To send in its place. Each is sent before the next is asked for, which may lie in the same memory;
                none is asked for any more once there is an answer.

        Raises:
            HttpError: There is no answer.
        """
        connection = self._idle_one() or self._connected()
        is_chunked = pieces is not None and "Content-Length" not in headers
        named = {"User-Agent": "outrider", **headers} | ({"Transfer-Encoding": "chunked"} if is_chunked else {})
        if pieces is None and (body is not None or method not in ("GET", "DELETE")):
            named["Content-Length"] = str(len(body or b""))
        try:
            connection.sock.settimeout(silent_s)
            broken: OSError | None = None
            is_whole = False
            try:
                connection.putrequest(method, self._prefix + quote(target, safe=_SAFE), skip_accept_encoding=True)
                for name, value in named.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                is_whole = pieces is None or _sent(connection.sock, pieces, is_chunked=is_chunked)
            except TimeoutError:
                raise
            except OSError as error:  # perhaps it has answered and hung up, and the answer says why
                broken = error
            try:
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                raise broken or error from None
            is_endless = response.length is None and not response.chunked
            if response.status < 200 or (is_endless and response.status < 300):  # so one that broke off in its head
                raise HTTPException(f"the answer {response.status} says nothing of its end")
            return Answer(self, connection, response, is_last=not is_whole)
        except (OSError, HTTPException, ValueError) as error:  # the last: what no header can hold
            connection.close()
            raise _ours(error) from None
        except BaseException:
            connection.close()
            raise

    def take_back(self, connection: HTTPConnection) -> None:
        """Keep a connection on which a whole answer has come, for the next request."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _idle_one(self) -> HTTPConnection | None:
        """Return a connection that is there, and on which nothing came that nobody asked for, such as its end."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not _has_come(connection.sock):
                return connection
            connection.close()

    def _connected(self) -> HTTPConnection:
        try:
            if self._is_tls:
                self._trusted = self._trusted or self._roots()
                made: HTTPConnection = HTTPSConnection(self._place, timeout=self._connect_s, context=self._trusted)
            else:
                made = HTTPConnection(self._place, timeout=self._connect_s)
            made.connect()
        except (OSError, HTTPException, ValueError) as error:
            raise NoConnectionError(str(error) or type(error).__name__) from None
        return made


class Answer:
    """One answer, of which the head is here; the body comes as it is read."""

    def __init__(self, http: Http, connection: HTTPConnection, response: HTTPResponse, *, is_last: bool) -> None:
        self.status = response.status
        self._http = http
        self._connection: HTTPConnection | None = connection
        self._response = response
        self._is_last = is_last  # on its connection: not all that was to be sent before it was sent

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes of the body, fewer only at its end; raises HttpError."""
        return self._read(self._response.read, size, least=size)

    def part(self, most: int) -> bytes:
        """Return what has come of the body, at most so many bytes, none only at its end; raises HttpError."""
        return self._read(self._response.read1, min(most, READ_BYTES), least=1)

    def _read(self, read: Callable[[int], bytes], size: int, least: int) -> bytes:
        try:
            data = read(size)
        except (OSError, HTTPException, ValueError) as error:  # the last: it was closed
            raise _ours(error) from None
        if len(data) < least and self._response.length:  # which the library does not tell from an end
            raise HttpError(f"it ended {self._response.length} bytes early")
        return data

    def close(self) -> None:
        """Let go of it; one that is not at its end is broken off. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._response.isclosed() and not self._is_last and connection.sock is not None:
            self._http.take_back(connection)
        else:
            self._response.close()
            connection.close()


def _sent(sock: socket.socket, pieces: Iterable[Bytes], *, is_chunked: bool) -> bool:
    """Send the pieces of a body; return whether all of them were wanted."""
    between = b""
    for piece in pieces:
        if not piece:  # as a chunk it would be the end
            continue
        if _has_come(sock):
            return False
        if is_chunked:
            sock.sendall(b"%s%x\r\n" % (between, len(piece)))
        left = memoryview(piece)
        while left:  # to send all of it at once would have one time for all
            left = left[sock.send(left) :]
        between = b"\r\n"  # behind a piece; the server does not wait for it
    if is_chunked:
        sock.sendall(between + b"0\r\n\r\n")
    return True


def _has_come(sock: socket.socket) -> bool:
    """Tell whether there is something to read, be it the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _ours(error: Exception) -> HttpError:
    if isinstance(error, TimeoutError):
        return SilenceError("nothing went on in time")
    return HttpError(str(error) or type(error).__name__)
