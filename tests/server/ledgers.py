"""What tests of ledgers share: notes in the server's own, an agent with records, rows as they are stored."""

from __future__ import annotations

from typing import Any

from headquarters import Headquarters
from sqlalchemy import text

from protocol.ledger import Chain, Record, decode_record, record_hash
from protocol.signing import PrivateKey
from server.ledger import SERVER, ingest

Rows = list[tuple[int, bytes]]


def note(server: Headquarters, count: int = 1, **fields: Any) -> None:
    """Append to the server's own ledger."""
    for number in range(count):
        more = {"call": f"test.{number}", "principal": "t"} | fields
        server.core.database.submit(lambda c, more=more: server.core.ledger.append(c, **more)).result(60)


def stored(server: Headquarters, agent: str = SERVER) -> Rows:
    query = text("SELECT sequence, blob FROM records WHERE agent = :agent ORDER BY sequence")
    rows = server.core.database.read_now(lambda c: c.execute(query, {"agent": agent}).all())
    return [(row.sequence, bytes(row.blob)) for row in rows]


def records(server: Headquarters, agent: str = SERVER) -> list[Record]:
    return [decode_record(blob) for _, blob in stored(server, agent)]


async def verified(server: Headquarters, agent: str = SERVER, **query: str) -> dict[str, Any]:
    answer = await server.get("/records/verify", agent=agent, **query)
    (told,) = answer["agents"]
    assert answer["ok"] is (told["error"] is None)
    return dict(told)


async def broken(server: Headquarters, agent: str, place: str) -> None:
    """The chain is broken, the answer says where, and looking at all of them says so too."""
    told = await verified(server, agent)
    assert told["error"] is not None, "nothing was noticed"
    assert place in told["error"], told["error"]
    everything = await server.get("/records/verify")
    assert everything["ok"] is False
    assert [item["agent_id"] for item in everything["agents"] if item["error"]] == [told["agent_id"]]


def add_row(server: Headquarters, agent: str, sequence: int, blob: bytes) -> None:
    record = decode_record(blob)
    server.tamper(
        "INSERT INTO records (agent, sequence, blob, hash, time_us, kind, call, run)"
        " VALUES (:agent, :sequence, :blob, :hash, :time, :kind, :call, :run)",
        agent=agent, sequence=sequence, blob=blob, hash=record_hash(blob), time=record.time_us, kind=record.kind,
        call=record.call, run=record.run,
    )  # fmt: skip


def take_in(server: Headquarters, agent: str, blobs: list[bytes], first: int = 1) -> None:
    server.core.database.submit(lambda c: ingest(c, agent, first, blobs)).result(60)


def chain_of(count: int, chain: Chain | None = None) -> list[bytes]:
    made = chain or Chain()
    return [made.append(kind="event", time_us=n + 1, mono_us=n, call=f"c{n}")[1] for n in range(count)]


async def agent_with(server: Headquarters, count: int = 6) -> tuple[str, PrivateKey, Chain]:
    """Return an agent whose ledger has ``count`` records here, its key, and its chain."""
    key, chain = PrivateKey.generate(), Chain()
    agent = await server.add_agent("web-1", key)
    take_in(server, agent, chain_of(count, chain))
    return agent, key, chain
