"""Has a text compiled apart, by a jailed worker that does nothing else. What comes back is opaque bytes.

The worker gets the text alone: no parameters, no libraries, no answer. Whatever it does but give code, and whatever it
does too slowly, ends it, and the program is compiled by each of its workers as before.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from sandbox.channel import MAX_CODE_BYTES, READ_BYTES, Conversation, Finished, compile_frame
from sandbox.compiled import Text
from sandbox.spares import Started

PATIENCE_S: Final = 5.0  # the largest text takes half a second of processor time


async def compiled_apart(started: Started, text: Text, patience_s: float = PATIENCE_S) -> bytes | None:
    """Return the code of ``text``; None if it cannot be had. The worker is ended.

    Args:
        started: A worker that waits for its program, which this is.
        text: What to compile.
        patience_s: How long that may take.

    Cancellation:
        Kills the worker.
    """
    try:
        async with asyncio.timeout(patience_s):
            await asyncio.get_running_loop().sock_sendall(started.sock, compile_frame(text.main, text.source))
            return await answered(started.sock)
    except (TimeoutError, OSError):
        return None
    finally:
        started.drop()


async def answered(sock: socket.socket) -> bytes | None:
    """Return the code that the worker behind ``sock`` gives; None at the first thing that is anything else."""
    loop, conversation = asyncio.get_running_loop(), Conversation()
    while data := await loop.sock_recv(sock, READ_BYTES):
        for event in conversation.receive(data):
            if isinstance(event, Finished) and event.ok and type(event.value) is bytes:
                return event.value if len(event.value) <= MAX_CODE_BYTES else None
            return None
    return None
