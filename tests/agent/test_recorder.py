"""The ledger of one host: one chain without a hole, whatever is refused, too large or cut short."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from premises import AGENT, Premises, until
from world import NOW, World

from agent import limits, rows
from agent.clock import to_us
from protocol.errors import ArgumentError, OutriderError, ProtocolError, UnavailableError
from protocol.ledger import verify_chain, verify_checkpoint
from protocol.signing import Envelope


def event(**data: Any) -> dict[str, Any]:
    return {"kind": "event", "outcome": "ok", "data": data}


def whole_chain(premises: Premises) -> int:
    """Return how many records there are, after checking that they are one chain from the first on."""
    following, newest = verify_chain(premises.spool.read(0, 100_000, 1 << 40))
    assert premises.recorder.head.sequence == following - 1
    assert premises.recorder.head.hash == newest
    return following - 1


async def test_records_are_one_chain_over_restarts(premises: Premises) -> None:
    for number in range(3):
        premises.recorder.record(**event(start=number))
        await premises.recorder.intend(kind="intent", call="proc.kill", arguments={"pid": number})
        premises.restart()
    assert whole_chain(premises) == 6


async def test_an_intent_is_on_disk_when_it_returns(premises: Premises) -> None:
    """Before an effect: after a crash there may be an intent without an effect, never the other way round."""
    await premises.recorder.intend(kind="intent", call="proc.kill", arguments={"pid": 1})
    assert premises.spool.durable() == premises.recorder.head
    assert premises.recorder.head.sequence == 1


async def test_a_change_of_state_is_durable_with_its_record(premises: Premises) -> None:
    await premises.recorder.commit([event()], [rows.open_run("run_1", b"", 1)])
    assert premises.spool.knows_run("run_1")


async def test_a_record_has_both_times_of_the_host(premises: Premises) -> None:
    premises.recorder.record(**event())
    (record,) = await premises.records()
    assert (record.time_us, record.mono_us) == (to_us(NOW), premises.clock.mono_us())


async def test_secrets_in_arguments_never_reach_the_disk(premises: Premises) -> None:
    """No way into the ledger goes around that, so no caller can forget it."""
    arguments = {"password": "hunter2hunter2", "headers": {"Authorization": "Bearer hunter2hunter2"}, "user": "root"}
    premises.recorder.record(kind="call", call="net.http", arguments=arguments)
    (record,) = await premises.records()
    assert record.arguments["user"] == "root"
    assert b"hunter2" not in premises.spool.read(0, 1, 1 << 20)[0]


async def test_a_long_argument_is_cut_and_told_by_its_digest(premises: Premises) -> None:
    premises.recorder.record(kind="call", call="fs.write", arguments={"content": "x" * 1_000_000})
    (record,) = await premises.records()
    assert "sha256" in repr(record.arguments)
    assert len(premises.spool.read(0, 1, 1 << 20)[0]) < 8192


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"kind": "gossip"}, ArgumentError),
        (event(padding=bytes(100_000)), ProtocolError),
        (event(value=object()), ProtocolError),
    ],
)
async def test_what_cannot_be_a_record_leaves_no_hole(
    premises: Premises, entry: dict[str, Any], error: type[OutriderError]
) -> None:
    """Of several records with a wrong one among them, none is appended."""
    premises.recorder.record(**event())
    head = premises.recorder.head
    with pytest.raises(error):
        premises.recorder.append([event(), entry])
    assert premises.recorder.head == head
    await premises.recorder.commit([event()])
    assert whole_chain(premises) == 2


async def test_what_cannot_be_queued_leaves_no_hole(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that records faster than the disk writes is refused; the chain goes on behind it."""
    with monkeypatch.context() as patch:
        patch.setattr(limits, "MAX_PENDING_BYTES", 1000)
        with pytest.raises(UnavailableError, match="behind"):
            premises.recorder.record(**event(padding=bytes(2000)))
        with pytest.raises(UnavailableError, match="behind"):
            await premises.recorder.intend(**event(padding=bytes(2000)))
    await premises.recorder.commit([event()])
    assert whole_chain(premises) == 1


async def test_one_who_no_longer_waits_does_not_unwrite(premises: Premises) -> None:
    """A run may be cancelled while its beginning is on its way to the disk; the chain has moved on already."""
    task = asyncio.create_task(premises.recorder.intend(**event(number=1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await premises.recorder.commit([event(number=2)])
    assert whole_chain(premises) == 2


async def fill(premises: Premises) -> None:
    for _ in range(20):
        await premises.recorder.intend(**event(padding=bytes(20_000)))


async def test_while_the_disk_refuses_nothing_may_be_begun(premises: Premises, world: World) -> None:
    """No record, no effect; and what has happened already is written when the disk is back."""
    small = Premises(premises.state.path / "small", world, max_bytes=1)
    try:
        with pytest.raises(UnavailableError):
            await fill(small)
        assert small.recorder.problem is not None
        with pytest.raises(UnavailableError):
            await small.recorder.intend(**event())
        small.recorder.record(**event(happened=True))
        small.spool.acknowledge(small.spool.durable().sequence)
        await until(lambda: small.recorder.problem is None)
        (*_, newest) = await small.records()
        assert newest.data == {"happened": True}
        assert newest.sequence == small.recorder.head.sequence
    finally:
        small.close()


async def test_the_chain_is_signed_every_so_many_records(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint proves to anybody where the chain stood, without the server."""
    monkeypatch.setattr(limits, "CHECKPOINT_RECORDS", 10)
    for _ in range(25):
        premises.recorder.record(**event())
    records = await premises.records()
    checkpoints = [record for record in records if record.kind == "checkpoint"]
    assert [record.sequence for record in checkpoints] == [11, 21]
    hashes = {record.sequence: record.previous for record in records}
    for record in checkpoints:
        envelope = Envelope.from_json(record.data["envelope"])
        assert verify_checkpoint(envelope, premises.key.public, AGENT) == (record.sequence - 1, hashes[record.sequence])


async def test_many_records_at_once_pass_a_checkpoint_too(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_RECORDS", 10)
    premises.recorder.append([event() for _ in range(15)])
    assert len(await premises.records("checkpoint")) == 1
