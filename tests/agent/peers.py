"""A server for tests: the protocol's own other end, over a pair of queues that the test can cut, delay and read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from premises import AGENT, Premises, until

from agent.cache import Entry
from agent.shipping import Shipper
from agent.transport import LinkClosedError, Transport
from protocol import link as events
from protocol.errors import OutriderError
from protocol.handshake import Proved, ServerHandshake
from protocol.ledger import GENESIS, verify_chain
from protocol.link import Link, Role
from protocol.signing import PrivateKey


class Pipe(Transport):
    """The agent's transport; what the server has to say goes into ``to_agent``."""

    def __init__(self) -> None:
        self.to_agent: asyncio.Queue[bytes | LinkClosedError] = asyncio.Queue()
        self.to_server: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None  # what the agent said when it closed first
        self._is_cut = False

    async def send(self, frame: bytes) -> None:
        if self._is_cut:
            raise LinkClosedError("cut")
        self.to_server.put_nowait(frame)

    async def receive(self) -> bytes:
        frame = await self.to_agent.get()
        if isinstance(frame, LinkClosedError):
            self._is_cut = True
            raise frame
        return frame

    async def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
        self.to_server.put_nowait(None)

    def cut(self, close_code: int | None = None) -> None:
        """End the connection, as a network does, or as a server that says why."""
        self._is_cut = True
        self.to_agent.put_nowait(LinkClosedError("cut", close_code=close_code))
        self.to_server.put_nowait(None)


class Server:
    """A server that keeps a copy of one agent's ledger over connections.

    It takes records in order and refuses what does not continue the chain; when it acknowledges is the test's choice.
    """

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.key = PrivateKey.generate()
        self.blobs: list[bytes] = []
        self.batches: list[int] = []  # how many of them came together
        self.newest = GENESIS
        self.acknowledges = True
        self.bundles: dict[str, Entry] = {}
        self.pipes: list[Pipe] = []
        self.requests: list[events.RequestReceived] = []
        self.answers: dict[int, Any] = {}
        self.refuses: OutriderError | None = None
        self.is_away = False
        self.link: Link | None = None
        self.on_request: Callable[[events.RequestReceived], Mapping[str, Any] | None] = self.answer
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pipe(self) -> Pipe:
        """The newest connection."""
        return self.pipes[-1]

    async def connect(self) -> Pipe:
        """Accept a connection; what the agent's ``connect`` is in life."""
        if self.is_away:
            raise LinkClosedError("nobody listens")
        pipe = Pipe()
        self.pipes.append(pipe)
        self._tasks.append(asyncio.create_task(self._serve(pipe)))
        return pipe

    def ask(self, method: str, body: Mapping[str, Any]) -> int:
        """Ask the agent; the answer, or the code of its refusal, will stand in ``answers``."""
        assert self.link is not None
        number = self.link.request(method, body)
        self.flush()
        return number

    async def asked(self, method: str, body: Mapping[str, Any]) -> Any:
        number = self.ask(method, body)
        await until(lambda: number in self.answers)
        return self.answers.pop(number)

    def acknowledge(self) -> None:
        """Tell the agent that everything that arrived is on disk."""
        assert self.link is not None
        self.link.acknowledge(len(self.blobs))
        self.flush()

    def flush(self) -> None:
        assert self.link is not None
        for frame in self.link.take():
            self.pipe.to_agent.put_nowait(frame)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, pipe: Pipe) -> None:
        if not await self._let_in(pipe):
            return
        while (frame := await pipe.to_server.get()) is not None:
            if pipe is not self.pipe or self.link is None:
                return
            for event in self.link.receive(frame):
                self._on(event)
            self.flush()

    async def _let_in(self, pipe: Pipe) -> bool:
        lookup = {AGENT: self.premises.key.public}.get
        handshake = ServerHandshake(self.key, lookup, b"n" * 32)
        try:
            while (frame := await pipe.to_server.get()) is not None:
                answer = handshake.receive(frame)
                if isinstance(answer, Proved):
                    if self.refuses is not None:
                        raise self.refuses
                    now_us = self.premises.clock.time_us()
                    self.link = Link(Role.SERVER, next_record=len(self.blobs) + 1)
                    pipe.to_agent.put_nowait(handshake.welcome(len(self.blobs), self.newest, now_us))
                    return True
                pipe.to_agent.put_nowait(answer)
        except OutriderError as error:
            pipe.to_agent.put_nowait(handshake.refuse(error))
        return False

    def _on(self, event: events.Event) -> None:
        assert self.link is not None
        match event:
            case events.RecordsReceived(first=first, blobs=blobs):
                _, self.newest = verify_chain(blobs, first, self.newest)
                assert first == len(self.blobs) + 1
                self.blobs += blobs
                self.batches.append(len(blobs))
                if self.acknowledges:
                    self.link.acknowledge(len(self.blobs))
            case events.RequestReceived():
                self.requests.append(event)
                body = self.on_request(event)
                if body is not None:
                    self.link.respond(event.id, body)
            case events.ResponseReceived(id=number, body=body):
                self.answers[number] = body
            case events.RequestFailed(id=number, code=code):
                self.answers[number] = code

    def answer(self, request: events.RequestReceived) -> Mapping[str, Any] | None:
        """Answer as a server does; None if the request was failed."""
        assert self.link is not None
        if request.method == "status":
            return {}
        entry = self.bundles.get(request.body["digest"])
        if entry is None:
            self.link.fail(request.id, "not_found", "no such bundle")
            return None
        self.send_bundle(entry.bundle.digest, entry.bundle.pack())
        return statements(entry)

    def send_bundle(self, digest: str, packed: bytes) -> int:
        """Open a stream with a small bundle on it; returns the stream."""
        assert self.link is not None
        stream = self.link.open("bundle", {"digest": digest})
        assert self.link.send(stream, packed) == len(packed), "larger than the credit that a stream begins with"
        self.link.finish(stream)
        return stream


def statements(entry: Entry) -> dict[str, Any]:
    return {
        "publication": entry.publication.to_plain(),
        "approvals": [approval.to_plain() for approval in entry.approvals],
    }


def shipper(premises: Premises, held: int = 0) -> tuple[Shipper, Link]:
    """Return the feeding end of a link, without any connection."""
    link = Link(Role.AGENT, next_record=held + 1)
    return Shipper(premises.spool, link, held), link
