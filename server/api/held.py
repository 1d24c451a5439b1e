"""An answer that goes on while the owner of a host is asked: as long as it does, somebody waits for the session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from protocol.errors import OutriderError
from server.api.problems import told
from server.api.streams import LINES
from server.core import Core
from server.services import askers

ASKING: Final = 202  # the status of an answer that goes on
BEAT_S: Final = 15.0  # between empty lines, by which either end sees that the other one is there


class Held(Response):
    """Lines of JSON: the session as it is asked for, and once that is decided, the session or ``{"problem": ...}``.

    Args:
        core: The server.
        session: As the API shows it; in ``core.held``, and not any more when this has ended.
        request_id: For a problem.
    """

    media_type = LINES

    def __init__(self, core: Core, session: Mapping[str, Any], request_id: str) -> None:
        super().__init__(status_code=ASKING, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._core = core
        self._session = session
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        identity = str(self._session["id"])
        gone = asyncio.ensure_future(_gone(receive))
        decided = asyncio.ensure_future(askers.decided(self._core, identity))
        ending = asyncio.ensure_future(self._core.is_ending.wait())
        is_told = False
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _line(send, self._session)
            while not (gone.done() or ending.done() or decided.done()):
                await asyncio.wait((gone, decided, ending), timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if not decided.done() and not gone.done():
                    await send({"type": "http.response.body", "body": b"\n", "more_body": True})
            if decided.done() and not gone.done():
                is_told = await self._tell(decided, send)
                await asyncio.sleep(0)  # what is sent to a connection that is gone is dropped without a word
                is_told = is_told and not gone.done()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for each in (gone, decided, ending):
                each.cancel()
            await asyncio.gather(gone, decided, ending, return_exceptions=True)
            if is_told:
                self._core.held.discard(identity)
            else:
                self._core.background(askers.left(self._core, identity))

    async def _tell(self, decided: asyncio.Future[dict[str, Any]], send: Send) -> bool:
        """Say what was decided; return whether there is a session that whoever asked may use."""
        try:
            session = decided.result()
        except OutriderError as error:
            await _line(send, {"problem": told(error, self._request_id)})
            return False
        await _line(send, session)
        return True


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _line(send: Send, value: Any) -> None:
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})
