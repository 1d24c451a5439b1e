"""A short way for answers that go on: pieces of bytes are written as they came, and copied by nobody.

All else of an answer, its beginning and its end, goes the way of ASGI; so does an answer that does not ask for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from protocol.whole_frames import write_all

BODY: Final = "outrider.body"  # the extension of a scope that has this way


class Body:
    """The body of one answer.

    Args:
        cycle: Of its request.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads it any more."""
        return self._cycle.disconnected or self._cycle.transport.is_closing()

    @property
    def may_be_written(self) -> bool:
        """Whether the answer has begun, and as one whose length nobody knows: in chunks (RFC 9112 section 7.1)."""
        cycle = self._cycle
        return cycle.response_started and not cycle.response_complete and cycle.chunked_encoding is True

    async def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write at least one byte, as one chunk; returns when the client has read enough. To nobody if it is gone."""
        if self.is_gone:
            return
        size = sum(map(len, pieces))
        write_all(self._cycle.transport, [b"%x\r\n" % size, *pieces, b"\r\n"])
        if self._cycle.flow.write_paused:
            await self._cycle.flow.drain()
