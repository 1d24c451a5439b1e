"""The attacker has recorded what operators ordered, and says it again."""

from __future__ import annotations

from datetime import timedelta

from siege import CAREFUL, NOW, Siege, approved, order, script


async def test_an_order_that_was_used(siege: Siege) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    signed = order(siege.world, digest)
    assert await siege.attempt(digest, order=signed) == "ran"
    assert await siege.attempt(digest, order=signed) == "replayed_token"
    await siege.restart()
    assert await siege.attempt(digest, order=signed) == "replayed_token"


async def test_an_order_that_was_used_and_forgotten_while_the_clock_was_wrong(siege: Siege) -> None:
    """Who can set the clock forth lets the host believe that the order is long over, and sets it back."""
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    signed = order(siege.world, digest)
    assert await siege.attempt(digest, order=signed) == "ran"
    for _ in range(3):
        await siege.premises.clock.advance(timedelta(days=1).total_seconds())
    siege.premises.clock.set(NOW)
    await siege.restart()
    assert await siege.attempt(digest, order=signed) == "replayed_token"


async def test_an_order_with_another_run_id(siege: Siege) -> None:
    """The server names the runs; the order is still the same one."""
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script()))
    signed = order(siege.world, digest)
    assert await siege.attempt(digest, order=signed, run_id="run_a") == "ran"
    assert await siege.attempt(digest, order=signed, run_id="run_b") == "replayed_token"
    assert await siege.attempt(digest, order=order(siege.world, digest, nonce="twice"), run_id="run_c") == "ran"
