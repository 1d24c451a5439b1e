"""The tree over all records: grown with them, proved by its own proofs, and every tampering with any record shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headquarters import Headquarters, refused
from sqlalchemy import Connection, text

from protocol.errors import LedgerError
from protocol.ledger import Chain, record_hash
from protocol.merkle import check_consistency, check_inclusion, read_proof, root_of
from protocol.tree_heads import TreeHead, open_head, record_leaf
from server import record_tree
from server.ledger import SERVER, ingest

DEEP = 1_300  # records: nodes of two kept levels, and a ragged end


def do(server: Headquarters, command: Callable[[Connection], Any]) -> Any:
    return server.core.database.submit(command).result(20)


def note(server: Headquarters, count: int) -> None:
    def append(connection: Connection) -> None:
        for number in range(count):
            server.core.ledger.append(connection, call=f"test.{number}", principal="t")

    do(server, append)


def send(server: Headquarters, agent: str, chain: Chain, count: int) -> None:
    first = chain.next_sequence
    blobs = [chain.append(time_us=1, mono_us=1, kind="event", data={"n": number})[1] for number in range(count)]
    do(server, lambda connection: ingest(connection, agent, first, blobs))


def leaves(server: Headquarters) -> list[bytes]:
    """From the stored bytes of all records, in the order in which they came."""
    query = text("SELECT agent, blob FROM records ORDER BY position")
    rows = server.core.database.read_now(lambda connection: connection.execute(query).all())
    return [record_leaf(row.agent, record_hash(bytes(row.blob))) for row in rows]


async def head(server: Headquarters) -> TreeHead:
    told = await server.get("/records/head")
    found = open_head(told["note"], server.key.public)
    assert (told["size"], told["root"], told["key"]) == (
        found.size, found.root.hex(), server.key.public.to_text(),
    )  # fmt: skip
    return found


async def tampered(server: Headquarters, place: str) -> None:
    told = await server.get("/records/verify")
    assert told["ok"] is False
    assert told["tree"]["error"] is not None
    assert place in told["tree"]["error"], told["tree"]["error"]


async def test_records_of_all_are_in_it_in_the_order_in_which_they_came(bare: Headquarters) -> None:
    assert (await head(bare)).size == 0
    agents = [(await bare.add_agent(name), Chain()) for name in ("web-1", "web-2")]
    for agent, chain in [*agents, *agents]:
        send(bare, agent, chain, 3)
        note(bare, 2)
    found = await head(bare)
    assert found == TreeHead(len(leaves(bare)), root_of(leaves(bare)))
    told = await bare.get("/records/verify")
    assert (told["ok"], told["tree"]["error"], told["tree"]["records"]) == (True, None, found.size)


async def test_a_command_that_fails_leaves_nothing_in_it(bare: Headquarters) -> None:
    note(bare, 3)
    before = await head(bare)

    def fails(connection: Connection) -> None:
        bare.core.ledger.append(connection, call="test.fails", principal="t")
        raise RuntimeError("after its record")

    with pytest.raises(RuntimeError):
        do(bare, fails)
    assert await head(bare) == before
    note(bare, 1)
    assert (await bare.get("/records/verify"))["ok"] is True


async def test_every_proof_of_the_api_proves_it(bare: Headquarters) -> None:
    note(bare, DEEP)
    all_leaves = leaves(bare)
    now = await head(bare)
    for first in (1, 2, 255, 256, 257, 512, 700, 1024, now.size - 1, now.size):
        told = await bare.get("/records/consistency", **{"from": first, "to": now.size})
        old = root_of(all_leaves[:first])
        check_consistency(first, now.size, read_proof(told["proof"]), old, now.root)
    for sequence in (1, 256, 257, 1025, now.size):
        told = await bare.get("/records/inclusion", agent=SERVER, sequence=sequence)
        leaf = record_leaf(told["agent_id"], bytes.fromhex(told["hash"]))
        check_inclusion(leaf, told["index"], told["size"], read_proof(told["proof"]), now.root)
    older = await bare.get("/records/inclusion", agent=SERVER, sequence=3, size=300)
    leaf = record_leaf(SERVER, bytes.fromhex(older["hash"]))
    check_inclusion(leaf, 2, 300, read_proof(older["proof"]), root_of(all_leaves[:300]))
    with pytest.raises(LedgerError):
        check_inclusion(record_leaf("agt_x", bytes.fromhex(older["hash"])), 2, 300, read_proof(older["proof"]),
                        root_of(all_leaves[:300]))  # fmt: skip


async def test_no_proof_of_what_is_not(bare: Headquarters) -> None:
    note(bare, 5)
    for query in ({"from": 1, "to": 6}, {"from": 4, "to": 3}):
        refused(await bare.ask("GET", "/records/consistency", **query), 422, "invalid_argument")
    for more in ({"sequence": 6}, {"sequence": 4, "size": 3}, {"sequence": 1, "size": 6}):
        answer = await bare.ask("GET", "/records/inclusion", agent=SERVER, **more)
        refused(answer, 422, "invalid_argument")


async def test_records_of_a_release_without_a_tree_are_taken_in(
    bare: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(bare, 600)
    expected = await head(bare)
    bare.tamper("DELETE FROM record_nodes")
    bare.tamper("DELETE FROM meta WHERE key = 'record_tree'")
    assert [do(bare, record_tree.grow) for _ in range(2)] == [600, 0]
    assert await head(bare) == expected
    assert (await bare.get("/records/verify"))["ok"] is True


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE records SET hash = zeroblob(32) WHERE sequence = 3", "records 1 to 256"),
        ("UPDATE records SET agent = 'agt_other' WHERE sequence = 3", "records 1 to 256"),
        ("UPDATE records SET hash = hex(hash) WHERE sequence = 3", "record 3 of all is none"),
        ("UPDATE records SET hash = 7 WHERE sequence = 3", "record 3 of all is none"),
        ("UPDATE records SET agent = hex(zeroblob(70000)) WHERE sequence = 3", "record 3 of all is none"),
        ("UPDATE record_nodes SET hash = 7", "records 1 to 256"),
        ("DELETE FROM records WHERE sequence = 3", "record 3 of all is missing"),
        ("DELETE FROM records WHERE sequence > 590", "there are 590 records"),
        ("UPDATE records SET hash = zeroblob(32) WHERE sequence = 599", "up to 500 they are"),
        ("UPDATE record_nodes SET hash = zeroblob(32)", "records 1 to 256"),
        ("DELETE FROM record_nodes", "records 1 to 256"),
        ("UPDATE record_heads SET note = replace(note, '500', '501')", "signature"),
        (
            f"UPDATE meta SET value = substr(value, 1, length(value) - 64) || '{64 * '0'}' WHERE key = 'record_tree'",
            "up to 500 they are",
        ),
    ],
)
async def test_tampering_shows_with_its_place(bare: Headquarters, statement: str, place: str) -> None:
    note(bare, 500)
    do(bare, lambda connection: record_tree.sign_newest(connection, bare.key))
    note(bare, 100)
    assert (await bare.get("/records/verify"))["tree"] == {"records": 600, "heads": 1, "error": None}
    bare.tamper(statement)
    await tampered(bare, place)


async def test_a_tree_that_is_made_anew_over_changed_records_disagrees_with_what_was_signed(
    bare: Headquarters,
) -> None:
    """Whoever owns the database but not the key makes it all fit, but not the heads, nor what others saw."""
    note(bare, 300)
    do(bare, lambda connection: record_tree.sign_newest(connection, bare.key))
    seen = await head(bare)
    bare.tamper("UPDATE records SET hash = zeroblob(32) WHERE sequence = 3")
    bare.tamper("DELETE FROM record_nodes")
    bare.tamper("DELETE FROM meta WHERE key = 'record_tree'")
    do(bare, record_tree.grow)
    await tampered(bare, "not all are those that were signed")
    bare.tamper("DELETE FROM record_heads")
    assert (await bare.get("/records/verify"))["tree"]["error"] is None, "which is why heads are kept elsewhere too"
    note(bare, 7)
    now = await head(bare)
    told = await bare.get("/records/consistency", **{"from": seen.size, "to": now.size})
    with pytest.raises(LedgerError):
        check_consistency(seen.size, now.size, read_proof(told["proof"]), seen.root, now.root)


async def test_a_head_is_signed_once_for_a_size(bare: Headquarters) -> None:
    for _ in range(2):
        do(bare, lambda connection: record_tree.sign_newest(connection, bare.key))
        note(bare, 1)
        do(bare, lambda connection: record_tree.sign_newest(connection, bare.key))
        do(bare, lambda connection: record_tree.sign_newest(connection, bare.key))
    query = text("SELECT size, note FROM record_heads ORDER BY size")
    rows = bare.core.database.read_now(lambda connection: connection.execute(query).all())
    assert [row.size for row in rows] == [1, 2]
    assert [open_head(row.note, bare.key.public).size for row in rows] == [1, 2]
