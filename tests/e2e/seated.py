"""Somebody who sits before a terminal on a host: a client with a screen that can be looked at."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fleet import Fleet, expect
from server.sessions.recording import listed, read_segment
from stdlib.tty_screen import Display, Size

DEADLINE_S = 60.0
GRANT = {"allow": [{"call": "tty.login"}]}
SHELL = {"argv": ["/bin/sh"]}


def token_of(fleet: Fleet) -> str:
    return next((fleet.directory / "server").rglob("*admin*token*")).read_text().strip()


def new_session(fleet: Fleet, **more: Any) -> str:
    body = {"agent": "host-1", "kind": "terminal", "tier": "admin", "reason": "T-7", "grant": GRANT, **more}
    return str(expect(fleet.api.post("/api/v1/sessions", json=body), 201)["id"])


class Seated:
    """One attachment."""

    def __init__(self, socket: ClientConnection, *, size: tuple[int, int], reads: bool = True) -> None:
        self.socket = socket
        self.data = b""  # that no test has taken yet
        self.shown = b""  # all
        self.offset = 0
        self.told: list[dict[str, Any]] = []
        self.is_over = False
        self._display = Display(Size(*size))
        self._undrawn = b""  # drawing is slow, and most never look
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read()) if reads else None

    async def _read(self) -> None:
        seen = 0
        try:
            async for message in self.socket:
                if isinstance(message, str):
                    self.told.append(json.loads(message))
                else:
                    offset, data = int.from_bytes(message[:8], "big"), message[8:]
                    self.data += data
                    self.shown += data
                    self.offset = offset + len(data)
                    self._undrawn += data
                    if self.offset - seen >= 32 << 10:
                        seen = self.offset
                        with suppress(ConnectionClosed):  # it has ended; what was sent before is still to be read
                            await self.say(type="seen", offset=seen)
                self._news.set()
        finally:
            self.is_over = True
            self._news.set()

    def stir(self) -> None:
        """Have who waits look again: something came elsewhere."""
        self._news.set()

    async def until(self, look: Callable[[], Any], what: object = "") -> Any:
        """Wait for something that is seen or told; ``what`` is said if it does not come."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not (found := look()):
                    self._news.clear()
                    assert not self.is_over, f"it is over: {self.socket.close_reason}\n{self.picture()}"
                    await self._news.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"waited for {what}\n{self.picture()}") from None

    def lines(self) -> list[str]:
        """What the screen shows."""
        self._display.feed([self._undrawn[-(128 << 10) :]])
        self._undrawn = b""
        return list(self._display.shown()["lines"])

    async def resize(self, cols: int, rows: int) -> None:
        """Make the window another size."""
        self.lines()
        self._display.feed([Size(cols, rows)])
        await self.say(type="resize", size=[cols, rows])

    def picture(self) -> str:
        return "\n".join([*self.lines(), json.dumps(self.told[-5:])])

    async def sees(self, pattern: str) -> re.Match[bytes]:
        """Wait for output; what was before it is taken."""
        match = await self.until(lambda: re.search(pattern.encode(), self.data), pattern)
        self.data = self.data[match.end() :]
        return match

    async def shows(self, *texts: str) -> None:
        """Wait until the screen shows all of it."""
        await self.until(lambda: all(any(text in line for line in self.lines()) for text in texts), str(texts))

    async def hears(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait to be told something."""

        def found() -> dict[str, Any] | None:
            for message in self.told:
                if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
                    return message
            return None

        return dict(await self.until(found, f"{kind} {fields}"))

    async def linked(self) -> None:
        """Wait until there is a terminal behind it."""
        await self.until(
            lambda: any(message.get("linked") or message.get("up") for message in self.told), "the host to be there"
        )

    async def type(self, data: str | bytes) -> None:
        await self.socket.send(data.encode() if isinstance(data, str) else data)

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def leave(self) -> None:
        await self.socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)


@asynccontextmanager
async def seated(
    fleet: Fleet, session: str, role: str = "owner", *, size: tuple[int, int] = (80, 24), offset: int | None = None,
    token: str | None = None, reads: bool = True, **opens: Any,
) -> AsyncIterator[Seated]:  # fmt: skip
    """Attach, and leave at the end."""
    url = f"ws://127.0.0.1:{fleet.port}/api/v1/sessions/{session}/attach"
    headers = {"Authorization": f"Bearer {token or token_of(fleet)}"}
    async with connect(url, additional_headers=headers, max_size=1 << 20, compression=None, proxy=None) as socket:
        made = Seated(socket, size=size, reads=reads)
        first = {"type": "attach", "role": role, "size": list(size), "offset": offset}
        await made.say(**first, **({"open": opens} if role == "owner" else {}))
        try:
            yield made
        finally:
            await made.leave()


def recordings(fleet: Fleet) -> Path:
    return fleet.directory / "server" / "recordings"


def recorded(fleet: Fleet, session: str) -> list[Any]:
    where = recordings(fleet) / session
    return [event for segment in listed(where) for event in read_segment(where, segment)]


def recorded_output(fleet: Fleet, session: str) -> bytes:
    return b"".join(event.values[1] for event in recorded(fleet, session) if event.word == "output")


def session_shown(fleet: Fleet, session: str) -> dict[str, Any]:
    return dict(expect(fleet.api.get(f"/api/v1/sessions/{session}"), 200))


async def ended(fleet: Fleet, session: str) -> dict[str, Any]:
    await asyncio.to_thread(
        fleet.wait_for, "the end", lambda: session_shown(fleet, session)["status"] in ("ended", "killed", "lost")
    )
    return session_shown(fleet, session)


def token(fleet: Fleet, principal: str, role: str) -> str:
    """Return a new token of somebody else, who has one role."""
    made = expect(fleet.api.post("/api/v1/tokens", json={"principal": principal, "roles": [role], "ttl_s": 600}), 201)
    return str(made["token"])
