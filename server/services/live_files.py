"""Files on their way between a client and a session of its: bytes go on as they come, and none of them stays here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from protocol.errors import DeadlineError, ProtocolError
from protocol.pipes import Pipe
from server import limits
from server.access import Caller
from server.core import Core
from server.request_body import Incoming
from server.services import live
from server.services.file_answers import FileAbout, file_about
from server.services.live_pipes import answer, failure_of, leave, messages


@dataclass(frozen=True, slots=True)
class Download:
    """A file that comes: what stands about it, and its bytes."""

    about: FileAbout
    data: AsyncGenerator[bytes, None]


async def download(core: Core, identity: str, caller: Caller, header: Mapping[str, Any]) -> Download:
    """Begin a download; what ``header`` may say, :mod:`agent.live_files` tells.

    Raises:
        OutriderError: As :func:`server.services.live.open_pipe`, and what the agent says against it.
    """
    pipe = await live.open_pipe(core, identity, caller, "download", dict(header))
    pipe.finish()
    coming = messages(pipe)
    async with _in_time("download"):
        first = await anext(coming)
    match first:
        case ["file", dict() as about]:
            try:
                return Download(file_about(about), _bytes(coming))
            except ProtocolError:
                await coming.aclose()
                raise
        case ["error", told]:
            raise failure_of(told)
    leave(pipe)
    raise ProtocolError("the agent's answer is no file")


async def _bytes(coming: AsyncGenerator[list[Any], None]) -> AsyncGenerator[bytes, None]:
    """Yield what there is; a file that ends otherwise than it began breaks the answer off, which its reader sees."""
    async for message in coming:
        match message:
            case ["bytes", bytes() as data]:
                yield data
            case ["end", _]:
                return
            case ["error", told]:
                raise failure_of(told)
            case _:
                raise ProtocolError("the agent's answer is no file")


async def upload(
    core: Core, identity: str, caller: Caller, header: Mapping[str, Any], data: Incoming, *, act: str = "upload",
) -> Any:  # fmt: skip
    """Hand bytes on to an upload, or another act that takes some, and return what the agent says to it.

    Raises:
        OutriderError: As :func:`download`; also while bytes are still coming, and the rest of them is not read.
    """
    pipe = await live.open_pipe(core, identity, caller, act, dict(header))
    answering = asyncio.ensure_future(answer(pipe))
    feeding = asyncio.ensure_future(_feed(pipe, data))
    try:
        await asyncio.wait([answering, feeding], return_when=asyncio.FIRST_COMPLETED)
        if feeding.done() and not answering.done():
            feeding.result()  # a client that went away, or a broken link
        return await answering  # perhaps before all was read: then what the agent said is what matters
    except BaseException:
        leave(pipe)
        raise
    finally:
        for task in (answering, feeding):
            task.cancel()
        await asyncio.gather(answering, feeding, return_exceptions=True)


async def _feed(pipe: Pipe, data: Incoming) -> None:
    await data.hand_on(pipe.write_now, pipe.write)
    pipe.finish()


async def about_upload(core: Core, identity: str, caller: Caller, act: str, header: Mapping[str, Any]) -> Any:
    """Begin, look at, finish or drop an upload; raises as :func:`download`."""
    return await ask(core, identity, caller, f"upload.{act}", header)


async def ask(core: Core, identity: str, caller: Caller, act: str, header: Mapping[str, Any]) -> Any:
    """Return what an act answers that says one thing; raises as :func:`download`."""
    pipe = await live.open_pipe(core, identity, caller, act, dict(header))
    async with _in_time(act):
        return await answer(pipe)


@asynccontextmanager
async def _in_time(act: str) -> AsyncIterator[None]:
    """Let a host's answer take its time, but not for ever: a request that waits counts among its sender's.

    Raises:
        DeadlineError: It did not come.
    """
    try:
        async with asyncio.timeout(limits.ACT_TIMEOUT_S):
            yield
    except TimeoutError:
        raise DeadlineError(f"the host did not answer {act} in {limits.ACT_TIMEOUT_S:g} s") from None
