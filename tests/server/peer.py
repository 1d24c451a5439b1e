"""An agent's end of a link, without a socket: the real handshake and link against the real endpoint, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from headquarters import Headquarters

from protocol import link as events
from protocol.handshake import AgentHandshake, Welcome
from protocol.link import Link, Role
from protocol.signing import PrivateKey, PublicKey

DEADLINE_S = 60.0
Message = dict[str, Any]


class ClosedError(Exception):
    """The server closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


class Wire:
    """One WebSocket to ``/agent/v1/link``."""

    def __init__(self, server: Headquarters, address: str = "127.0.0.1") -> None:
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._from_server: asyncio.Queue[Message] = asyncio.Queue()
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "query_string": b"",
            "path": "/agent/v1/link", "raw_path": b"/agent/v1/link", "root_path": "", "headers": [], "subprotocols": [],
            "client": (address, 1), "server": ("127.0.0.1", 7443), "state": {}, "extensions": {},
        }  # fmt: skip
        app: Callable[..., Awaitable[None]] = server.app
        self._to_server.put_nowait({"type": "websocket.connect"})
        self.served = asyncio.create_task(app(scope, self._to_server.get, self._from_server.put))  # type: ignore[arg-type]  # an awaitable of the app

    async def send(self, frame: bytes | str) -> None:
        await self._to_server.put({"type": "websocket.receive", "bytes" if isinstance(frame, bytes) else "text": frame})

    async def receive(self) -> bytes:
        """Return the next frame; raise ClosedError when the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self._from_server.get()
                if message["type"] == "websocket.close":
                    raise ClosedError(message["code"], message.get("reason") or "")
                if message["type"] == "websocket.send":
                    return bytes(message["bytes"])

    async def drain(self) -> ClosedError:
        """Pass over all frames; return how the server closed."""
        try:
            while True:
                await self.receive()
        except ClosedError as error:
            return error

    async def close(self) -> None:
        """Go away, and wait until the server has noticed."""
        await self._to_server.put({"type": "websocket.disconnect", "code": 1006})
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(self.served, return_exceptions=True)


class Peer:
    """An agent with its link; answers what the server asks with ``answers``, and keeps what was asked."""

    def __init__(self, server: Headquarters, agent: str, key: PrivateKey) -> None:
        self.server = server
        self.agent = agent
        self.key = key
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any] | tuple[str, str] | None]] = {}
        self.seen: asyncio.Queue[events.Event] = asyncio.Queue()
        self.wire: Wire | None = None
        self.link: Link | None = None
        self._reading: asyncio.Task[None] | None = None
        self.closed: ClosedError | None = None
        self.changed = asyncio.Event()

    async def connect(self, *, server_key: PublicKey | None = None, agent: str | None = None) -> Welcome:
        """Prove and be let in. Raises what the handshake raises."""
        self.wire = Wire(self.server)
        handshake = AgentHandshake(self.key, agent or self.agent, server_key or self.server.key.public, bytes(32))
        await self.wire.send(handshake.hello())
        answer = handshake.receive(await self.wire.receive())
        assert isinstance(answer, bytes)
        await self.wire.send(answer)
        welcome = handshake.receive(await self.wire.receive())
        assert isinstance(welcome, Welcome)
        self.link = Link(Role.AGENT, next_record=welcome.last_sequence + 1)
        self._reading = asyncio.create_task(self._read(self.wire, self.link))
        return welcome

    async def _read(self, wire: Wire, link: Link) -> None:
        try:
            while True:
                for event in link.receive(await wire.receive()):
                    if isinstance(event, events.RequestReceived):
                        self._answer(link, event)
                    await self.seen.put(event)
                await self.flush()
                self.changed.set()
        except ClosedError as error:
            self.closed = error
            self.changed.set()

    def _answer(self, link: Link, event: events.RequestReceived) -> None:
        self.asked.append((event.method, event.body))
        answer = self.answers.get(event.method, lambda _: {})(event.body)
        if isinstance(answer, tuple):
            link.fail(event.id, *answer)
        elif answer is not None:
            link.respond(event.id, answer)

    async def flush(self) -> None:
        assert self.wire is not None
        assert self.link is not None
        for frame in self.link.take():
            await self.wire.send(frame)

    async def send_records(self, first: int, blobs: list[bytes]) -> None:
        """Send records and wait for their acknowledgement."""
        assert self.link is not None
        self.link.send_records(first, blobs)
        await self.flush()
        await self.until(lambda: self._acknowledged(first + len(blobs) - 1))

    def _acknowledged(self, through: int) -> bool:
        kept = [self.seen.get_nowait() for _ in range(self.seen.qsize())]
        for event in kept:
            self.seen.put_nowait(event)
        return any(isinstance(event, events.RecordsAcknowledged) and event.through >= through for event in kept)

    async def ask(self, method: str, body: dict[str, Any]) -> events.Event:
        """Ask the server and return its answer or failure."""
        assert self.link is not None
        number = self.link.request(method, body)
        await self.flush()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = await self.seen.get()
                is_answer = isinstance(event, events.ResponseReceived | events.RequestFailed)
                if is_answer and event.id == number:  # type: ignore[union-attr]  # both have one
                    return event

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something that the server sends makes it hold."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def wanted(self, method: str, number: int = 1) -> dict[str, Any]:
        """Return the body of the latest of at least ``number`` requests of this kind."""
        await self.until(lambda: len([name for name, _ in self.asked if name == method]) >= number)
        return [body for name, body in self.asked if name == method][-1]

    async def close(self) -> None:
        if self.wire is not None:
            await self.wire.close()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading


async def join(server: Headquarters, name: str = "web-1", **labels: str) -> Peer:
    """Enrol an agent; connect it with ``connect``."""
    key = PrivateKey.generate()
    return Peer(server, await server.add_agent(name, key, **labels), key)
