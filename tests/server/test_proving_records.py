"""What proving a chain finds: every change, removal, swap and addition, with its place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from headquarters import Headquarters, refused
from ledgers import add_row, agent_with, broken, chain_of, note, stored, take_in, verified
from tampering import TAMPERING, remove, touched, write
from world import NOW

from protocol.ledger import Chain, decode_record, make_checkpoint, record_hash
from protocol.signing import PrivateKey
from server.ledger import SERVER
from server.services import proving
from server.store.database import READERS


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
async def test_tampering_with_the_servers_ledger_is_found_with_its_place(
    bare: Headquarters, tamper: Callable[[Headquarters, str], str]
) -> None:
    note(bare, 6)
    assert (await verified(bare))["error"] is None
    await broken(bare, SERVER, tamper(bare, SERVER))


async def test_tampering_with_an_agents_ledger_is_found_with_its_place(bare: Headquarters) -> None:
    """Each time with another agent; the ledgers of the others stay what they were."""
    found = []
    for number, tamper in enumerate(TAMPERING):
        agent = await bare.add_agent(f"web-{number}")
        take_in(bare, agent, chain_of(6))
        assert (await verified(bare, agent))["error"] is None
        place = tamper(bare, agent)
        told = await verified(bare, agent)
        assert place in str(told["error"]), tamper.__name__
        found.append(agent)
    everything = await bare.get("/records/verify")
    assert sorted(item["agent_id"] for item in everything["agents"] if item["error"]) == sorted(found)


async def test_the_chain_is_read_in_pages(bare: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain is whole across the borders of what is held in memory at once, and broken ones are seen there."""
    monkeypatch.setattr("server.services.proving._VERIFY_PAGE", 2)
    agent, _, _ = await agent_with(bare, 7)
    assert (await verified(bare, agent))["records"] == 7
    await broken(bare, agent, remove(bare, agent))


async def test_records_of_nobody_are_found(bare: Headquarters) -> None:
    """They are shown in the list of all records like any other."""
    await agent_with(bare)
    add_row(bare, "ghost", 1, chain_of(1)[0])
    everything = await bare.get("/records/verify")
    assert everything["ok"] is False
    (told,) = [item for item in everything["agents"] if item["error"]]
    assert (told["agent"], told["error"]) == ("ghost", "there are records, but no such agent was ever enrolled")


async def test_the_ledger_of_a_removed_agent_is_still_proved(bare: Headquarters) -> None:
    agent, _, _ = await agent_with(bare)
    await bare.ask("DELETE", "/agents/web-1")
    assert (await verified(bare, agent))["records"] == 6
    await broken(bare, agent, remove(bare, agent))


def checkpoint(chain: Chain, agent: str, key: PrivateKey, at_us: int = 1, **changes: Any) -> bytes:
    at = {"sequence": chain.next_sequence - 1, "hash": chain.previous} | changes
    envelope = make_checkpoint(agent=agent, issued=NOW, key=key, **at)
    return chain.append(kind="checkpoint", time_us=at_us, mono_us=1, data={"envelope": envelope.to_json()})[1]


async def test_checkpoints_are_proved_and_counted(bare: Headquarters) -> None:
    agent, key, chain = await agent_with(bare)
    blobs = [checkpoint(chain, agent, key), *chain_of(3, chain), checkpoint(chain, agent, key)]
    take_in(bare, agent, blobs, 7)
    told = await verified(bare, agent)
    assert (told["error"], told["checkpoints"], told["records"]) == (None, 2, 11)


async def test_a_checkpoint_that_proves_something_else_is_found_with_its_place(bare: Headquarters) -> None:
    """The chain itself is whole each time: somebody wrote all of it anew, but could not sign."""
    for what in ("key", "agent", "sequence", "hash", "none", "text"):
        key, chain = PrivateKey.generate(), Chain()
        agent = await bare.add_agent(f"web-{what}", key)
        blobs = chain_of(6, chain)
        if what == "key":
            blobs.append(checkpoint(chain, agent, PrivateKey.generate()))
        elif what == "agent":
            blobs.append(checkpoint(chain, "other", key))
        elif what == "sequence":
            blobs.append(checkpoint(chain, agent, key, sequence=5))
        elif what == "hash":
            blobs.append(checkpoint(chain, agent, key, hash=bytes(32)))
        else:
            data = {} if what == "none" else {"envelope": "{}"}
            blobs.append(chain.append(kind="checkpoint", time_us=1, mono_us=1, data=data)[1])
        take_in(bare, agent, [*blobs, *chain_of(2, chain)])
        assert "the checkpoint in record 7" in str((await verified(bare, agent))["error"]), what


async def test_a_chain_written_anew_without_its_checkpoints_is_found(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write the database but has not the key can make a chain that is whole; signatures are what he lacks."""
    for module in ("server.limits", "server.services.proving"):
        monkeypatch.setattr(f"{module}.CHECKPOINT_RECORDS", 5)
    note(bare, 17)
    assert (await verified(bare))["error"] is None
    old = [decode_record(blob) for _, blob in stored(bare)]
    chain = Chain()
    bare.tamper("DELETE FROM records")
    for record in old:
        if record.kind != "checkpoint":
            blob = chain.append(kind="event", time_us=1, mono_us=1, call=record.call, principal="innocent")[1]
            add_row(bare, SERVER, chain.next_sequence - 1, blob)
    end = f"{chain.next_sequence - 1} {chain.previous.hex()}"
    bare.tamper("UPDATE meta SET value = :end WHERE key = 'own_ledger'", end=end)
    await broken(bare, SERVER, "there is no checkpoint at record 6")


# only what came since a moment ------------------------------------------------------------------------------------

SINCE = "1970-01-01T00:00:00.000100Z"
OLD = 7  # microseconds since 1970, before SINCE
UNSEEN = ("remove_the_first", "insert_before_all")  # which change only what is older


async def lately(bare: Headquarters, name: str = "web-1") -> str:
    """Return an agent with an old record, an old checkpoint, and four, a checkpoint and two that came since."""
    key, chain = PrivateKey.generate(), Chain()
    agent = await bare.add_agent(name, key)
    blobs = [*chain_of(1, chain), checkpoint(chain, agent, key), *since(4, chain)]
    take_in(bare, agent, [*blobs, checkpoint(chain, agent, key, at_us=200), *since(2, chain)])
    return agent


def since(count: int, chain: Chain) -> list[bytes]:
    return [chain.append(kind="event", time_us=100 + n, mono_us=n, call=f"c{n}")[1] for n in range(count)]


async def test_what_came_since_is_counted_from_the_first_that_is_not_older(bare: Headquarters) -> None:
    agent = await lately(bare)
    everything, some = await verified(bare, agent), await verified(bare, agent, since=SINCE)
    assert (everything["first"], everything["records"], everything["checkpoints"]) == (1, 9, 2)
    assert (some["first"], some["records"], some["checkpoints"], some["error"]) == (3, 7, 1, None)
    assert some["head"] == everything["head"]
    later = await verified(bare, agent, since="1970-01-01T00:00:00.001Z")
    assert (later["first"], later["records"], later["head"]) == (None, 0, some["head"])
    all_of_them = await bare.get("/records/verify", since=SINCE)
    assert (all_of_them["ok"], all_of_them["since"], all_of_them["tree"]["error"]) == (True, SINCE, None)
    assert (await bare.get("/records/verify"))["since"] is None


async def test_tampering_with_what_came_since_is_found_with_its_place(bare: Headquarters) -> None:
    for number, tamper in enumerate(TAMPERING):
        agent = await lately(bare, f"web-{number}")
        place = tamper(bare, agent)
        told = await verified(bare, agent, since=SINCE)
        if tamper.__name__ in UNSEEN:
            assert told["error"] is None
            assert (await verified(bare, agent))["error"] is not None
        else:
            assert place in str(told["error"]), tamper.__name__


@pytest.mark.parametrize("through", [3, 4, 6, 7, 8, 9])
async def test_stored_times_that_are_changed_hide_nothing(bare: Headquarters, through: int) -> None:
    """Where to begin is looked up by them; a record that was changed must not come to lie before it."""
    agent = await lately(bare)
    write(bare, agent, 3, touched(dict(stored(bare, agent))[3], principal="innocent"))
    bare.tamper("UPDATE records SET time_us = :t WHERE agent = :a AND sequence <= :s", t=OLD, a=agent, s=through)
    assert (await verified(bare, agent, since=SINCE))["error"] is not None


async def test_checkpoints_that_are_hidden_or_forged_are_no_beginning(bare: Headquarters) -> None:
    for what in ("hidden", "garbage", "another agent's"):
        agent = await lately(bare, f"web-{what[:2]}")
        if what == "hidden":
            bare.tamper("UPDATE records SET kind = 'event' WHERE agent = :a AND sequence = 2", a=agent)
        elif what == "garbage":
            bare.tamper("UPDATE records SET blob = x'c0ff' WHERE agent = :a AND sequence = 2", a=agent)
        else:
            forged = checkpoint(Chain(2, record_hash(stored(bare, agent)[0][1])), "other", PrivateKey.generate())
            write(bare, agent, 2, forged)
        assert "record 2" in str((await verified(bare, agent, since=SINCE))["error"]), what


@pytest.mark.parametrize(
    ("text", "said"),
    [("yesterday", "is not a moment"), ("2026-01-01", "is not a moment"), ("9999-12-31T00:00:00Z", "is yet to come")],
)
async def test_a_moment_that_is_none_or_yet_to_come_is_refused(bare: Headquarters, text: str, said: str) -> None:
    """That nothing was broken among no records at all would read as if all were well."""
    told = refused(await bare.ask("GET", "/records/verify", since=text), 422, "invalid_argument", parameter="since")
    assert said in told["detail"]


async def test_a_changed_key_of_an_agent_shows_as_its_broken_ledger(bare: Headquarters) -> None:
    """And does not keep the ledgers of the others from being proved."""
    agent, key, chain = await agent_with(bare)
    take_in(bare, agent, [checkpoint(chain, agent, key)], 7)
    bare.tamper("UPDATE agents SET public_key = 'ed25519:x' WHERE id = :a", a=agent)
    await broken(bare, agent, "the agent's key")
    bare.tamper("UPDATE agents SET public_key = :k WHERE id = :a", a=agent, k=PrivateKey.generate().public.to_text())
    await broken(bare, agent, "the checkpoint in record 7")


async def test_proofs_take_no_reader_from_others(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take minutes; more of them at once than there are readers hold up nothing else."""
    goes_on = threading.Event()
    real = proving.verify

    def slow(*given: Any) -> Any:
        assert goes_on.wait(60)
        return real(*given)

    monkeypatch.setattr(proving, "verify", slow)
    proofs = [asyncio.create_task(server.get("/records/verify")) for _ in range(2 * READERS)]
    try:
        for _ in range(2 * READERS):
            assert await server.pages("/runs") == []
        assert not any(proof.done() for proof in proofs)
    finally:
        goes_on.set()
    assert [(await proof)["ok"] for proof in proofs] == [True] * len(proofs)
