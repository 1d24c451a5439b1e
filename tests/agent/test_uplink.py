"""Keeping a link: prove first, go on where the records ended, come back with growing delays, say what is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from peers import Server
from premises import AGENT, Premises, until

from agent import limits
from agent.backoff import Backoff
from agent.link import Connection
from agent.transport import LinkClosedError
from agent.uplink import LinkState, Uplink, is_refusal
from protocol.errors import (
    DeadlineError,
    LedgerError,
    NotConnectedError,
    ProtocolError,
    TrustError,
    UnauthenticatedError,
)
from protocol.handshake import AgentHandshake
from protocol.ledger import decode_record
from protocol.signing import PrivateKey


class Rig:
    """An uplink that runs, and a server that can be away."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.server = Server(premises)
        self.key = premises.key
        self.pinned = self.server.key.public
        self.states: list[LinkState] = []
        self.connections: list[Connection] = []
        self.draws = [0.5]  # what chance says; the last one again and again
        self.backoff = Backoff(lambda: self.draws.pop(0) if len(self.draws) > 1 else self.draws[0])
        self.uplink = Uplink(
            self.server.connect,
            lambda: AgentHandshake(self.key, AGENT, self.pinned, b"a" * 32),
            spool=premises.spool,
            handle=self.handle,
            clock=premises.clock,
            backoff=self.backoff,
            on_change=self.states.append,
            on_connected=self.connections.append,
        )
        self.task: asyncio.Task[None] | None = None

    async def handle(self, method: str, body: Any) -> Any:
        raise AssertionError(method)

    def start(self) -> None:
        self.task = asyncio.create_task(self.uplink.run())

    async def connected(self, times: int = 1) -> None:
        await until(lambda: len(self.connections) == times and self.uplink.connection is not None)

    async def lost(self) -> LinkState:
        """Return how it stands once a link has ended or could not be had, and the next attempt is waited for."""
        await until(lambda: self.states and not self.states[-1].is_connected)
        await self.premises.clock.settled()
        return self.states[-1]

    async def record(self, count: int = 1) -> None:
        await self.premises.recorder.commit([{"kind": "event", "outcome": "ok"} for _ in range(count)])
        self.uplink.durable(is_awaited=False)

    async def close(self) -> None:
        if self.task is not None:
            self.uplink.stop()
            self.task.cancel()
            await asyncio.wait([self.task])
        await self.server.close()


@pytest.fixture
async def rig(premises: Premises) -> AsyncIterator[Rig]:
    made = Rig(premises)
    yield made
    await made.close()


def sequences(rig: Rig) -> list[int]:
    return [decode_record(blob).sequence for blob in rig.server.blobs]


# records over connections --------------------------------------------------------------------------------------------


async def test_what_was_recorded_without_a_server_reaches_it(rig: Rig) -> None:
    await rig.record(3)
    rig.start()
    await until(lambda: rig.premises.spool.acknowledged == 3)
    assert sequences(rig) == [1, 2, 3]
    assert rig.states[-1] == LinkState(is_connected=True)


async def test_after_a_lost_connection_nothing_is_lost_or_sent_twice(rig: Rig) -> None:
    """The server had them and its acknowledgement was lost: it says so at the next welcome."""
    rig.server.acknowledges = False
    rig.start()
    await rig.connected()
    await rig.record(3)
    await until(lambda: len(rig.server.blobs) == 3)
    rig.server.pipe.cut()
    await rig.lost()
    assert rig.premises.spool.acknowledged == 0, "nothing may leave the spool yet"
    await rig.record(2)
    rig.server.acknowledges = True
    rig.premises.clock.move(limits.BACKOFF_CAP_S)
    await until(lambda: rig.premises.spool.acknowledged == 5)
    assert sequences(rig) == [1, 2, 3, 4, 5]


async def test_what_did_not_arrive_is_sent_again(rig: Rig) -> None:
    rig.start()
    await rig.connected()
    rig.server.pipe.to_server = asyncio.Queue()  # the network swallows what is sent
    await rig.record(4)
    await asyncio.sleep(0)
    rig.server.pipe.cut()
    await rig.lost()
    rig.premises.clock.move(limits.BACKOFF_CAP_S)
    await until(lambda: rig.premises.spool.acknowledged == 4)
    assert sequences(rig) == [1, 2, 3, 4]


async def test_a_restarted_agent_goes_on_where_the_server_ends(premises: Premises) -> None:
    first = Rig(premises)
    first.start()
    await first.connected()
    await first.record(3)
    await until(lambda: premises.spool.acknowledged == 3)
    await first.close()
    premises.restart()
    second = Rig(premises)
    second.server.blobs, second.server.newest = first.server.blobs, first.server.newest
    second.start()
    await second.connected()
    await second.record(2)
    await until(lambda: premises.spool.acknowledged == 5)
    assert sequences(second) == [1, 2, 3, 4, 5]
    await second.close()


# proof ---------------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_the_pinned_one_learns_nothing(rig: Rig) -> None:
    """No record, no signature: only our id."""
    await rig.record()
    rig.pinned = PrivateKey.generate().public
    rig.start()
    state = await rig.lost()
    assert isinstance(state.refusal, TrustError)
    assert state.refusal.reason == "foreign_server"
    assert rig.server.blobs == []
    assert rig.connections == []
    assert rig.server.pipe.closed is not None
    assert rig.server.pipe.closed[0] == 4403


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [
        (TrustError("already connected", reason="duplicate_agent"), "duplicate_agent"),
        (UnauthenticatedError("removed"), None),
    ],
)
async def test_a_server_that_refuses_us_is_told_apart_from_one_that_is_away(
    rig: Rig, refuses: TrustError | UnauthenticatedError, reason: str | None
) -> None:
    rig.server.refuses = refuses
    rig.start()
    state = await rig.lost()
    assert type(state.refusal) is type(refuses)
    assert getattr(state.refusal, "reason", None) == reason
    rig.server.refuses = None
    rig.premises.clock.move(limits.BACKOFF_CAP_S)
    await rig.connected()


async def test_a_key_that_the_server_does_not_know(rig: Rig) -> None:
    rig.key = PrivateKey.generate()
    rig.start()
    assert isinstance((await rig.lost()).refusal, TrustError)


async def test_a_server_that_does_not_finish_the_proof_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.01)

    async def never(_: Any) -> bool:
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(rig.server, "_let_in", never)
    rig.start()
    state = await rig.lost()
    assert "handshake" in (state.problem or "")
    assert state.refusal is None
    assert rig.server.pipe.closed is not None


# coming back ---------------------------------------------------------------------------------------------------------


async def test_without_a_server_it_is_asked_again_with_growing_delays(rig: Rig) -> None:
    rig.server.is_away = True
    rig.draws = [0.999]
    rig.start()
    state = await rig.lost()
    assert (state.problem, state.refusal) == ("nobody listens", None)
    attempts = []
    for _ in range(64):
        before = len(rig.states)
        await rig.premises.clock.advance(1.0)
        if len(rig.states) > before:
            attempts.append(rig.premises.clock.mono_us() // 1_000_000)
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps == sorted(gaps)
    assert gaps[-1] <= limits.BACKOFF_CAP_S
    rig.server.is_away = False
    rig.premises.clock.move(limits.BACKOFF_CAP_S)
    await rig.connected()


async def test_a_ledger_that_forked_is_said_loudly_and_nothing_is_sent(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """One of the two was restored from a copy or tampered with: a person must look."""
    await rig.record(2)
    rig.server.blobs, rig.server.newest = [b"x", b"y", b"z"], b"h" * 32
    rig.start()
    state = await rig.lost()
    assert isinstance(state.refusal, LedgerError)
    assert rig.connections == []
    assert rig.server.pipe.closed is not None
    assert rig.server.pipe.closed[0] == 4422
    assert any(entry.levelno == logging.CRITICAL and "fork" in entry.getMessage() for entry in caplog.records)


async def test_after_a_fork_the_server_is_asked_at_the_slowest_pace(rig: Rig) -> None:
    """It will hardly go away by itself, and each attempt costs the server a look at its disk."""
    rig.server.blobs, rig.server.newest = [b"x"], b"h" * 32
    rig.draws = [0.999]
    rig.start()
    await rig.lost()
    attempts = len(rig.server.pipes)
    await rig.premises.clock.advance(limits.BACKOFF_CAP_S * 0.99)
    assert len(rig.server.pipes) == attempts
    rig.premises.clock.move(limits.BACKOFF_CAP_S * 0.01)
    await until(lambda: len(rig.server.pipes) == attempts + 1)


async def test_a_clock_that_differs_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Signatures and schedules depend on it."""
    at_the_server = rig.premises.clock.time_us() + 600_000_000
    rig.server.premises = type(
        "Later", (), {"key": rig.key, "clock": type("C", (), {"time_us": lambda: at_the_server})}
    )  # type: ignore[assignment]  # a double
    rig.start()
    await rig.connected()
    assert rig.uplink.state.skew_s == 600.0
    assert "differs" in caplog.text


async def test_at_its_end_the_server_is_told(rig: Rig) -> None:
    rig.start()
    await rig.connected()
    assert rig.task is not None
    rig.uplink.stop()
    rig.task.cancel()
    await asyncio.wait([rig.task])
    assert rig.server.pipe.closed is not None
    assert rig.server.pipe.closed[0] == 1001
    assert rig.uplink.connection is None


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (NotConnectedError("away"), False),
        (LinkClosedError("gone"), False),
        (LinkClosedError("restarts", close_code=1012), False),
        (LinkClosedError("removed", close_code=4401), True),
        (DeadlineError("slow"), False),
        (TrustError("no", reason="duplicate_agent"), True),
        (LedgerError("fork", sequence=1), True),
        (ProtocolError("odd"), True),
    ],
)
def test_what_counts_as_a_no(error: Any, refused: bool) -> None:
    assert is_refusal(error) is refused
