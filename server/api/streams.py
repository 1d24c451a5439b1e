"""Answers that go on for as long as a pipe of a session does: its bytes as they are, or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, Final

from starlette.responses import StreamingResponse

from protocol.pipes import Pipe
from server.api.values import to_json
from server.services.live_pipes import messages, relayed

MESSAGES: Final = "application/vnd.outrider.stream"  # messages of a pipe, each with its length before it
LINES: Final = "application/x-ndjson"


def streamed(
    data: AsyncIterable[Any], media_type: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Return an answer whose body is made while it is read; proxies are told not to keep it."""
    told = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})}
    return StreamingResponse(data, status, told, media_type=media_type)


def of_pipe(pipe: Pipe, accept: str | None) -> StreamingResponse:
    """Return the answer that hands a pipe's messages on, in the form that is asked for."""
    if accept is not None and MESSAGES in accept:
        return streamed(relayed(pipe), MESSAGES)
    return streamed(_lines(pipe), LINES)


async def _lines(pipe: Pipe) -> AsyncIterator[str]:
    async for message in messages(pipe):
        yield json.dumps(to_json(message)) + "\n"
