"""``/sessions/{id}/forward``: the connections of a forward, over one WebSocket of streams.

It speaks the frames of the agents' link (:mod:`protocol.link`): the client opens a two-way stream for each connection
(:mod:`protocol.forwarding` has its header), and the server hands it on to the host as a pipe of the session. Credit is
given on each side only as the other side takes, so that a reader who stops holds up his own connection, and costs this
server two windows. A client that breaks the protocol, or sends what only an agent may, is closed; its streams end, and
so does the session, as nobody is left who could use it.

A session has one such WebSocket, as all of its connections go over that: a second one is refused, costs nothing but
that, and leaves the session to the first.

The token comes in the header Authorization, never in the address.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import structlog
from sqlalchemy import Connection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from protocol import link as events
from protocol.errors import (
    DOORS,
    ArgumentError,
    ConflictError,
    DeniedError,
    OutriderError,
    ProtocolError,
    TooLargeError,
    TrustError,
    UnauthenticatedError,
    UnavailableError,
)
from protocol.forwarding import MAX_CONNECTIONS, PROTOCOL, PURPOSE, check_header
from protocol.link import Link, Role
from protocol.pipes import GivenUpError, Pipe, Pipes
from protocol.turns import Turns
from server import access, refusals
from server.access import SESSION, Caller
from server.api.asking import caller_of_socket
from server.api.problems import problem
from server.core import Core
from server.line import Line
from server.services import access_grants, live

LOG = structlog.get_logger()
WINDOW_BYTES: Final = 512 << 10  # of each connection and direction; one that is fast over a far link needs about this
MAX_STREAMS: Final = MAX_CONNECTIONS + 16  # and what listens


async def forward(socket: WebSocket) -> None:
    """Serve one connection of a client."""
    core: Core = socket.app.state.core
    identity = str(socket.path_params["identity"])[:100]
    try:
        caller = caller_of_socket(core, socket)
        caller.require(SESSION)
        await _check(core, identity, caller)
        if identity in core.forwards:
            raise ConflictError(f"session {identity} has its forward already; a second one needs a session of its own")
    except OutriderError as error:
        if isinstance(error, TrustError | DeniedError):
            await refusals.record(
                core, error, call="session.forward", principal=caller.principal, about={"session": identity}
            )
        core.metrics.refusals.labels(error.code).inc()
        answer: Response = problem(error, "")
        await socket.send_denial_response(answer)
        return
    core.forwards.add(identity)  # nothing was waited for since it was looked for
    try:
        await _serve(core, socket, caller, identity)
    finally:
        core.forwards.discard(identity)


async def _serve(core: Core, socket: WebSocket, caller: Caller, identity: str) -> None:
    """Serve the one WebSocket of a session, and close the session behind it."""
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
    refused = await _Forward(core, socket, caller, identity).serve()
    if not core.is_ending.is_set():
        why, who = "its forward ended", caller.principal
        if refused is not None:
            why, who = f"{why}: {refused.message}", "outrider-server"
        with suppress(OutriderError):  # a host that is away closes it by itself
            await live.close_session(core, identity, why, who)


async def _check(core: Core, identity: str, caller: Caller) -> None:
    """Return if the caller may forward through this session now."""

    def usable(connection: Connection) -> Any:
        access.check_still(connection, caller)
        return live.usable(connection, identity, caller)

    row = await core.database.read(usable)
    if row.kind != "forward":
        raise ConflictError(f"session {identity} is of kind {row.kind}, and forwards nothing")


class _Forward:
    """One client's streams, and the pipes to the host that they go on as."""

    def __init__(self, core: Core, socket: WebSocket, caller: Caller, session: str) -> None:
        self._core = core
        self._socket = socket
        self._line = Line(socket)
        self._caller = caller
        self._session = session
        self._link = Link(Role.SERVER, next_record=1)
        self._turns = Turns(self._link, self._line, self._on, asyncio.Event())
        self._pipes = Pipes(self._link, self._turns.wake, asyncio.Event, window=WINDOW_BYTES, put=self._turns.put)
        self._turns.come = self._pipes.come
        self._carrying: set[asyncio.Task[None]] = set()

    async def serve(self) -> OutriderError | None:
        """Serve until the client goes, or must; return why it must."""
        refused: OutriderError | None = None
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._turns.send, self._guard)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ProtocolError as error:
            LOG.warning("a client of a forward broke the protocol", principal=self._caller.principal, why=str(error))
            self._core.metrics.refusals.labels(error.code).inc()
            with suppress(RuntimeError, WebSocketDisconnect, OSError):
                await self._socket.close(DOORS[error.code].close_code, error.message[:100])
            refused = error
        except (UnauthenticatedError, DeniedError, ConflictError) as error:
            with suppress(RuntimeError, WebSocketDisconnect, OSError):
                await self._socket.close(DOORS[error.code].close_code, error.message[:100])
            refused = error
        except (WebSocketDisconnect, RuntimeError, OSError):  # starlette's words for a connection that is gone
            LOG.info("a client of a forward is gone", principal=self._caller.principal, session=self._session)
        finally:
            self._link.lost()
            self._pipes.lose()
            for task in (*tasks, *self._carrying):
                task.cancel()
            await asyncio.gather(*tasks, *self._carrying, return_exceptions=True)
        return refused

    async def _guard(self) -> None:
        """End it with the token or the grant by which it came, at once where this server knows, else within a while."""
        while True:
            changed = self._core.access_changed.ticket()
            try:
                await _check(self._core, self._session, self._caller)
            except UnavailableError as error:  # of our own database: what is open is known to be in order till then
                LOG.warning("a forward could not be looked at", session=self._session, why=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._caller.left_s(access_grants.LOOK_EVERY_S)):
                    await changed.wait()

    async def _receive(self) -> None:
        await self._line.receive(self._turns.take)
        raise ProtocolError("the client sent a text frame")

    def _on(self, event: events.Event) -> None:
        if self._pipes.on(event):
            return
        match event:
            case events.StreamOpened(purpose=purpose, is_two_way=True) if purpose == PURPOSE:
                if len(self._carrying) >= MAX_STREAMS:
                    raise TooLargeError(f"a forward has at most {MAX_STREAMS} streams")
                task = asyncio.create_task(self._carry(self._pipes.accept(event)))
                self._carrying.add(task)
                task.add_done_callback(self._carrying.discard)
            case events.StreamOpened(id=stream):
                self._link.reset(stream, "refused")
            case events.RecordsReceived() | events.RequestReceived():
                raise ProtocolError("a forward carries streams and nothing else")
            case _:
                return

    async def _carry(self, ours: Pipe) -> None:
        """Hand one stream on, both ways."""
        theirs: Pipe | None = None
        code = "cancelled"
        try:
            header = check_header(ours.header)
            await _check(self._core, self._session, self._caller)  # anew: its grant may have ended
            act = header.pop("act")
            theirs = await live.open_pipe(self._core, self._session, self._caller, act, header)
            await _both(ours, theirs)
        except OutriderError as error:
            code = error.reset if isinstance(error, GivenUpError) else error.code
            if isinstance(error, ArgumentError | TrustError | DeniedError):
                LOG.info("a stream of a forward was refused", session=self._session, why=str(error))
        except Exception:
            code = "internal"
            LOG.exception("a stream of a forward failed", session=self._session)
        finally:
            for pipe in (ours, theirs):
                if pipe is not None:
                    pipe.reset(code)  # of no effect on one that has ended


async def _both(one: Pipe, other: Pipe) -> None:
    """Move bytes in both directions until both have ended; the first that breaks ends the other."""
    tasks = [asyncio.create_task(one.relay(other)), asyncio.create_task(other.relay(one))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
