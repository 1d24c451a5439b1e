"""The client of the server's HTTP API: requests, problem documents, pages and the stream of events.

An answer is read up to a bound and no further. Every problem document becomes the error of ``protocol.errors`` with the
same code, so a refusal by the server and one made here look and exit alike. Every POST carries an Idempotency-Key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from cli.failures import from_problem
from cli.http_client import Answer, Bytes, Http, HttpError, NoConnectionError, SilenceError
from cli.settings import Context
from protocol.errors import DeadlineError, ProtocolError, TooLargeError, UnavailableError

if TYPE_CHECKING:
    import ssl

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a page of 1000 records of at most 64 KiB is far below in practice; chosen freely
MAX_EVENT_BYTES = 1024 * 1024
PAGE = 100
PART_BYTES = 256 << 10  # of a body that is taken as it comes
CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 90.0  # a run may be waited for during 60 s

LINES = "application/x-ndjson"
GOES_ON = 202  # the status of an answer in lines that goes on until something is decided

JsonObject = dict[str, Any]


class UnreachableError(UnavailableError):
    """The connection to the server cannot be made, or broke; unlike a server that says what it cannot do now."""


class Api:
    """One server, spoken to as one principal. Close it, or use it in a ``with``.

    Args:
        context: The server and its token.
        new_key: Makes the Idempotency-Key of a request.
    """

    def __init__(self, context: Context, *, new_key: Callable[[], str] = lambda: os.urandom(16).hex()) -> None:
        self.context = context
        self.answered: str | None = None  # the last request that was answered, without its query
        self._new_key = new_key
        self._token = {"Authorization": f"Bearer {context.token}"} if context.token else {}
        # A proxy of the environment, which would see the token, is not asked for.
        self._http = Http(context.server, connect_s=CONNECT_TIMEOUT_S, roots=_roots)

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of ``GET /api/v1/<path>``; query values of None are left out."""
        return self._json("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of a POST; a repeat within the client's own retry cannot start it twice."""
        return self._json("POST", path, body=body, headers={"Idempotency-Key": self._new_key()})

    def post_and_follow(
        self, path: str, body: Mapping[str, Any], silent_s: float
    ) -> Generator[JsonObject, None, None]:  # fmt: skip
        """Yield the JSON of a POST whose answer may go on, line by line; whoever stops reading has gone.

        Args:
            path: Below ``/api/v1/``.
            body: To send.
            silent_s: Seconds without a byte after which the server counts as gone.

        Raises:
            OutriderError: The problem that the server tells, at once or as the last line.
        """
        headers = {"Accept": f"application/json, {LINES}", "Content-Type": "application/json"}
        asked = self._ask("POST", _target(path), headers, body=_encoded(body), silent_s=silent_s)
        with closing(asked) as answer:
            whole = None if answer.status == GOES_ON else self._read(answer)
            if whole is not None:
                self._refuse_problem(answer, whole)
            for line in filter(None, _lines(answer) if whole is None else iter([whole.decode("utf-8", "replace")])):
                try:
                    told = json.loads(line)
                except ValueError:
                    told = None
                if not isinstance(told, dict):
                    raise ProtocolError(f"{self.context.server} does not answer like an Outrider server")
                if isinstance(told.get("problem"), dict):
                    raise from_problem(told["problem"])
                yield told

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
        return json.loads(self._whole("PUT", _target(path, query), headers, pieces=content))

    def download(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a GET from ``offset`` on, piece by piece."""
        headers = {"Accept": "application/octet-stream, application/problem+json"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with closing(self._ask("GET", _target(path), headers)) as answer:
            self._refuse_problem(answer, self._read(answer) if answer.status >= 400 else b"")
            if (answer.status == 206) is not bool(offset):
                raise ProtocolError(f"{self.context.server} does not send the range that was asked for")
            try:
                while part := answer.part(PART_BYTES):
                    yield part
            except HttpError as error:
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
        with closing(self._ask("GET", _target(path, query), {"Accept": "text/event-stream"}, silent_s=None)) as answer:
            self._refuse_problem(answer, self._read(answer) if answer.status >= 400 else b"")
            yield from _events(_lines(answer))

    def sent(
        self, method: str, path: str, pieces: Iterable[Bytes], headers: Mapping[str, str],
        silent_s: float | None = TIMEOUT_S,
    ) -> Any:  # fmt: skip
        """Return the JSON of a request whose body is bytes that are read while they are sent.

        Args:
            path: Whole, with its query.
            pieces: Each is sent before the next is asked for, which may lie in the same memory.
            silent_s: Seconds in which nothing goes on, after which the server counts as gone; None for ever.
        """
        headers = {"Content-Type": "application/octet-stream", **headers}
        data = self._whole(method, path, headers, pieces=pieces, silent_s=silent_s)
        return json.loads(data) if data else None

    @contextmanager
    def streamed(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, headers: Mapping[str, str],
        silent_s: float | None = TIMEOUT_S,
    ) -> Iterator[Reader]:  # fmt: skip
        """Yield what reads an answer that goes on.

        Args:
            path: Whole, with its query.
            silent_s: Seconds without a byte after which the server counts as gone; None for ever.
        """
        data = None if body is None else _encoded(body)
        sent = dict(headers) if data is None else {**headers, "Content-Type": "application/json"}
        try:
            answer = self._http.ask(method, path, {**self._token, **sent}, silent_s, body=data)
            self.answered = f"{method} {path.partition('?')[0]}"
        except HttpError as error:
            raise UnreachableError(f"{self.context.server} cannot be reached: {error}") from None
        with closing(answer):
            if answer.status >= 300:
                self._refuse(answer.status, self._read(answer))
            yield Reader(answer, self.context.server)

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        given = dict(headers or {})
        if body is not None:
            given["Content-Type"] = "application/json"
        data = self._whole(method, _target(path, query), given, body=None if body is None else _encoded(body))
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError:
            raise ProtocolError(f"{self.context.server} does not answer like an Outrider server") from None

    def _whole(
        self, method: str, target: str, headers: Mapping[str, str], *, body: bytes | None = None,
        pieces: Iterable[Bytes] | None = None, silent_s: float | None = TIMEOUT_S,
    ) -> bytes:  # fmt: skip
        """Return the body of an answer that is no refusal."""
        with closing(self._ask(method, target, headers, body=body, pieces=pieces, silent_s=silent_s)) as answer:
            data = self._read(answer)
            self._refuse_problem(answer, data)
        return data

    def _ask(
        self, method: str, target: str, headers: Mapping[str, str], *, body: bytes | None = None,
        pieces: Iterable[Bytes] | None = None, silent_s: float | None = TIMEOUT_S,
    ) -> Answer:  # fmt: skip
        sent = {"Accept": "application/json", **self._token, **headers}
        try:
            answer = self._http.ask(method, target, sent, silent_s, body=body, pieces=pieces)
        except NoConnectionError as error:
            raise UnreachableError(_silent(self.context), detail=str(error)) from None
        except SilenceError:
            raise DeadlineError(f"{self.context.server} did not answer in time") from None
        except HttpError as error:
            raise UnreachableError(f"{self.context.server} cannot be reached: {error}") from None
        self.answered = f"{method} {target.partition('?')[0]}"
        return answer

    def _read(self, answer: Answer) -> bytes:
        try:
            data = answer.read(MAX_ANSWER_BYTES + 1)
        except SilenceError:
            raise DeadlineError(f"{self.context.server} did not answer in time") from None
        except HttpError as error:
            raise UnreachableError(f"{self.context.server} broke off its answer: {error}") from None
        if len(data) > MAX_ANSWER_BYTES:
            raise TooLargeError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return data

    def _refuse_problem(self, answer: Answer, data: bytes) -> None:
        if answer.status >= 300:
            self._refuse(answer.status, data)

    def _refuse(self, status: int, data: bytes) -> None:
        try:
            problem = json.loads(data)
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            text = f"{self.context.server} answered {status} and does not look like an Outrider server"
            raise ProtocolError(text)
        raise from_problem(problem)


class Reader:
    """What reads an answer that goes on.

    Args:
        answer: Its head is here.
        server: For errors.
    """

    def __init__(self, answer: Answer, server: str) -> None:
        self._answer = answer
        self._server = server

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes, fewer only at the end; raises UnreachableError."""
        try:
            return self._answer.read(size)
        except HttpError as error:
            raise UnreachableError(f"{self._server} broke off its answer: {error}") from None

    def part(self, most: int) -> bytes:
        """Return what has come, at most so many bytes of it; nothing at the end. Raises UnreachableError."""
        try:
            return self._answer.part(most)
        except HttpError as error:
            raise UnreachableError(f"{self._server} broke off its answer: {error}") from None


def _silent(context: Context) -> str:
    """Return what to say of a server that is not there, and what may help."""
    told = f"no server answers at {context.server}"
    if context.is_demo:
        port = urlsplit(context.server).port
        return f"{told}: the demo of this folder has ended (outrider demo --port {port} goes on with it)"
    return f"{told}, which {context.origin} names" if context.origin not in ("", "--server") else told


def _roots() -> ssl.SSLContext:
    """Return who may vouch for a server: the roots of this machine, a company's own included (or SSL_CERT_FILE's)."""
    import ssl  # plain http, which is for loopback alone, needs none of it

    return ssl.create_default_context()


def _target(path: str, query: Mapping[str, Any] | None = None) -> str:
    """Return a path of the API with its query; values of None are left out, a list is several of the same name."""
    where = path if path.startswith("/") else f"/api/v1/{path}"
    given = {name: _words(value) for name, value in (query or {}).items() if value is not None}
    return f"{where}?{urlencode(given, doseq=True, quote_via=quote)}" if given else where


def _words(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return [_words(each) for each in value] if isinstance(value, list | tuple) else value


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a text that is none, of which the server says where it stands
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _lines(answer: Answer) -> Iterator[str]:
    """Yield the lines of a stream, each bounded; a connection that breaks is an error, its end is not."""
    rest = b""
    try:
        while part := answer.part(PART_BYTES):
            *lines, rest = b"".join((rest, part)).split(b"\n")
            yield from (line.decode("utf-8", "replace").rstrip("\r") for line in lines)
            if len(rest) > MAX_EVENT_BYTES:
                raise TooLargeError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
    except HttpError as error:
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
