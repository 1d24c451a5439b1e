"""One HTTP/1.1 exchange over one connection, by h11, which reads strictly and does no I/O.

Bounded: what the head of a message may take, how many informational answers come first, and how much of the body is
kept. Nothing is decompressed; we say that we take nothing that would need it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import ArgumentError, UnavailableError
from stdlib.network.connection import Connection
from stdlib.network.reach import Timings
from stdlib.network.urls import Url

if TYPE_CHECKING:
    import h11

MAX_HEAD_BYTES: Final = 64 << 10
MAX_HEADERS: Final = 100  # of a request
MAX_INFORMATIONAL: Final = 10
USER_AGENT: Final = "outrider"
OK: Final = 200

Keep = Callable[[bytes], Awaitable[None]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[!-~\x80-\xff]([ \t!-~\x80-\xff]{0,8190}[!-~\x80-\xff])?|")

#: Said by us alone: they frame the message, or say to whom it goes, which is what was decided on.
OURS: Final = frozenset({
    "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "keep-alive", "proxy-authorization", "proxy-connection",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered."""

    code: int
    headers: Mapping[str, str]  # names in lower case; what stands twice is joined by ", "
    body: bytes
    truncated: bool  # whether the body was longer than what was kept

    @property
    def is_redirect(self) -> bool:
        """Whether it says that the answer is elsewhere."""
        return self.code in (301, 302, 303, 307, 308) and "location" in self.headers


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the headers of a script.

    Raises:
        ArgumentError: One of them is no header, or one that only we may say.
    """
    if len(headers) > MAX_HEADERS:
        raise ArgumentError(f"headers: more than {MAX_HEADERS}", parameter="headers")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ArgumentError(f"headers: {name!r:.60} is no header with a value of one line", parameter="headers")
        if name.lower() in OURS:
            raise ArgumentError(f"headers: {name} is not for scripts to say", parameter="headers")
    return tuple(headers.items())


async def exchange(
    connection: Connection, request: Request, max_body: int, timings: Timings, keep: Keep | None = None
) -> Response:
    """Send the request and return the answer, with at most ``max_body`` bytes of its body.

    Args:
        connection: Open; it is used for this alone.
        request: What to ask.
        max_body: How much of the answer's body is kept.
        timings: Noted in.
        keep: Takes the body of an answer with the code 200 piece by piece, as much as there is; then none is returned.

    Raises:
        UnavailableError: The connection broke, or what answers does not speak HTTP.
    """
    import h11  # few runs need it

    try:
        exchanging = _Exchange(connection, h11.Connection(h11.CLIENT, MAX_HEAD_BYTES), timings)
        return await exchanging.run(request, max_body, keep)
    except h11.RemoteProtocolError as error:
        raise UnavailableError(f"{connection.name}: not HTTP: {error}"[:300]) from None


class _Exchange:
    def __init__(self, connection: Connection, state: h11.Connection, timings: Timings) -> None:
        self._connection, self._state, self._timings = connection, state, timings

    async def run(self, request: Request, max_body: int, keep: Keep | None = None) -> Response:
        import h11

        await self._send(request)
        started = self._timings.clock()
        for _ in range(MAX_INFORMATIONAL + 1):
            event = await self._next()
            self._timings.told["tt_firstbyte"] = self._timings.told["tt_firstbyte"] or self._timings.since(started)
            if isinstance(event, h11.Response):
                if keep is not None and event.status_code == OK:
                    await self._hand_on(keep)
                    return Response(event.status_code, _headers(event.headers), b"", False)
                body, truncated = await self._body(max_body)
                return Response(event.status_code, _headers(event.headers), body, truncated)
        raise UnavailableError(f"{self._connection.name}: no answer but informational ones")

    async def _send(self, request: Request) -> None:
        import h11

        headers = [("Host", request.url.authority), ("Connection", "close"), ("Accept-Encoding", "identity")]
        said = {name.lower() for name, _ in request.headers}
        headers += [
            (name, value) for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*")) if name.lower() not in said
        ]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(len(request.body))))
        encoded: Any = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in (*headers, *request.headers)
        ]
        head = h11.Request(method=request.method, target=request.url.path, headers=encoded)
        parts = [self._state.send(head)]
        if request.body:
            parts.append(self._state.send(h11.Data(data=request.body)))
        parts.append(self._state.send(h11.EndOfMessage()))
        await self._connection.send(b"".join(part for part in parts if part))

    async def _next(self) -> Any:
        import h11

        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(await self._connection.receive())
        if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            raise UnavailableError(f"{self._connection.name}: closed without an answer")
        return event

    async def _hand_on(self, keep: Keep) -> None:
        import h11

        while isinstance(event := await self._next(), h11.Data):
            await keep(bytes(event.data))

    async def _body(self, most: int) -> tuple[bytes, bool]:
        import h11

        kept = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            room = most - len(kept)
            kept += event.data[:room]
            if len(event.data) > room:
                return bytes(kept), True
        return bytes(kept), False


def _headers(found: Any) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, value in found:
        text, key = value.decode("latin-1"), name.decode("latin-1").lower()
        told[key] = f"{told[key]}, {text}" if key in told else text
    return told
