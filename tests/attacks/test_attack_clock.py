"""The attacker sets the host's clock, as who answers its time requests can."""

from __future__ import annotations

from datetime import timedelta

from siege import CAREFUL, NOW, Siege, approved, order, script

LATER = "2026-12-03T12:00:00Z"  # ten days after NOW


async def test_a_clock_that_is_set_back_behind_the_roster(siege: Siege) -> None:
    """The approval ended on the seventh day; the roster of the tenth says what day it is at least."""
    digest = siege.offer(approved(siege.world, script()))
    siege.premises.clock.set(NOW + timedelta(days=10))
    assert await siege.attempt(digest) == "expired"
    assert await siege.roster(2, issued=LATER) == {"version": 2}
    for _ in range(2):
        siege.premises.clock.set(NOW)
        assert await siege.attempt(digest) == "expired"
        await siege.restart()


async def test_an_old_order_under_a_clock_that_was_set_back(siege: Siege) -> None:
    siege.allow(CAREFUL)
    digest = siege.offer(approved(siege.world, script(), expires="2027-01-01T00:00:00Z"))
    assert await siege.roster(2, issued=LATER, expires="2027-01-01T00:00:00Z") == {"version": 2}
    siege.premises.clock.set(NOW)
    assert await siege.attempt(digest, order=order(siege.world, digest)) == "expired"


async def test_a_clock_that_is_set_back_behind_nothing_newer(siege: Siege) -> None:
    """Told in docs/trust.md: without a newer roster the host knows no better time than its clock's."""
    digest = siege.offer(approved(siege.world, script()))
    siege.premises.clock.set(NOW + timedelta(days=10))
    assert await siege.attempt(digest) == "expired"
    siege.premises.clock.set(NOW)
    assert await siege.attempt(digest) == "ran"


async def test_statements_of_a_time_that_has_not_come(siege: Siege) -> None:
    digest = siege.offer(approved(siege.world, script(), issued="2026-11-23T13:00:00Z"))
    assert await siege.attempt(digest) == "expired"
