"""Answers that go on for as long as a pipe of a session does: its bytes as they are, or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from protocol.pipes import Pipe
from server.answer_body import BODY, Body
from server.api.values import to_json
from server.services.live_pipes import messages, relayed

MESSAGES: Final = "application/vnd.outrider.stream"  # messages of a pipe, each with its length before it
LINES: Final = "application/x-ndjson"
_NOT_KEPT: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def streamed(
    data: AsyncIterable[Any], media_type: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Return an answer whose body is made while it is read; proxies are told not to keep it."""
    return StreamingResponse(data, status, {**_NOT_KEPT, **(headers or {})}, media_type=media_type)


def of_pipe(pipe: Pipe, accept: str | None) -> StreamingResponse:
    """Return the answer that hands a pipe's messages on, in the form that is asked for."""
    if accept is not None and MESSAGES in accept:
        return of_messages(pipe)
    return streamed(_lines(pipe), LINES)


def of_messages(pipe: Pipe) -> StreamingResponse:
    """Return the answer that hands a pipe's bytes on as they come."""
    return _Relayed(relayed(pipe), 200, _NOT_KEPT, media_type=MESSAGES)


class _Relayed(StreamingResponse):
    """Pieces of bytes; written as they are where the connection has a way for that (:mod:`server.answer_body`)."""

    def __init__(self, pieces: AsyncGenerator[list[bytes | memoryview], None], *given: Any, **named: Any) -> None:
        self._pieces = pieces
        self._body: Body | None = None
        super().__init__(_joined(pieces), *given, **named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._body = (scope.get("extensions") or {}).get(BODY)
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send all of it."""
        if self._body is None:
            await super().stream_response(send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._pieces) as coming:
            async for pieces in coming:
                if self._body.may_be_written:
                    await self._body.write(pieces)
                else:
                    await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _joined(coming: AsyncGenerator[list[bytes | memoryview], None]) -> AsyncIterator[bytes]:
    async with aclosing(coming):
        async for pieces in coming:
            yield b"".join(pieces)


async def _lines(pipe: Pipe) -> AsyncIterator[str]:
    async for message in messages(pipe):
        yield json.dumps(to_json(message)) + "\n"
