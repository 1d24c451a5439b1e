"""Records on their way: only what is durable, in order, none lost, none twice, whatever connection breaks where."""

from __future__ import annotations

import random

import pytest
from peers import shipper
from premises import Premises

from agent import limits, rows
from agent.rows import Write
from agent.shipping import Shipper, check_resume
from protocol.errors import LedgerError
from protocol.ledger import GENESIS, decode_record, verify_chain
from protocol.link import Event, Link, RecordsReceived, Role


async def recorded(premises: Premises, count: int, padding: int = 0) -> None:
    await premises.recorder.commit(
        [{"kind": "event", "outcome": "ok", "data": {"padding": bytes(padding)}} for _ in range(count)]
    )


def arrive(server: Link, agent: Link) -> list[bytes]:
    """Carry all frames to the server; returns the records that came."""
    found: list[Event] = [event for frame in agent.take() for event in server.receive(frame)]
    return [blob for event in found if isinstance(event, RecordsReceived) for blob in event.blobs]


def back(agent: Link, server: Link, ours: Shipper) -> None:
    """Carry the acknowledgements to the agent."""
    for frame in server.take():
        for event in agent.receive(frame):
            ours.acknowledged(event.through)  # type: ignore[union-attr]  # there is nothing else


async def test_records_go_out_in_order_and_once(premises: Premises) -> None:
    await recorded(premises, 5)
    ours, link = shipper(premises)
    server = Link(Role.SERVER, next_record=1)
    ours.pump()
    ours.pump()
    blobs = arrive(server, link)
    assert [decode_record(blob).sequence for blob in blobs] == [1, 2, 3, 4, 5]
    verify_chain(blobs)
    assert ours.unanswered == 5
    await recorded(premises, 1)
    ours.pump()
    assert [decode_record(blob).sequence for blob in arrive(server, link)] == [6]


async def test_only_what_is_on_the_disk_is_sent(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a crash would leave a server that knows more than the host, which looks like a forged ledger."""
    await recorded(premises, 1)
    ours, link = shipper(premises)
    monkeypatch.setattr(premises.spool, "submit", lambda *_, **__: None)  # queued, and the disk is slow
    premises.recorder.record(kind="event")
    ours.pump()
    assert len(arrive(Link(Role.SERVER, next_record=1), link)) == 1


async def test_level_means_that_the_server_has_everything(premises: Premises) -> None:
    await recorded(premises, 3)
    ours, link = shipper(premises)
    server = Link(Role.SERVER, next_record=1)
    ours.pump()
    arrive(server, link)
    assert not ours.is_level()
    server.acknowledge(2)
    back(link, server, ours)
    assert (ours.unanswered, ours.is_level()) == (1, False)
    server.acknowledge(3)
    back(link, server, ours)
    assert (ours.unanswered, ours.is_level()) == (0, True)


async def test_records_leave_the_spool_only_after_they_were_acknowledged(premises: Premises) -> None:
    """However old they are: a host without a server keeps everything."""
    await recorded(premises, 5)
    ours, link = shipper(premises)
    server = Link(Role.SERVER, next_record=1)
    ours.pump()

    async def give_up_old() -> list[int]:
        trim = rows.trim_records(premises.spool.acknowledged, 1 << 60, 1000)
        premises.spool.submit(Write((), (trim,)))
        return [record.sequence for record in await premises.records()]

    arrive(server, link)
    assert await give_up_old() == [1, 2, 3, 4, 5], "sent is not acknowledged"
    server.acknowledge(3)
    back(link, server, ours)
    assert await give_up_old() == [3, 4, 5], "the newest acknowledged one proves that the rest continues it"
    premises.restart()
    assert premises.spool.acknowledged == 3
    check_resume(premises.spool, 3, premises.spool.hash_of(3) or b"")


async def test_what_waits_for_an_answer_is_bounded(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes and never answers does not make the host hold a month of records in memory."""
    monkeypatch.setattr(limits, "IN_FLIGHT_RECORDS", 10)
    monkeypatch.setattr(limits, "BATCH_RECORDS", 4)
    await recorded(premises, 30)
    ours, link = shipper(premises)
    server = Link(Role.SERVER, next_record=1)
    ours.pump()
    assert len(arrive(server, link)) == 10
    ours.pump()
    assert arrive(server, link) == []
    server.acknowledge(7)
    back(link, server, ours)
    ours.pump()
    assert [decode_record(blob).sequence for blob in arrive(server, link)] == list(range(11, 18))


async def test_large_records_go_out_too(premises: Premises) -> None:
    """Each batch stays below the frame's bound, and none stops the rest."""
    await recorded(premises, 40, padding=60_000)
    ours, link = shipper(premises)
    ours.pump()
    assert len(arrive(Link(Role.SERVER, next_record=1), link)) == 40


@pytest.mark.parametrize("seed", range(8))
async def test_no_record_is_lost_or_doubled_over_connections_that_break(premises: Premises, seed: int) -> None:
    """At any point: before the records arrive, before they are acknowledged, before the acknowledgement arrives."""
    chance = random.Random(seed)
    held: list[bytes] = []
    newest = GENESIS
    for _ in range(12):
        await recorded(premises, chance.randrange(6))
        check_resume(premises.spool, len(held), newest)
        ours, link = shipper(premises, len(held))
        server = Link(Role.SERVER, next_record=len(held) + 1)
        for _ in range(chance.randrange(4)):
            await recorded(premises, chance.randrange(4))
            ours.pump()
            if chance.random() < 0.3:
                break
            held += arrive(server, link)
            _, newest = verify_chain(held)
            if chance.random() < 0.3:
                break
            server.acknowledge(len(held))
            if chance.random() < 0.3:
                break
            back(link, server, ours)
        assert premises.spool.acknowledged <= len(held)
        if chance.random() < 0.3:
            premises.restart()
    ours, link = shipper(premises, len(held))
    ours.pump()
    held += arrive(Link(Role.SERVER, next_record=len(held) + 1), link)
    assert held == premises.spool.read(0, 100_000, 1 << 40)


# where to go on ------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_behind_is_brought_up(premises: Premises) -> None:
    await recorded(premises, 5)
    for held in range(6):
        check_resume(premises.spool, held, premises.spool.hash_of(held) or b"")


async def test_a_server_that_knows_more_than_this_host(premises: Premises) -> None:
    """The state directory was restored from a copy: going on would give two ledgers of one host."""
    await recorded(premises, 2)
    with pytest.raises(LedgerError, match="restored from a copy") as caught:
        check_resume(premises.spool, 3, bytes(32))
    assert caught.value.sequence == 3


async def test_a_server_whose_records_are_not_ours(premises: Premises) -> None:
    await recorded(premises, 2)
    with pytest.raises(LedgerError, match="another host") as caught:
        check_resume(premises.spool, 2, bytes(32))
    assert caught.value.sequence == 2
    with pytest.raises(LedgerError):
        check_resume(premises.spool, 0, b"x" * 32)


async def test_a_server_that_lost_what_it_had_acknowledged(premises: Premises) -> None:
    """What it should get next has left this host: nobody can fill the gap, and it must be said."""
    await recorded(premises, 5)
    premises.spool.acknowledge(5)
    premises.spool.submit(Write((), (rows.trim_records(5, 1 << 60, 1000),)))
    await premises.recorder.commit([])
    with pytest.raises(LedgerError, match="server restored from a copy"):
        check_resume(premises.spool, 2, b"h" * 32)
    check_resume(premises.spool, 5, premises.spool.hash_of(5) or b"")


async def test_a_server_that_lost_everything(premises: Premises) -> None:
    """It says that it holds nothing; the first records are gone here, so they cannot be sent again."""
    await recorded(premises, 5)
    premises.spool.acknowledge(5)
    premises.spool.submit(Write((), (rows.trim_records(5, 1 << 60, 1000),)))
    await premises.recorder.commit([])
    with pytest.raises(LedgerError, match="server restored from a copy"):
        check_resume(premises.spool, 0, GENESIS)
