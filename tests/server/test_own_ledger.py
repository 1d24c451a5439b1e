"""The server's own chain: each thing that is done is one record in the transaction of what it tells of."""

from __future__ import annotations

from typing import Any

import pytest
from headquarters import Headquarters
from ledgers import note, records, stored, verified
from sqlalchemy import Connection

from protocol.ledger import record_hash, verify_checkpoint
from protocol.signing import Envelope
from server import ledger, limits
from server.ledger import SERVER


async def test_what_is_done_is_one_chain_over_restarts(bare: Headquarters) -> None:
    note(bare, 3)
    again = ledger.OwnLedger(bare.key)
    bare.core.database.submit(lambda c: again.append(c, call="test.again", principal="t")).result(60)
    assert [record.sequence for record in records(bare)] == [1, 2, 3, 4]
    assert (await verified(bare))["records"] == 4


async def test_a_command_that_fails_takes_its_record_along(bare: Headquarters) -> None:
    """The record is in the same transaction as what it tells of: both or none, and no hole."""
    note(bare)

    def fails(connection: Connection) -> None:
        bare.core.ledger.append(connection, call="test.fails", principal="t")
        raise RuntimeError("after its record")

    with pytest.raises(RuntimeError):
        bare.core.database.submit(fails).result(60)
    note(bare)
    assert [(item.sequence, item.call) for item in records(bare)] == [(1, "test.0"), (2, "test.0")]
    assert (await verified(bare))["error"] is None


def test_a_record_says_who_what_and_why(bare: Headquarters) -> None:
    note(bare, kind="refusal", call="script.publish", principal="mia", arguments={"name": "a/b"}, outcome="untrusted",
         rule="r", run="run1", data={"reason": "unsigned"})  # fmt: skip
    (record,) = records(bare)
    told = (record.kind, record.call, record.principal, record.arguments, record.outcome, record.rule, record.run)
    assert told == ("refusal", "script.publish", "mia", {"name": "a/b"}, "untrusted", "r", "run1")
    assert (record.verdict, record.data) == ("deny", {"reason": "unsigned"})
    assert record.time_us // 1_000_000 == int(bare.clock.now().timestamp())
    assert record.mono_us > 0


async def test_whatever_was_asked_is_on_record(bare: Headquarters) -> None:
    """An odd request must not be a way to leave none."""
    odd: list[dict[str, Any]] = [
        {"arguments": {f"k{number}": "x" * 1000 for number in range(100)}}, {"data": {"x": "y" * 100_000}},
        {"arguments": {"a": [[[[1]]]] * 1000}}, {"principal": "p" * 10_000}, {"rule": "r" * 10_000},
        {"arguments": {"\ud800": "\ud800"}}, {"arguments": {"n": 1 << 70, "f": float("nan")}},
    ]  # fmt: skip
    for fields in odd:
        note(bare, **fields)
    assert len(records(bare)) == len(await bare.records()) == len(odd)
    assert (await verified(bare))["error"] is None


def test_secrets_are_not_written(bare: Headquarters) -> None:
    note(bare, arguments={"token": "hunter2", "deep": {"password": "hunter2"}})
    assert b"hunter2" not in stored(bare)[0][1]


def test_every_thousandth_record_is_followed_by_a_checkpoint(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_RECORDS", 5)
    note(bare, 8)
    found = [(item.sequence, item.data["envelope"]) for item in records(bare) if item.kind == "checkpoint"]
    assert [sequence for sequence, _ in found] == [6]
    signed = verify_checkpoint(Envelope.from_json(found[0][1]), bare.key.public, SERVER)
    assert signed == (5, record_hash(stored(bare)[4][1]))


def test_a_checkpoint_at_the_end_is_signed_once(bare: Headquarters) -> None:
    """A server that is only started and ended adds nothing."""
    checkpoint = bare.core.ledger.checkpoint
    bare.core.database.submit(checkpoint).result(60)
    assert records(bare) == [], "there is nothing to sign"
    note(bare, 2)
    bare.core.database.submit(checkpoint).result(60)
    bare.core.database.submit(checkpoint).result(60)
    assert [item.kind for item in records(bare)] == ["event", "event", "checkpoint"]


async def test_a_whole_chain_is_told_with_its_end(bare: Headquarters) -> None:
    note(bare, 5)
    bare.core.database.submit(bare.core.ledger.checkpoint).result(60)
    told = await verified(bare)
    assert told == {
        "agent": "server", "agent_id": "server", "first": 1, "records": 6,
        "head": record_hash(stored(bare)[-1][1]).hex(), "checkpoints": 1, "error": None,
    }  # fmt: skip


async def test_an_empty_chain_is_whole(bare: Headquarters) -> None:
    assert await bare.get("/records/verify") == {
        "ok": True,
        "since": None,
        "agents": [
            {
                "agent": "server", "agent_id": "server", "first": None, "records": 0, "head": None, "checkpoints": 0,
                "error": None,
            }
        ],
        "tree": {"records": 0, "heads": 0, "error": None},
    }  # fmt: skip
