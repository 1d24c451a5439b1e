"""Blobs over one agent's link: what it offers and asks for, and the streams on which they go.

An agent offers before it sends, and is told how much of it is here already; a stream that fits no offer is refused.
What arrives is written before more is let come. What breaks off stays on the disk for going on over any later link.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import structlog

from protocol.errors import (
    ArgumentError,
    ConflictError,
    InternalError,
    NotConnectedError,
    OutriderError,
    ProtocolError,
    RateError,
)
from protocol.events import StreamOpened
from protocol.pipes import GivenUpError, Pipe
from protocol.transfer import GET, PIECE_BYTES, PUT, Header, Sending
from server import limits
from server.core import Core
from server.services import blobs
from server.services.blobs import AGENT, Offer

LOG = structlog.get_logger()
METHODS: Final = frozenset({"blob.offer", "blob.ask"})


class Transfers:
    """The transfers of one link.

    Args:
        core: The server.
        agent: Whose link it is, proved.
    """

    def __init__(self, core: Core, agent: str) -> None:
        self._core = core
        self._agent = agent
        self._offers: dict[str, Offer] = {}  # agreed and not over, by hash
        self._tasks: set[asyncio.Task[None]] = set()

    # requests ----------------------------------------------------------------------------------------------------

    async def answer(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request of METHODS.

        Raises:
            OutriderError: It is refused.
        """
        if method == "blob.ask":
            blob = str(body["hash"])
            who = AGENT + self._agent
            return {"size": await self._core.database.write(lambda c: blobs.fetched(self._core, c, blob, who))}
        return await self._agree(Offer(AGENT + self._agent, **body))

    async def _agree(self, offer: Offer) -> dict[str, Any]:
        core = self._core
        if await core.database.read(lambda connection: blobs.is_held(connection, offer.hash)):
            await blobs.keep(core, offer, None)
            return {"held": True, "offset": offer.size}
        if offer.hash not in self._offers:
            if len(self._offers) >= limits.MAX_BLOB_OFFERS:
                raise RateError(f"{limits.MAX_BLOB_OFFERS} blobs of this agent are on their way already")
            await blobs.reserve(core, offer)
        elif self._offers[offer.hash].size != offer.size:
            raise ConflictError(f"{offer.hash} was offered with another size")
        self._offers[offer.hash] = offer
        return {
            "held": False,
            "offset": await asyncio.to_thread(core.blobs.arrived, offer.source, offer.hash, offer.size),
        }

    # streams -----------------------------------------------------------------------------------------------------

    def wants(self, opened: StreamOpened) -> bool:
        """Tell whether a stream that the agent has opened is for :meth:`serve`; else it is to be refused."""
        return opened.purpose in (PUT, GET) and opened.is_two_way and len(self._tasks) < limits.MAX_TRANSFERS

    def serve(self, pipe: Pipe) -> None:
        """Serve a stream that is wanted."""
        task = asyncio.create_task(self._serve(pipe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """The link is over: stop, and give back what was reserved."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for offer in self._offers.values():
            blobs.release(self._core, offer)
        self._offers.clear()

    async def _serve(self, pipe: Pipe) -> None:
        try:
            await (self._take if pipe.purpose == PUT else self._give)(pipe, Header.parse(pipe.header))
            pipe.finish()
        except (NotConnectedError, GivenUpError):
            return
        except OutriderError as error:
            LOG.info("a transfer failed", agent=self._agent, code=error.code, why=str(error))
            pipe.reset(error.code)
        except Exception:
            LOG.exception("a transfer failed", agent=self._agent)
            pipe.reset(InternalError.code)

    async def _take(self, pipe: Pipe, header: Header) -> None:
        """Take in what was offered."""
        offer = self._offers.pop(header.hash, None)  # so that no second stream writes the same
        if offer is None:
            raise ArgumentError(f"{header.hash} was not offered", parameter="hash")
        try:
            if offer.size != header.size:
                raise ArgumentError(f"{header.hash} was offered with another size", parameter="size")
            async with blobs.arriving(self._core, offer.source, header) as arrival:
                while pieces := await pipe.gather(PIECE_BYTES):
                    await asyncio.to_thread(arrival.write, b"".join(pieces))
                await blobs.keep(self._core, offer, arrival)
        finally:
            blobs.release(self._core, offer)

    async def _give(self, pipe: Pipe, header: Header) -> None:
        """Send what is here."""
        row = await self._core.database.read(lambda connection: blobs.find(connection, header.hash))
        if row.size != header.size:
            raise ProtocolError(f"{header.hash} has {row.size} bytes, not {header.size}")
        fd = await asyncio.to_thread(self._core.blobs.open, header.hash)
        try:
            sending = Sending(header)
            while not sending.is_done:
                at, size = sending.wanted()
                sending.feed(await asyncio.to_thread(os.pread, fd, size, at))
                await pipe.write(sending.pending)
                sending.sent(size)
        finally:
            os.close(fd)
