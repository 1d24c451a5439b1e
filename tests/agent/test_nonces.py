"""An order is good once, whatever came of what it was for, whatever the clock said meanwhile, after each start."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from premises import Premises, approved, script, until
from test_admission import order
from works import Works
from world import NOW

from agent import limits
from agent.nonces import Nonces
from agent.orders import Nonce
from agent.recorder import Recorder
from agent.rows import Write
from protocol.errors import TrustError, UnavailableError
from protocol.timestamps import stamp

pytestmark = pytest.mark.asyncio(loop_scope="module")


def offered(works: Works) -> str:
    entry = approved(works.world, script())
    works.repository.put(entry)
    works.premises.allow("accept_server_word: []\n")
    return entry.bundle.digest


async def stopped(works: Works, digest: str, signed: Any) -> None:
    """Ask for a run that is stopped while it is decided about."""
    arrives = asyncio.Event()
    fetch = works.bundles.fetch
    assert fetch is not None

    async def slowly(wanted: str) -> Any:
        await arrives.wait()
        return await fetch(wanted)

    works.bundles.fetch = slowly
    asking = asyncio.create_task(works.refusal(digest, order=signed))
    await until(lambda: works.sessions.running)
    works.sessions.cancel("run_1", "not needed any more")
    arrives.set()
    assert (await asking).rule == "run.cancel"
    works.bundles.fetch = fetch


async def test_an_order_that_came_to_nothing_is_not_good_after_the_next_start(works: Works) -> None:
    """Its operator had what it was for stopped; who recorded it has the agent begin anew, and says it again."""
    digest = offered(works)
    signed = order(works, digest)
    await stopped(works, digest, signed)
    assert await works.reason(digest, run_id="run_2", order=signed) == "replayed_token"
    await works.restart()
    assert await works.reason(digest, run_id="run_3", order=signed) == "replayed_token"


async def test_an_order_that_came_to_nothing_is_not_forgotten_while_the_clock_is_ahead(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who orders a lot has the memory of used orders looked through just then; later the clock is put right."""
    monkeypatch.setattr(limits, "MAX_SPENT_IN_MEMORY", 4)
    digest = offered(works)
    signed = order(works, digest)
    await stopped(works, digest, signed)
    then = NOW + timedelta(days=1)
    works.premises.clock.set(then)
    for number in range(6):
        more = {"nonce": str(number), "issued": stamp(then), "expires": stamp(then + timedelta(minutes=5))}
        await works.run(digest, run_id=f"run_later_{number}", order=order(works, digest, **more))
    works.premises.clock.set(NOW)
    assert await works.reason(digest, run_id="run_again", order=signed) == "replayed_token"


async def test_an_order_whose_run_left_no_trace_is_as_good_as_before(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refused at the moment of its beginning: nothing is on record, and whoever asks again is not refused."""
    digest = offered(works)
    signed = order(works, digest)

    def refuse(*_: Any, **__: Any) -> Any:
        raise UnavailableError("the spool cannot be written")

    monkeypatch.setattr(Recorder, "begin", refuse)
    with pytest.raises(UnavailableError):
        await works.ask(digest, order=signed)
    monkeypatch.undo()
    assert (await works.run(digest, run_id="run_2", order=signed)).outcome == "ok"
    assert await works.reason(digest, run_id="run_3", order=signed) == "replayed_token"


async def test_memory_is_looked_through_seldom_however_much_is_on_its_way_to_the_disk(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look asks the disk about each; so it comes after as many more as the last one left."""
    monkeypatch.setattr(limits, "MAX_SPENT_IN_MEMORY", 4)
    asked: list[str] = []
    knows = premises.spool.knows_nonce
    monkeypatch.setattr(premises.spool, "knows_nonce", lambda nonce: asked.append(nonce) or knows(nonce))
    nonces = Nonces(premises.spool)
    for number in range(500):
        nonces.spend(Nonce(str(number), 0))
    assert len(asked) < 500 * 4, "and not half of 500 for each of them"
    for number in range(500):
        with pytest.raises(TrustError):
            nonces.spend(Nonce(str(number), 0))
    for number in range(500):
        premises.spool.submit(Write((), Nonces.used(Nonce(str(number), 0))))
    await premises.recorder.commit([])
    for number in range(500, 1100):
        nonces.spend(Nonce(str(number), 0))
    assert len(nonces._spent) <= 600, "what is on disk is known there"
    with pytest.raises(TrustError):
        nonces.spend(Nonce("7", 0))
