"""One agent's link: frames of its WebSocket into the protocol's state machine, its events into actions.

- Records are acknowledged after they are on disk, in order. A batch that does not continue the chain ends the link: the
  agent's ledger was changed, and a person must look.
- Who waits for the end of a run may be told of it before that (:mod:`server.endpoint.ahead`); the agent is not.
- An agent that sends faster than the disk takes is not read further; it cannot fill our memory.
- What is sent to an agent that does not read is bounded by the protocol's credit and request limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from protocol import link as events
from protocol.errors import (
    DOORS,
    ArgumentError,
    ConflictError,
    DeadlineError,
    DeniedError,
    InternalError,
    LedgerError,
    NotConnectedError,
    NotFoundError,
    OutriderError,
    ProtocolError,
    RateError,
    TooLargeError,
    TrustError,
    UnavailableError,
)
from protocol.ledger import Record, record_hash
from protocol.link import Link
from protocol.pipes import Pipe, Pipes
from protocol.turns import Turns
from server import limits, refusals
from server.core import Core
from server.endpoint import ahead
from server.endpoint.shares import Shares
from server.endpoint.transfers import METHODS, Transfers
from server.ledger import ENDED, ingest
from server.line import Line, close

LOG = structlog.get_logger()
BUNDLE = "bundle"
Batch = tuple[int, bytes, asyncio.Future[list[Record]]]  # last sequence, last record, and what comes of writing them
Handler = Callable[[str, str, dict[str, Any]], Awaitable[tuple[dict[str, Any], bytes | None]]]
"""Takes agent, method and body of a request; returns the answer and, for a bundle, the bytes to stream."""

_FAILURES: dict[str, type[OutriderError]] = {
    kind.code: kind
    for kind in (
        ArgumentError,
        NotFoundError,
        ConflictError,
        DeniedError,
        UnavailableError,
        NotConnectedError,
        RateError,
        DeadlineError,
        TooLargeError,
    )
}


class AgentSession:
    """Runs one link until its connection ends.

    Args:
        socket: Accepted, with the handshake behind it.
        agent: Id of the agent, proved.
        link: Fresh, told where the records go on.
        core: The server.
        handle: Answers the agent's requests.
        held: Where its chain stands on disk.
    """

    def __init__(
        self, socket: WebSocket, agent: str, link: Link, core: Core, handle: Handler, held: ahead.Held
    ) -> None:
        self._socket = socket
        self._line = Line(socket)
        self._agent = agent
        self._link = link
        self._turns = Turns(link, self._line, self._take, asyncio.Event())
        self._pipes = Pipes(link, self._turns.wake, asyncio.Event, put=self._turns.put)
        self._turns.come = self._pipes.come
        self._core = core
        self._handle = handle
        self._held = held
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()  # bounded by what is read of the agent
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._sending: dict[int, memoryview] = {}  # what is left of each bundle, by stream
        self._answering: set[asyncio.Task[None]] = set()
        self._transfers = Transfers(core, agent)
        self._shares = Shares()
        self._ended = asyncio.Event()  # nothing more is begun
        self._over = asyncio.Event()  # nothing more is under way

    async def serve(self) -> None:
        """Serve until the connection ends; what the agent broke is told to it and logged."""
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._send, self._take_in)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (WebSocketDisconnect, NotConnectedError):
            LOG.info("agent disconnected", agent=self._agent)
        except (ProtocolError, LedgerError, UnavailableError) as error:
            LOG.error("the link was ended", agent=self._agent, code=error.code, why=str(error))
            await self._hang_up(DOORS[error.code].close_code, error.message)
            if isinstance(error, LedgerError):  # a person must look at it, and looks at the records
                # As a stranger's refusal, which is on record only so often: an agent comes back again and again.
                about = {"agent": self._agent}
                await refusals.record(self._core, error, call="agent.records", principal=None, about=about)
            else:
                self._core.metrics.refusals.labels(error.code).inc()
        finally:
            await self._end([*tasks, *self._answering])
            self._over.set()

    async def request(
        self,
        method: str,
        body: Mapping[str, Any],
        timeout_s: float = limits.REQUEST_TIMEOUT_S,
        *,
        whose: str | None = None,
    ) -> dict[str, Any]:
        """Ask the agent and return its answer.

        Args:
            method: Of the request.
            body: As the method has it.
            timeout_s: Above 0.
            whose: The person for whom it is; None: the server's own, for which there is room whatever people ask.

        Raises:
            NotConnectedError: The link ended before the answer.
            DeadlineError: No answer in time.
            RateError: Too many of this person's are not answered.
            UnavailableError: Too many of all people's.
            OutriderError: The agent's own refusal.
        """
        if self._ended.is_set():
            raise NotConnectedError("the agent is not connected")
        if whose is not None:
            self._shares.require_room(whose)
        number = self._link.request(method, body)
        if whose is not None:
            self._shares.asked(number, whose)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._turns.wake()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise DeadlineError(f"the agent did not answer {method} in {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def open_pipe(self, purpose: str, header: Mapping[str, Any], *, whose: str | None = None) -> Pipe:
        """Open a pipe to the agent; ``whose`` as in :meth:`request`.

        Raises:
            NotConnectedError: The link ended.
            RateError: Too many of this person's are open.
            UnavailableError: Too many streams are open on it.
        """
        if self._ended.is_set():
            raise NotConnectedError("the agent is not connected")
        if whose is None:
            return self._pipes.open(purpose, header)
        self._shares.require_pipe(whose)
        pipe = self._pipes.open(purpose, header)
        self._shares.opened(pipe, whose)
        return pipe

    async def is_alive(self, timeout_s: float) -> bool:
        """Tell whether the agent answers a ping in time."""
        if self._ended.is_set():
            return False
        number = self._link.ping()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings[number] = future
        self._turns.wake()
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except (TimeoutError, NotConnectedError):
            return False
        finally:
            self._pings.pop(number, None)
        return True

    async def close(self, code: int, reason: str) -> None:
        """End the link and wait until nothing of it is under way, so that a new one may begin."""
        self._ended.set()
        self._turns.end()
        await self._hang_up(code, reason)
        await self._over.wait()

    async def _hang_up(self, code: int, reason: str) -> None:
        await close(self._socket, code, reason)

    # the three tasks ---------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        await self._line.receive(self._turns.take)
        raise ProtocolError("the agent sent a text frame")

    def _take(self, event: events.Event) -> None:
        if not isinstance(event, events.RecordsReceived):
            self._on(event)
            return
        core, first, blobs = self._core, event.first, event.blobs
        checked = self._held.check(first, blobs) if core.endings.are_watched else None
        told = ahead.to_tell(core, self._agent, checked) if checked is not None else []
        # Handed to the writer at once; while too many are under way, nothing more is read.
        begin = core.database.begin_told if told else core.database.begin
        taken = begin(lambda connection: ingest(connection, self._agent, first, blobs, checked))
        taken.add_done_callback(_seen)
        self._batches.put_nowait((first + len(blobs) - 1, blobs[-1], taken))
        for run in told:
            core.endings.ended(run["id"], run)
        if self._batches.qsize() >= limits.LAGGING_RECORD_BATCHES:
            self._line.hold()

    async def _send(self) -> None:
        """Send what waits for the agent to read."""
        try:
            await self._turns.send()
        except (RuntimeError, OSError):  # starlette's word for a connection that is gone
            raise NotConnectedError("the agent is gone") from None

    async def _take_in(self) -> None:
        """Write records and acknowledge them; batches that wait share a commit."""
        while True:
            last, newest, taken = await self._batches.get()
            if self._batches.qsize() < limits.LAGGING_RECORD_BATCHES:
                self._line.go_on()
            records = await asyncio.shield(taken)
            self._held.taken(last, record_hash(newest))
            self._link.acknowledge(last)
            self._turns.wake()
            self._tell(records)

    def _tell(self, taken: list[Record]) -> None:
        core = self._core
        core.metrics.records.inc(len(taken))
        core.records_arrived.ring()
        for record in taken:
            if record.kind == "run.end":
                # What an agent calls it is its own; a label for each word of its would fill our memory.
                core.metrics.runs.labels(record.outcome if record.outcome in ENDED else "other").inc()
                if core.endings.is_watched(record.run) and ahead.is_of(core, self._agent, record.run):
                    core.endings.ended(record.run)
            elif record.session and record.kind in ("session.open", "session.close", "refusal"):
                core.endings.ended(record.session)

    # events ------------------------------------------------------------------------------------------------------

    def _on(self, event: events.Event) -> None:
        if self._pipes.on(event):
            return
        match event:
            case events.RequestReceived():
                task = asyncio.create_task(self._answer(event))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case events.ResponseReceived(id=number, body=body):
                self._shares.answered(number)
                future = self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(body)
            case events.RequestFailed(id=number, code=code, message=message):
                self._shares.answered(number)
                self._reject(number, _failure(code, message))
            case events.PongReceived(number=number):
                self._ponged(number)
            case events.StreamOpened(id=stream):
                if self._transfers.wants(event):
                    self._transfers.serve(self._pipes.accept(event))
                else:
                    self._link.reset(stream, "refused")
            case events.StreamWritable(id=stream):
                self._feed(stream)
            case events.StreamReset(id=stream):
                self._sending.pop(stream, None)
            case _:  # StreamData, StreamFinished: only on streams that were refused
                return

    def _ponged(self, number: int) -> None:
        for asked, future in self._pings.items():
            if asked <= number and not future.done():
                future.set_result(None)

    def _reject(self, number: int, error: OutriderError) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_exception(error)

    async def _answer(self, request: events.RequestReceived) -> None:
        with suppress(NotConnectedError):  # the link ended meanwhile, and with it the wish for an answer
            await self._answer_now(request)
            self._turns.wake()

    async def _answer_now(self, request: events.RequestReceived) -> None:
        try:
            if request.method in METHODS:
                body, packed = await self._transfers.answer(request.method, request.body), None
            else:
                body, packed = await self._handle(self._agent, request.method, request.body)
            self._link.respond(request.id, body)
        except NotConnectedError:
            raise
        except OutriderError as error:
            LOG.info("request of an agent refused", agent=self._agent, method=request.method, why=str(error))
            self._link.fail(request.id, error.code, str(error))
        except Exception:
            LOG.exception("request of an agent failed", agent=self._agent, method=request.method)
            self._link.fail(request.id, InternalError.code, "the server failed; its log says why")
        else:
            if packed is not None:
                asked = request.body
                where = {"offset": asked["offset"]} if asked.get("offset") else {}
                stream = self._link.open(BUNDLE, {"digest": asked["digest"], **where})
                self._sending[stream] = memoryview(packed)
                self._feed(stream)

    def _feed(self, stream: int) -> None:
        left = self._sending.get(stream)
        if left is None:
            return
        left = left[self._link.send(stream, left) :]
        self._sending[stream] = left
        if not left:
            del self._sending[stream]
            self._link.finish(stream)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        self._ended.set()
        self._turns.end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transfers.close()
        self._link.lost()
        self._pipes.lose()
        gone = NotConnectedError("the link to the agent ended")
        futures: list[asyncio.Future[Any]] = [*self._waiting.values(), *self._pings.values()]
        for future in futures:
            if not future.done():
                future.set_exception(gone)


def _seen(taken: asyncio.Future[Any]) -> None:
    """Whoever takes batches in raises what became of one; of those after it, nobody is left who would ask."""
    if not taken.cancelled():
        taken.exception()


def _failure(code: str, message: str) -> OutriderError:
    """Return the agent's refusal as an error of its class; its text is data from another machine, and stays text."""
    if code == TrustError.code:
        return TrustError(message, reason="refused_by_agent")
    return _FAILURES.get(code, UnavailableError)(message)
