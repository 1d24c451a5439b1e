"""One live link to the server: frames from a transport into the protocol's state machine, its events into actions.

This file owns the connection and holds no rules. What may be said when is ``protocol.link``, which records go next is
``agent.shipping``, what a request means is ``agent.dispatch``.

- Requests of the server are taken up strictly in their order, so that a run sees the roster that was sent before it.
  What a request starts may outlive the link; its answer then is not sent.
- The server can make this side hold only what the protocol bounds: requests, streams and credit are counted there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent import limits
from agent.downloads import PURPOSE, Downloads
from agent.live import PURPOSE as SESSION
from agent.logs import LOG
from agent.partials import Partials
from agent.shipping import Shipper
from agent.transport import Transport
from protocol import link as events
from protocol.errors import DOORS, DeadlineError, NotConnectedError, OutriderError, ProtocolError, UnavailableError
from protocol.link import Link
from protocol.pipes import Pipe, Pipes
from protocol.turns import Turns

Answer = Awaitable[dict[str, Any]]
Handler = Callable[[str, Any], Awaitable[Answer]]
"""Takes up a request; what it returns is awaited for the answer while later requests are taken up."""


class RefusedError(UnavailableError):
    """The server answered a request with a failure; ``refusal`` is its code."""

    def __init__(self, message: str, *, refusal: str) -> None:
        self.refusal = refusal
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the server sent for a digest; believed by nobody yet."""

    packed: bytes
    publication: Any
    approvals: list[Any]
    is_resumed: bool = False  # its beginning arrived earlier, over another connection or in an attempt that broke off


class Connection:
    """Runs one link until the connection ends.

    Args:
        transport: Open, with the handshake behind it.
        link: Fresh, told where the records go on.
        shipper: Feeds it with records.
        handle: Takes up the server's requests.
        partials: What arrived of bundles over earlier connections.
    """

    def __init__(
        self, transport: Transport, link: Link, shipper: Shipper, handle: Handler, partials: Partials | None = None
    ) -> None:
        self._transport = transport
        self._link = link
        self._shipper = shipper
        self._handle = handle
        self._turns = Turns(link, transport, self._on, asyncio.Event())
        self._level = asyncio.Event()  # an acknowledgement arrived
        self._requests: asyncio.Queue[events.RequestReceived] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[Any]] = {}  # our requests by id
        self._downloads = Downloads()
        self._partials = partials if partials is not None else Partials()
        self._finished: dict[str, asyncio.Future[bytes]] = {}  # downloads by digest
        self._answering: set[asyncio.Task[None]] = set()
        self._pipes = Pipes(link, self._turns.wake, asyncio.Event, put=self._turns.put)
        self._turns.come = self._pipes.come
        self.on_pipe: Callable[[Pipe], None] | None = None  # takes up what the server opens for sessions of people
        self._gathering: asyncio.TimerHandle | None = None  # durable records let others come together with them
        self._is_open = True

    async def run(self) -> None:
        """Serve until the connection ends.

        Raises:
            LinkClosedError: It ended.
            ProtocolError: The server broke the protocol; it was told and closed.
        """
        self._shipper.pump()
        self._turns.wake()
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._turns.send, self._take_up)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ProtocolError as error:
            LOG.error("the server broke the protocol: %s", error)
            await self._transport.close(DOORS[error.code].close_code, error.message)
            raise
        finally:
            await self._end([*tasks, *self._answering])

    def durable(self, *, is_awaited: bool) -> None:
        """More records are durable now.

        Those that nobody at the server waits for may lie for ``SHIP_GATHER_S``: the beginning of a short run then
        travels with its end, in one frame, and costs the server one commit instead of two.
        """
        if not self._is_open:
            return
        if is_awaited:
            self._ship()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(limits.SHIP_GATHER_S, self._ship)

    def _ship(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._is_open:
            self._shipper.pump()
            self._turns.wake()

    async def request(self, method: str, body: Mapping[str, Any]) -> Any:
        """Ask the server and return its answer.

        Raises:
            NotConnectedError: The link ended before the answer.
            UnavailableError: The server refused; the text says why.
            DeadlineError: No answer in time.
        """
        if not self._is_open:
            raise NotConnectedError("there is no link to the server")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = self._link.request(method, body)
        self._waiting[number] = future
        self._turns.wake()
        try:
            async with asyncio.timeout(limits.FETCH_TIMEOUT_S):
                return await future
        except TimeoutError as error:
            raise DeadlineError(f"the server did not answer {method} in {limits.FETCH_TIMEOUT_S:.0f} s") from error
        finally:
            self._waiting.pop(number, None)

    async def fetch(self, digest: str) -> Fetched:
        """Fetch a bundle and the statements about it, from where an earlier attempt broke off.

        The caller joins fetches of the same digest.

        Raises:
            NotConnectedError: The link ended before the end.
            UnavailableError: The server does not have it, or gave up.
            DeadlineError: It took too long.
            ProtocolError: The server sent what is no bundle.
        """
        beginning = self._partials.take(digest)
        self._downloads.expect(digest, beginning)
        finished: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._finished[digest] = finished
        is_refused = False
        try:
            where = {"offset": len(beginning)} if beginning else {}
            answer = await self.request("bundle.get", {"digest": digest, **where})
            async with asyncio.timeout(limits.FETCH_TIMEOUT_S):
                packed = await finished
        except TimeoutError as error:
            raise DeadlineError(f"{digest} did not arrive in {limits.FETCH_TIMEOUT_S:.0f} s") from error
        except UnavailableError as error:
            is_refused = not isinstance(error, NotConnectedError)
            raise
        finally:
            del self._finished[digest]
            if not finished.cancel() and not finished.cancelled():
                finished.exception()  # seen; if it matters, the request failed first and was raised
            stream, arrived = self._downloads.forget(digest)
            if not is_refused:  # a server that will not go on from there is asked for all of it
                self._partials.keep(digest, arrived)
            if stream is not None and self._is_open:
                self._link.reset(stream, "cancelled")
                self._turns.wake()
        if "publication" not in answer or "approvals" not in answer:
            raise ProtocolError(f"the server sent {digest} without the statements about it")
        return Fetched(packed, answer["publication"], answer["approvals"], is_resumed=bool(beginning))

    def pipe(self, purpose: str, header: Mapping[str, Any]) -> Pipe:
        """Open a pipe to the server.

        Raises:
            NotConnectedError: There is no link any more.
            UnavailableError: Too many are open.
        """
        if not self._is_open:
            raise NotConnectedError("there is no link to the server")
        return self._pipes.open(purpose, header)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the server holds everything that is durable here; False after ``timeout_s`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._is_open and not self._shipper.is_level():
                    self._level.clear()
                    self._ship()
                    await self._level.wait()
        return self._shipper.is_level()

    # the three tasks -----------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        await self._transport.receive_each(self._turns.take)

    async def _take_up(self) -> None:
        while True:
            request = await self._requests.get()
            try:
                answer = await self._handle(request.method, request.body)
            except Exception as error:  # noqa: BLE001 - becomes the request's failure, in full only in our log
                self._fail(request, error)
                continue
            task = asyncio.create_task(self._answer(request, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, request: events.RequestReceived, answer: Answer) -> None:
        try:
            self._link.respond(request.id, await answer)
        except Exception as error:  # noqa: BLE001 - as above; also of an answer that no frame holds
            self._fail(request, error)
        else:
            self._turns.wake()

    def _fail(self, request: events.RequestReceived, error: Exception) -> None:
        if not self._is_open:  # nobody hears it
            LOG.info("%s ended without a link: %s", request.method, error)
            return
        if isinstance(error, OutriderError):
            LOG.warning("%s refused: %s", request.method, error)
            self._link.fail(request.id, error.code, str(error))
        else:
            LOG.error("%s failed", request.method, exc_info=error)
            self._link.fail(request.id, "internal", "the agent failed; its log says why")
        self._turns.wake()

    # events --------------------------------------------------------------------------------------------------------

    def _on(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                self._requests.put_nowait(event)
            case events.ResponseReceived(id=number, body=body):
                self._resolve(number, body)
            case events.RequestFailed(id=number, code=code, message=message):
                self._reject(number, RefusedError(f"the server refused: {message}", refusal=code))
            case events.RecordsAcknowledged(through=through):
                self._shipper.acknowledged(through)
                self._shipper.pump()
                self._level.set()
            case events.RecordsReceived():
                raise ProtocolError("records travel from the agent to the server only")
            case _:
                self._on_stream(event)

    def _on_stream(self, event: events.Event) -> None:
        if self._pipes.on(event):
            return
        match event:
            case events.StreamOpened(id=stream, purpose=purpose, header=header):
                if purpose == SESSION and event.is_two_way and self.on_pipe is not None:
                    self.on_pipe(self._pipes.accept(event))
                elif not self._downloads.opened(stream, purpose, header):
                    self._link.reset(stream, "refused")
            case events.StreamData(id=stream, data=data):
                if self._downloads.arrived(stream, data):
                    self._link.grant(stream, len(data))
            case events.StreamFinished(id=stream):
                download = self._downloads.finished(stream)
                if download is not None:
                    self._settle(download.digest, bytes(download.packed))
            case events.StreamReset(id=stream, code=code):
                download = self._downloads.reset(stream)
                if download is not None:
                    self._settle(download.digest, UnavailableError(f"the server gave up on the {PURPOSE}: {code}"))
            case _:  # of streams that we have given up; and we ask for no pongs
                return

    def _resolve(self, number: int, body: Any) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(body)

    def _reject(self, number: int, error: OutriderError) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_exception(error)

    def _settle(self, digest: str, outcome: bytes | OutriderError) -> None:
        future = self._finished.get(digest)
        if future is None or future.done():
            return
        if isinstance(outcome, bytes):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        self._is_open = False
        if self._gathering is not None:
            self._gathering.cancel()
        self._level.set()
        self._pipes.lose()
        for future in [*self._waiting.values(), *self._finished.values()]:
            if not future.done():
                future.set_exception(NotConnectedError("the link to the server ended"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
