"""Refusals on record: all of those who are known, and of strangers only so many that they cannot fill the disk."""

from __future__ import annotations

import asyncio
import time

import pytest
from headquarters import Headquarters, refused
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import DeniedError, TrustError
from protocol.signing import PrivateKey
from server import limits, refusals
from server.allowance import Allowance


def spent(per_s: float = 5.0) -> tuple[Allowance, float]:
    """Return an allowance of which nothing is left, and the moment."""
    allowance = Allowance(per_s)
    now = time.monotonic()
    while allowance.take(now):
        pass
    return allowance, now


def test_a_second_holds_as_many_as_it_says() -> None:
    allowance = Allowance(5.0)
    now = time.monotonic()
    assert [allowance.take(now) for _ in range(7)] == [True] * 5 + [False] * 2


def test_it_fills_up_again_with_time() -> None:
    allowance, now = spent()
    assert not allowance.take(now + 0.1)
    assert allowance.take(now + 0.21)
    assert not allowance.take(now + 0.21)
    assert [allowance.take(now + 1.5) for _ in range(6)] == [True] * 5 + [False]


def test_what_is_not_used_is_not_saved_up() -> None:
    allowance, now = spent()
    assert sum(allowance.take(now + 3600) for _ in range(100)) == 5


@given(st.lists(st.floats(0, 2), max_size=60))
def test_never_more_than_it_says(steps: list[float]) -> None:
    allowance, now = spent()
    taken, passed = 0, 0.0
    for step in steps:
        passed += step
        taken += allowance.take(now + passed)
        assert taken <= 5 * passed + 5 + 1e-6


def test_more_may_be_saved_up_than_comes_back_in_a_second() -> None:
    allowance = Allowance(2.0, 30)
    now = time.monotonic()
    assert sum(allowance.take(now) for _ in range(100)) == 30
    assert [allowance.take(now + 1) for _ in range(3)] == [True, True, False]


def test_a_clock_that_seems_to_stand_gives_nothing() -> None:
    allowance, now = spent()
    assert not any(allowance.take(now) for _ in range(1_000))


async def test_strangers_fill_no_disk(bare: Headquarters) -> None:
    """All are counted, few are written."""
    began_s = time.monotonic()
    for _ in range(40):
        refused(await bare.enrol(f"orj1.x.{'A' * 43}.{'0' * 64}", PrivateKey.generate()), 403, "untrusted")
    seconds = 1 + time.monotonic() - began_s
    written = len(await bare.records(kind="refusal"))
    assert 1 <= written <= 5 * seconds, "one second's worth, and what the seconds of this test have added"
    text = (await bare.api.get("/metrics", headers=bare.authorization())).text
    assert 'outrider_refusals_total{code="untrusted"} 40.0' in text


async def test_every_refusal_of_a_known_caller_is_written(bare: Headquarters) -> None:
    """Who tries what he may not do is what an auditor looks for."""
    await asyncio.gather(*[bare.ask("POST", "/invites", {}, role="viewer") for _ in range(40)])
    assert len(await bare.records(kind="refusal")) == 40


async def test_of_one_persons_refusals_only_so_many_are_written_and_the_rest_is_counted_on_record(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has any token could fill the disk; others are recorded all the same, and nothing is lost without a word."""
    monkeypatch.setattr(limits, "REFUSALS_OF_ONE", 10)
    monkeypatch.setattr(limits, "REFUSALS_OF_ONE_PER_S", 0.001)
    await asyncio.gather(*[bare.ask("POST", "/invites", {}, role="viewer") for _ in range(40)])
    assert len(await bare.records(kind="refusal")) == 10
    await bare.ask("POST", "/invites", {}, role="auditor")
    assert (await bare.records(kind="refusal"))[-1]["principal"] == "auditor"
    await refusals.put_by(bare.core)
    (counted,) = [each for each in await bare.records(kind="refusal") if each["call"] == "refusals"]
    assert (counted["principal"], counted["data"]["count"], counted["outcome"]) == ("viewer", 30, "rate_limited")
    await refusals.put_by(bare.core)
    assert len(await bare.records(kind="refusal")) == 12, "once"


async def test_what_was_only_counted_is_on_record_soon(bare: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSALS_OF_ONE", 1)
    monkeypatch.setattr(limits, "REFUSALS_OF_ONE_PER_S", 0.001)
    monkeypatch.setattr(limits, "REFUSALS_TOLD_EVERY_S", 0.0)
    await asyncio.gather(*[bare.ask("POST", "/invites", {}, role="viewer") for _ in range(5)])
    async with asyncio.timeout(60):
        while not (counted := [each for each in await bare.records(kind="refusal") if each["call"] == refusals.UNTOLD]):
            continue  # each look is a round trip to the database
    assert 1 <= sum(each["data"]["count"] for each in counted) <= 4


async def test_a_refusal_is_durable_before_it_is_told(bare: Headquarters) -> None:
    refused(await bare.ask("DELETE", "/agents/web-1", role="viewer"), 403, "denied")
    (record,) = await bare.records(kind="refusal")
    assert (record["call"], record["principal"]) == ("DELETE /agents/{reference}", "viewer")


async def test_what_cannot_be_recorded_is_not_told_as_if_it_were(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare.token("viewer")
    monkeypatch.setattr(limits, "MAX_PENDING_WRITES", 0)
    told = refused(await bare.ask("POST", "/invites", {}, role="viewer"), 503, "unavailable")
    assert told["detail"] == "too much waits for the disk"


async def test_a_refusal_says_why_in_words_and_in_a_word(bare: Headquarters) -> None:
    for error, reason in ((TrustError("no", reason="unsigned"), "unsigned"), (DeniedError("no", rule="r"), "denied")):
        await refusals.record(bare.core, error, call="test", principal="mia", about={"name": "a/b", "token": "hunter2"})
        record = (await bare.records(kind="refusal"))[-1]
        assert record["data"] == {"reason": reason, "message": "no"}
        assert record["arguments"] == {"name": "a/b", "token": "[redacted]"}


async def test_what_is_not_a_refusal_is_none_on_record(bare: Headquarters) -> None:
    """A typo is no attempt."""
    refused(await bare.ask("GET", "/agents/none"), 404, "not_found")
    refused(await bare.ask("POST", "/invites", {"x": 1}), 422, "invalid_argument")
    assert await bare.records(kind="refusal") == []
