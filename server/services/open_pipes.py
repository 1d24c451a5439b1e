"""Pipes of sessions that go on for longer than one request, and by whose token: none outlives it.

A session that stands on an access grant is closed with it, pipes and all (:mod:`server.services.access_grants`). A
token that is revoked or runs out closes no session, as its owner may come back with another one; but what goes on by it
is given up at once: transfers of files, commands, connections of forwards.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog
from sqlalchemy import Connection

from protocol.errors import UnauthenticatedError, UnavailableError
from protocol.pipes import Pipe
from server import access, clock
from server.access import Caller
from server.signals import Bell

if TYPE_CHECKING:
    from server.core import Core

LOG = structlog.get_logger()
LOOK_EVERY_S: Final = 30.0  # at the latest; the next end of a token is waited for exactly


class OpenPipes:
    """Those that are open, by token."""

    def __init__(self) -> None:
        self.changed = Bell()  # a token came that had none before
        self._kept: dict[str, tuple[Caller, WeakSet[Pipe]]] = {}

    def add(self, caller: Caller, pipe: Pipe) -> None:
        """Keep a pipe, for as long as anybody else does."""
        known = self._kept.get(caller.token_id)
        if known is None:
            known = self._kept[caller.token_id] = caller, WeakSet()
            self.changed.ring()
        known[1].add(pipe)

    def callers(self) -> list[Caller]:
        """Return whose pipes are open; those that have none any more are forgotten."""
        for token in [token for token, (_, pipes) in self._kept.items() if not any(pipe.is_open for pipe in pipes)]:
            del self._kept[token]
        return [caller for caller, _ in self._kept.values()]

    def end(self, token: str) -> int:
        """Give up all pipes of a token; return how many were open."""
        _, pipes = self._kept.pop(token, (None, WeakSet()))
        still = [pipe for pipe in pipes if pipe.is_open]
        for pipe in still:
            pipe.reset(UnauthenticatedError.code)
        return len(still)


async def watch(core: Core) -> None:
    """End pipes with their tokens, until the server ends."""
    while True:
        tickets = core.access_changed.ticket(), core.open_pipes.changed.ticket()
        callers = core.open_pipes.callers()
        try:
            over = await core.database.read(partial(_over, callers=callers))
        except UnavailableError as error:
            LOG.warning("tokens could not be looked at", why=str(error))
            over = []
        for caller in over:
            if count := core.open_pipes.end(caller.token_id):
                LOG.info("what went on by a token ended with it", principal=caller.principal, pipes=count)
        ends_us = min((caller.expires_us for caller in core.open_pipes.callers()), default=None)
        await _first(tickets, clock.until_s(ends_us, LOOK_EVERY_S))


async def _first(events: tuple[asyncio.Event, ...], timeout_s: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


def _over(connection: Connection, callers: list[Caller]) -> list[Caller]:
    found: list[Caller] = []
    for caller in callers:
        try:
            access.check_still(connection, caller)
        except UnauthenticatedError:
            found.append(caller)
    return found
