"""Keeping a link to the server: connect, prove, check where the records go on, serve, and again after a while.

- The server proves the key that was pinned at enrolment before it learns anything but our id.
- If the server's copy of our ledger is not a prefix of our own, nothing is sent, it is said loudly, and we keep asking
  at the slowest pace: a person must decide. Schedules go on meanwhile.
- Being without a server is normal. Delays grow with full jitter (:mod:`agent.backoff`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent import limits
from agent.backoff import Backoff
from agent.clock import Clock
from agent.link import Connection, Handler
from agent.logs import LOG
from agent.partials import Partials
from agent.shipping import Shipper, check_resume
from agent.spool import Spool
from agent.transport import Connect, LinkClosedError, Transport
from protocol.errors import (
    DOORS,
    DeadlineError,
    LedgerError,
    NotConnectedError,
    OutriderError,
    TrustError,
    UnauthenticatedError,
)
from protocol.handshake import AgentHandshake, Welcome
from protocol.link import Link, Role


@dataclass(slots=True)
class LinkState:
    """How it stands with the server, for people."""

    is_connected: bool = False
    problem: str | None = None  # why not
    refusal: OutriderError | None = None  # the server or our own ledger says no; retrying alone will not help
    skew_s: float = 0.0  # the server's clock minus ours at the last welcome


class Uplink:
    """Owns the link's life.

    Args:
        connect: Opens a transport.
        handshake: Makes a fresh proof for each connection, with a fresh nonce.
        spool: Where the records come from.
        handle: Takes up the server's requests.
        clock: For waiting and measuring.
        backoff: Delays between attempts.
        on_change: Called when the state has changed.
        on_connected: Called with each new connection, before it serves.
    """

    def __init__(
        self,
        connect: Connect,
        handshake: Callable[[], AgentHandshake],
        *,
        spool: Spool,
        handle: Handler,
        clock: Clock,
        backoff: Backoff,
        on_change: Callable[[LinkState], None],
        on_connected: Callable[[Connection], None],
    ) -> None:
        self._connect = connect
        self._handshake = handshake
        self._spool = spool
        self._handle = handle
        self._clock = clock
        self._backoff = backoff
        self._on_change = on_change
        self._on_connected = on_connected
        self._partials = Partials()  # they outlive a connection
        self._stop = asyncio.Event()
        self.state = LinkState()
        self.connection: Connection | None = None  # while there is one that serves

    async def run(self) -> None:
        """Keep a link until :meth:`stop`."""
        while not self._stop.is_set():
            since_us = self._clock.mono_us()
            connected_us = 0
            try:
                await self._once()
            except OutriderError as error:
                connected_us = self._clock.mono_us() - since_us if self.state.is_connected else 0
                self._lost(error)
                if isinstance(error, LedgerError):
                    self._backoff.slow_down()
            delay_s = self._backoff.after(connected_us / 1_000_000)
            await self._clock.wait(self._stop, delay_s)

    def stop(self) -> None:
        """No further attempts."""
        self._stop.set()

    def durable(self, *, is_awaited: bool) -> None:
        """More records are durable; if ``is_awaited``, somebody at the server waits for one of them."""
        if self.connection is not None:
            self.connection.durable(is_awaited=is_awaited)

    async def _once(self) -> None:
        transport = await self._connect()
        try:
            welcome = await self._prove(transport)
            check_resume(self._spool, welcome.last_sequence, welcome.last_hash)
            link = Link(Role.AGENT, next_record=welcome.last_sequence + 1)
            shipper = Shipper(self._spool, link, welcome.last_sequence)
            self.connection = Connection(transport, link, shipper, self._handle, self._partials)
            self._welcomed(welcome)
            self._on_connected(self.connection)
            await self.connection.run()
        except LedgerError as error:
            await transport.close(DOORS[error.code].close_code, error.message)
            raise
        finally:
            self.connection = None
            await transport.close(1001, "the agent goes away")

    async def _prove(self, transport: Transport) -> Welcome:
        """Run the mutual proof."""
        handshake = self._handshake()
        try:
            async with asyncio.timeout(limits.HANDSHAKE_TIMEOUT_S):
                await transport.send(handshake.hello())
                while True:
                    answer = handshake.receive(await transport.receive())
                    if isinstance(answer, Welcome):
                        return answer
                    await transport.send(answer)
        except TimeoutError as error:
            raise DeadlineError(f"the server did not finish the handshake in {limits.HANDSHAKE_TIMEOUT_S} s") from error
        except (TrustError, UnauthenticatedError) as error:
            await transport.close(DOORS[error.code].close_code, error.message)
            raise

    def _welcomed(self, welcome: Welcome) -> None:
        skew_s = (welcome.server_time_us - self._clock.time_us()) / 1_000_000
        if abs(skew_s) > limits.MAX_CLOCK_SKEW_S:
            LOG.warning("the server's clock differs from ours by %.0f s", skew_s)
        LOG.info("connected to the server", extra={"fields": {"resumed_after": welcome.last_sequence}})
        self.state = LinkState(is_connected=True, skew_s=skew_s)
        self._on_change(self.state)

    def _lost(self, error: OutriderError) -> None:
        refused = is_refusal(error)
        level = LOG.critical if isinstance(error, LedgerError) else LOG.error if refused else LOG.warning
        level("no link to the server: %s", error)
        self.state = LinkState(problem=str(error), refusal=error if refused else None)
        self._on_change(self.state)


def is_refusal(error: OutriderError) -> bool:
    """Did somebody say no (and not just: nobody answered)? Then retrying alone will hardly help."""
    if isinstance(error, LinkClosedError):
        return error.close_code is not None and 4000 <= error.close_code < 5000
    return not isinstance(error, (NotConnectedError, DeadlineError))
