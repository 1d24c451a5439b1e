"""The client of the server's HTTP API: requests, problem documents, pages and the stream of events.

An answer is read up to a bound and no further. Every problem document becomes the error of ``protocol.errors`` with the
same code, so a refusal by the server and one made here look and exit alike. Every POST carries an Idempotency-Key.
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2

from cli.failures import from_problem
from cli.settings import Context
from protocol.errors import DeadlineError, ProtocolError, TooLargeError, UnavailableError

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a page of 1000 records of at most 64 KiB is far below in practice; chosen freely
MAX_EVENT_BYTES = 1024 * 1024
PAGE = 100
CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 90.0  # a run may be waited for during 60 s

JsonObject = dict[str, Any]


class UnreachableError(UnavailableError):
    """The connection to the server cannot be made, or broke; unlike a server that says what it cannot do now."""


class Api:
    """One server, spoken to as one principal. Close it, or use it in a ``with``.

    Args:
        context: The server and its token.
        transport: Stands in for the network in tests.
        new_key: Makes the Idempotency-Key of a request.
    """

    def __init__(
        self,
        context: Context,
        *,
        transport: httpx2.BaseTransport | None = None,
        new_key: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        headers = {"Accept": "application/json"}
        if context.token:
            headers["Authorization"] = f"Bearer {context.token}"
        self.context = context
        self._new_key = new_key
        self._roots = _roots(context.server)
        self._client = httpx2.Client(
            base_url=context.server,
            headers=headers,
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            trust_env=False,  # a proxy of the environment would see the token
            verify=self._roots,
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of ``GET /api/v1/<path>``; query values of None are left out."""
        return self._json("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of a POST; a repeat within the client's own retry cannot start it twice."""
        return self._json("POST", path, body=body, headers={"Idempotency-Key": self._new_key()})

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of a PUT."""
        return self._json("PUT", path, body=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of a PATCH."""
        return self._json("PATCH", path, body=body)

    def delete(self, path: str, **query: Any) -> Any:
        """Return the JSON of a DELETE, or None if there is none; query values of None are left out."""
        return self._json("DELETE", path, query=query)

    def upload(self, path: str, content: Iterator[bytes], size: int, *, offset: int = 0, **query: Any) -> Any:
        """Return the JSON of a PUT of ``size`` bytes, from ``offset`` on, that are never in memory as a whole."""
        headers = {"Content-Length": str(size - offset), "Content-Type": "application/octet-stream"}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{size - 1}/{size}" if offset < size else f"bytes */{size}"
        with closing(self._send(self._request("PUT", path, query=query, content=content, headers=headers))) as answer:
            data = self._read(answer)
            self._refuse_problem(answer, data)
        return json.loads(data)

    def download(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a GET from ``offset`` on, piece by piece."""
        headers = {"Accept": "application/octet-stream, application/problem+json"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with closing(self._send(self._request("GET", path, headers=headers))) as answer:
            self._refuse_problem(answer, self._read(answer) if answer.status_code >= 400 else b"")
            if (answer.status_code == 206) is not bool(offset):
                raise ProtocolError(f"{self.context.server} does not send the range that was asked for")
            try:
                yield from answer.iter_bytes()
            except httpx2.HTTPError as error:
                raise UnavailableError(f"{self.context.server} broke off its answer: {error}") from None

    def items(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[JsonObject]:
        """Yield the items of a paged list, page by page.

        Args:
            limit: Most items to yield; None for all.
        """
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self.get(path, **query, limit=PAGE if left is None else min(left, PAGE), cursor=cursor)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise ProtocolError(f"the answer to {path} is not a page of items")
            yield from page["items"][:left]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next")
            if not cursor or not page["items"]:
                return

    def events(self, path: str, **query: Any) -> Iterator[JsonObject]:
        """Yield the JSON objects of a stream of server-sent events until the server ends it."""
        request = self._request("GET", path, query=query, headers={"Accept": "text/event-stream"})
        request.extensions["timeout"] = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict()
        with closing(self._send(request)) as answer:
            self._refuse_problem(answer, self._read(answer) if answer.status_code >= 400 else b"")
            yield from _events(_lines(answer))

    def sent(
        self, method: str, path: str, pieces: Iterable[bytes], headers: Mapping[str, str],
        silent_s: float | None = TIMEOUT_S,
    ) -> Any:  # fmt: skip
        """Return the JSON of a request whose body is bytes that are read while they are sent.

        Args:
            path: Whole, with its query.
            silent_s: Seconds in which nothing goes on, after which the server counts as gone; None for ever.
        """
        headers = {"Content-Type": "application/octet-stream", **headers}
        request = self._client.build_request(method, path, content=pieces, headers=headers)
        request.extensions["timeout"] = httpx2.Timeout(silent_s, connect=CONNECT_TIMEOUT_S).as_dict()
        with closing(self._send(request)) as answer:
            data = self._read(answer)
            self._refuse_problem(answer, data)
        return json.loads(data) if data else None

    @contextmanager
    def streamed(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, headers: Mapping[str, str],
        silent_s: float | None = TIMEOUT_S,
    ) -> Iterator[Callable[[int], bytes]]:  # fmt: skip
        """Yield what reads an answer that goes on: exactly so many bytes, fewer only at its end.

        Args:
            path: Whole, with its query.
            silent_s: Seconds without a byte after which the server counts as gone; None for ever.
        """
        from cli.streaming import BrokenAnswerError, Stream  # few commands need it

        sent = {"Authorization": f"Bearer {self.context.token}"} if self.context.token else {}
        stream = Stream(self.context.server, self._roots, CONNECT_TIMEOUT_S)

        def read(size: int) -> bytes:
            try:
                return stream.read(size)
            except BrokenAnswerError as error:
                raise UnreachableError(f"{self.context.server} broke off its answer: {error}") from None

        try:
            try:
                prefix = urlsplit(self.context.server).path
                status = stream.ask(method, prefix + path, {**sent, **headers}, body, silent_s)
                if status >= 300:
                    self._refuse(status, stream.problem())
            except BrokenAnswerError as error:
                raise UnreachableError(f"{self.context.server} cannot be reached: {error}") from None
            yield read
        finally:
            stream.close()

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        with closing(self._send(self._request(method, path, query=query, body=body, headers=headers))) as answer:
            data = self._read(answer)
            self._refuse_problem(answer, data)
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError:
            raise ProtocolError(f"{self.context.server} does not answer like an Outrider server") from None

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = path if path.startswith("/") else f"/api/v1/{path}"
        return self._client.build_request(method, url, params=given, json=body, content=content, headers=headers)

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return self._client.send(request, stream=True)
        except httpx2.ConnectError as error:
            raise UnreachableError(f"no server answers at {self.context.server}", detail=str(error)) from None
        except httpx2.TimeoutException:
            raise DeadlineError(f"{self.context.server} did not answer in time") from None
        except httpx2.HTTPError as error:
            raise UnreachableError(f"{self.context.server} cannot be reached: {error}") from None

    def _read(self, answer: httpx2.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            for part in answer.iter_bytes():
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    raise TooLargeError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                parts.append(part)
        except httpx2.TimeoutException:
            raise DeadlineError(f"{self.context.server} did not answer in time") from None
        except httpx2.HTTPError as error:
            raise UnreachableError(f"{self.context.server} broke off its answer: {error}") from None
        return b"".join(parts)

    def _refuse_problem(self, answer: httpx2.Response, data: bytes) -> None:
        if answer.status_code >= 300:
            self._refuse(answer.status_code, data)

    def _refuse(self, status: int, data: bytes) -> None:
        try:
            problem = json.loads(data)
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            text = f"{self.context.server} answered {status} and does not look like an Outrider server"
            raise ProtocolError(text)
        raise from_problem(problem)


def _roots(server: str) -> ssl.SSLContext:
    """Return who may vouch for the server: the roots of this machine, a company's own included (or SSL_CERT_FILE's).

    Plain http, which is for loopback alone, gets no roots at all: reading them takes longer than most answers.
    """
    if server.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _lines(answer: httpx2.Response) -> Iterator[str]:
    """Yield the lines of a stream, each bounded; a connection that breaks is an error, its end is not."""
    rest = b""
    try:
        for part in answer.iter_bytes():
            *lines, rest = (rest + part).split(b"\n")
            yield from (line.decode("utf-8", "replace").rstrip("\r") for line in lines)
            if len(rest) > MAX_EVENT_BYTES:
                raise TooLargeError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
    except httpx2.HTTPError as error:
        raise UnavailableError(f"the stream of events broke off: {error}") from None


def _events(lines: Iterator[str]) -> Iterator[JsonObject]:
    """Yield the data of each event: the fields that WHATWG's event stream format joins, without comments."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            try:
                event = json.loads("\n".join(data))
            except ValueError:
                raise ProtocolError("an event is not JSON") from None
            data = []
            if isinstance(event, dict):
                yield event
