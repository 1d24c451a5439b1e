"""The act ``call``: one call of a session on a pipe of its own, so that its result can stream.

The pipe's header names the call and its arguments. Messages to the server, each a list that begins with a word:

    ["value", value]            the result; the end
    ["items", [item, ...]]      of a stream, any number of times
    ["bytes", data]             likewise, of a stream of bytes
    ["end", summary]            of a stream; the end
    ["error", {code, message, parameter?, path?, rule?}]    the end

A server that stops reading costs one window of the pipe and one batch. To give the pipe up ends the stream.
"""

from __future__ import annotations

from typing import Any

from agent.live import LiveSession
from protocol.errors import ArgumentError, OutriderError
from protocol.pipes import Pipe
from sandbox.channel import batch_of
from sandbox.held import Held
from sandbox.pump import BATCH_ITEMS
from sandbox.runtimes import STREAM

_DETAILS = ("parameter", "path", "rule", "reason")


async def serve_call(session: LiveSession, pipe: Pipe) -> None:
    """Make the call that the pipe's header names, and send what it gives."""
    name, arguments = pipe.header.get("call"), pipe.header.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ArgumentError("the pipe names no call", parameter="call")
    held: Held | None = None
    try:
        value = await session.call(name, arguments)
        if isinstance(value, Held):
            held = value
            await _send_stream(session, pipe, held)
        else:
            await pipe.send(["value", value])
    except OutriderError as error:
        await send_failure(pipe, error)
    finally:
        if held is not None:
            await session.gate.release(held.number)


async def _send_stream(session: LiveSession, pipe: Pipe, held: Held) -> None:
    if held.kind != STREAM:
        raise ArgumentError("this call gives a handle, which nobody could use", parameter="call")
    bodies: list[bytes] = []
    pieces: list[bytes] = []
    while True:
        reply = await session.gate.pull(held.number, bodies.append, pieces.append)
        if reply.error is not None:
            raise reply.error
        session.touch()
        if pieces:
            await pipe.send_bytes("bytes", pieces.pop())
            continue
        batch = batch_of(bodies.pop())
        for start in range(0, len(batch.items), BATCH_ITEMS):
            await pipe.send(["items", batch.items[start : start + BATCH_ITEMS]])
        if batch.is_end:
            await pipe.send(["end", batch.summary])
            return


async def send_failure(pipe: Pipe, error: OutriderError) -> None:
    """Say over a pipe what went wrong, if the other side is still there."""
    if pipe.is_open:
        await pipe.send(["error", failure(error)])


def failure(error: OutriderError) -> dict[str, Any]:
    """Return an error as it goes over a pipe."""
    details = {name: getattr(error, name, None) for name in _DETAILS}
    told = {name: value[:1000] for name, value in details.items() if isinstance(value, str) and value}
    return {"code": error.code, "message": str(error)[:2000], **told}
