"""Records of agents as they arrive: kept exactly as they were hashed, or refused whole."""

from __future__ import annotations

import pytest
from headquarters import Headquarters
from ledgers import chain_of, stored, take_in

from protocol.errors import LedgerError
from protocol.ledger import Chain, record_hash
from server import limits
from server.ledger import plain, read_batch


def refused_at(server: Headquarters, agent: str, blobs: list[bytes], first: int = 1) -> int:
    before = stored(server, agent)
    with pytest.raises(LedgerError) as caught:
        take_in(server, agent, blobs, first)
    assert stored(server, agent) == before, "of a batch that is refused nothing stays"
    return caught.value.sequence


async def test_a_batch_is_taken_in_exactly_as_it_was_hashed(bare: Headquarters) -> None:
    agent = await bare.add_agent("web-1")
    blobs = chain_of(5)
    take_in(bare, agent, blobs[:2])
    take_in(bare, agent, blobs[2:], 3)
    assert [blob for _, blob in stored(bare, agent)] == blobs
    shown = await bare.records("web-1")
    assert [item["hash"] for item in shown] == [record_hash(blob).hex() for blob in blobs]
    assert (await bare.get("/agents/web-1"))["records"] == 5


async def test_a_batch_that_does_not_continue_the_chain_is_refused_whole(bare: Headquarters) -> None:
    agent = await bare.add_agent("web-1")
    blobs = chain_of(6)
    take_in(bare, agent, blobs[:2])
    other = chain_of(1, Chain(3, bytes(32)))
    assert refused_at(bare, agent, blobs[3:], 4) == 4, "a gap"
    assert refused_at(bare, agent, blobs[:2], 1) == 1, "told twice"
    assert refused_at(bare, agent, [blobs[3]], 3) == 3, "another record in its place"
    assert refused_at(bare, agent, [blobs[2], blobs[4]], 3) == 4
    assert refused_at(bare, agent, [blobs[2], blobs[3], b"\xc0"], 3) == 5
    assert refused_at(bare, agent, other, 3) == 3, "the previous hash is another"
    take_in(bare, agent, blobs[2:], 3)


async def test_a_record_that_no_list_could_show_is_refused(bare: Headquarters) -> None:
    """One host with such a clock must not keep auditors from reading the records of all others."""
    agent = await bare.add_agent("web-1")
    for time_us in (-1, 1 << 62, (1 << 64) - 1, limits.MAX_TIME_US + 1):
        assert refused_at(bare, agent, [Chain().append(kind="event", time_us=time_us, mono_us=0)[1]]) == 1
    assert await bare.records("web-1") == []


async def test_the_last_moment_that_can_be_shown_is_taken(bare: Headquarters) -> None:
    agent = await bare.add_agent("web-1")
    take_in(bare, agent, [Chain().append(kind="event", time_us=limits.MAX_TIME_US, mono_us=(1 << 64) - 1)[1]])
    (shown,) = await bare.records("web-1")
    assert shown["time"] == "9999-12-31T23:59:59.999999Z"


async def test_every_plain_value_of_a_record_can_be_shown(bare: Headquarters) -> None:
    agent = await bare.add_agent("web-1")
    data = {"b": b"\xff\x00", "t": b"text", "n": (1 << 64) - 1, "f": 1e308, "l": [None, True, {"x": b"\xfe"}]}
    take_in(bare, agent, [Chain().append(kind="event", time_us=1, mono_us=1, data=data)[1]])
    (shown,) = await bare.records("web-1")
    assert shown["data"] == {
        "b": {"hex": "ff00"}, "t": "text", "n": (1 << 64) - 1, "f": 1e308, "l": [None, True, {"x": {"hex": "fe"}}],
    }  # fmt: skip
    assert await bare.get("/records/web-1/1") == shown


def test_infinities_become_text() -> None:
    """JSON has none."""
    assert plain({"a": [float("inf")], "b": (float("-inf"), 1.5)}) == {"a": ["inf"], "b": ["-inf", 1.5]}


def test_a_batch_names_the_first_record_that_does_not_fit() -> None:
    blobs = chain_of(3)
    assert [record.sequence for record, _, _ in read_batch(blobs, 1, bytes(32))] == [1, 2, 3]
    with pytest.raises(LedgerError, match="record 2 cannot be read"):
        read_batch([blobs[0], b"", blobs[2]], 1, bytes(32))
