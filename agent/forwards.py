"""The acts of a forward: ``forward`` connects from here, ``listen`` and ``accept`` take what connects to here.

Each connection is one pipe and one handle that its session's gate holds: opened by a call (``net.forward``, or
``listener.accept`` under a ``net.listen``), and its end a record with the bytes of both directions. Target policy is
the call's own. Bytes go through a pipe as they are; a peer that stops reading costs one window of the pipe and one
read, in each direction. A side that has ended its sending is told so at the other end; the other direction goes on.

What ``listen`` says, each a list that begins with a word: ``["open", {address, port}]``, then for each connection
``["connection", {connection, ip, port}]``, to be taken by an ``accept`` within :data:`TAKE_WITHIN_S`; or ``["error",
{...}]``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.live import LiveSession
from agent.live_calls import failure
from agent.logs import LOG
from protocol.errors import ArgumentError, BudgetError, DeadlineError, NotFoundError, OutriderError
from protocol.forwarding import check_header, preface
from protocol.pipes import Pipe
from sandbox.held import Held
from sandbox.runtimes import HANDLE_KEY
from stdlib.network.meter import Meter

PIECE_BYTES: Final = 256 << 10  # read at once; four frames of the link
TAKE_WITHIN_S: Final = 10.0  # that a connection waits for somebody to take it
MAX_WAITING: Final = 32  # connections that nobody has taken yet; more wait in the kernel
ACCEPT_S: Final = 3600.0  # the longest wait of one ``listener.accept``
KIND: Final = "forward"
_THINGS: Final = "forward"  # in ``LiveSession.things``


@dataclass(slots=True)
class Forwarding:
    """What the connections of one session share."""

    meter: Meter  # of all of them together
    waiting: dict[int, Held] = field(default_factory=dict)  # connections that nobody has taken yet
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    newest: int = 0
    connections: int = 0


def _of(session: LiveSession, max_bytes: int | None) -> Forwarding:
    """Return what is shared, with the smallest bound that was given so far."""
    if session.opening.wish.kind != KIND:
        raise ArgumentError(f"a session of kind {session.opening.wish.kind} forwards nothing", parameter="act")
    shared: Forwarding = session.things.setdefault(_THINGS, Forwarding(Meter(None)))
    if max_bytes is not None:
        shared.meter.most = max_bytes if shared.meter.most is None else min(shared.meter.most, max_bytes)
    session.told["forwarded"] = lambda: {
        "connections": shared.connections, "sent": shared.meter.sent, "received": shared.meter.received
    }  # fmt: skip
    return shared


async def serve_forward(session: LiveSession, pipe: Pipe) -> None:
    """Connect to what the pipe's header names, and move bytes until both ends have ended."""
    header = _header(pipe)
    held: Held | None = None
    try:
        shared = _of(session, header.get("max_bytes"))
        named = {
            "host": header["host"],
            "port": header["port"],
            "peer": header.get("peer", ""),
            "ttl": header.get("ttl_s"),
        }
        held = await session.call("net.forward", {key: value for key, value in named.items() if value is not None})
        thing: Any = held.thing
        thing.shared = shared.meter
        await _carry(session, pipe, held, shared, thing.fields())
    except OutriderError as error:
        if held is not None:  # the connection was there: what became of it is the pipe's end
            raise
        await _refuse(pipe, error)
    finally:
        if held is not None:
            await session.gate.release(held.number)


async def serve_accept(session: LiveSession, pipe: Pipe) -> None:
    """Take a connection that ``listen`` has told of, and move its bytes."""
    header = _header(pipe)
    shared = _of(session, header.get("max_bytes"))
    held = shared.waiting.pop(header["connection"], None)
    shared.taken.set()
    if held is None:
        await _refuse(pipe, NotFoundError(f"no connection {header['connection']} waits to be taken"))
        return
    try:
        thing: Any = held.thing
        thing.shared = shared.meter
        await _carry(session, pipe, held, shared, thing.fields())
    finally:
        await session.gate.release(held.number)


async def serve_listen(session: LiveSession, pipe: Pipe) -> None:
    """Listen where the pipe's header says, and tell of each connection, until the server ends the pipe."""
    header = _header(pipe)
    try:
        shared = _of(session, None)
        held = await session.call("net.listen", {"address": header["address"], "port": header["port"]})
    except OutriderError as error:
        await _refuse(pipe, error)
        return
    tasks = [asyncio.ensure_future(_listen(session, pipe, held, shared)), asyncio.ensure_future(pipe.read())]
    try:
        await pipe.write(preface("open", held.thing.fields()))
        await _first(tasks)
    finally:
        await session.gate.release(held.number)


async def _listen(session: LiveSession, pipe: Pipe, listener: Held, shared: Forwarding) -> None:
    expiries: set[asyncio.TimerHandle] = set()
    loop = asyncio.get_running_loop()
    try:
        while True:
            while len(shared.waiting) >= MAX_WAITING:
                shared.taken.clear()
                await shared.taken.wait()
            try:
                held = await session.call(
                    "listener.accept", {"listener": {HANDLE_KEY: listener.number}, "timeout": ACCEPT_S}
                )
            except DeadlineError:
                continue
            shared.newest += 1
            shared.waiting[shared.newest] = held
            expiries.add(loop.call_later(TAKE_WITHIN_S, _expire, session, shared, shared.newest))
            expiries = {each for each in expiries if not each.cancelled() and each.when() > loop.time()}
            await pipe.write(preface("connection", {"connection": shared.newest, **held.thing.fields()}))
    finally:
        for each in expiries:
            each.cancel()
        for held in shared.waiting.values():
            await session.gate.release(held.number)
        shared.waiting.clear()


def _expire(session: LiveSession, shared: Forwarding, number: int) -> None:
    held = shared.waiting.pop(number, None)
    if held is not None:
        shared.taken.set()
        task = asyncio.ensure_future(_release(session, held))
        _releasing.add(task)
        task.add_done_callback(_releasing.discard)


_releasing: set[asyncio.Future[None]] = set()  # strong references: the loop keeps only weak ones


async def _release(session: LiveSession, held: Held) -> None:
    try:
        await session.gate.release(held.number)
    except OutriderError as error:  # the session is over, which released it
        LOG.info("a connection that nobody took was closed with its session: %s", error)


async def _carry(session: LiveSession, pipe: Pipe, held: Held, shared: Forwarding, fields: dict[str, Any]) -> None:
    """Move bytes in both directions until both have ended, or one breaks, or the time is over.

    Raises:
        OutriderError: What broke.
    """
    shared.connections += 1
    thing: Any = held.thing
    await pipe.write(preface("open", fields))
    up = asyncio.ensure_future(_up(session, pipe, thing))
    down = asyncio.ensure_future(_down(session, pipe, thing))
    left_s = None if thing.ends_s is None else max(0.0, thing.ends_s - time.monotonic())
    try:
        async with asyncio.timeout(left_s):
            await _all([up, down])
    except TimeoutError:
        raise BudgetError("the time of this forward is over", budget="forward") from None
    finally:
        held.size_bytes = thing.meter.sent + thing.meter.received


async def _up(session: LiveSession, pipe: Pipe, thing: Any) -> None:
    """From the pipe to the connection."""
    while pieces := await pipe.gather(PIECE_BYTES):
        session.touch()
        for data in pieces:  # not joined: to copy costs more than to call the kernel again
            thing.counted(sent=len(data))
            await thing.connection.send(data)
    thing.connection.end_sending()


async def _down(session: LiveSession, pipe: Pipe, thing: Any) -> None:
    """From the connection to the pipe."""
    while data := await thing.connection.receive(PIECE_BYTES):
        session.touch()
        thing.counted(received=len(data))
        await pipe.write(data)
    pipe.finish()


async def _all(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for all; the first that fails ends the others."""
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def _first(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for the first, and end the others."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _header(pipe: Pipe) -> dict[str, Any]:
    return check_header({name: value for name, value in pipe.header.items() if name != "session"})


async def _refuse(pipe: Pipe, error: OutriderError) -> None:
    await pipe.write(preface("error", failure(error)))
