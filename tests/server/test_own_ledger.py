"""The server's own chain, and what proving a chain finds: every change, removal, swap and addition, with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headquarters import Headquarters, refused
from sqlalchemy import Connection, text
from world import NOW

from protocol.errors import LedgerError
from protocol.ledger import Chain, Record, decode_record, make_checkpoint, record_hash, verify_checkpoint
from protocol.signing import Envelope, PrivateKey
from server import ledger, limits
from server.ledger import SERVER, ingest, plain, read_batch

Rows = list[tuple[int, bytes]]


def note(server: Headquarters, count: int = 1, **fields: Any) -> None:
    """Append to the server's own ledger."""
    for number in range(count):
        more = {"call": f"test.{number}", "principal": "t"} | fields
        server.core.database.submit(lambda c, more=more: server.core.ledger.append(c, **more)).result(10)


def stored(server: Headquarters, agent: str = SERVER) -> Rows:
    query = text("SELECT sequence, blob FROM records WHERE agent = :agent ORDER BY sequence")
    rows = server.core.database.read_now(lambda c: c.execute(query, {"agent": agent}).all())
    return [(row.sequence, bytes(row.blob)) for row in rows]


def records(server: Headquarters, agent: str = SERVER) -> list[Record]:
    return [decode_record(blob) for _, blob in stored(server, agent)]


async def verified(server: Headquarters, agent: str = SERVER) -> dict[str, Any]:
    answer = await server.get("/records/verify", agent=agent)
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


# appending ------------------------------------------------------------------------------------------------------------


async def test_what_is_done_is_one_chain_over_restarts(bare: Headquarters) -> None:
    note(bare, 3)
    again = ledger.OwnLedger(bare.key)
    bare.core.database.submit(lambda c: again.append(c, call="test.again", principal="t")).result(10)
    assert [record.sequence for record in records(bare)] == [1, 2, 3, 4]
    assert (await verified(bare))["records"] == 4


async def test_a_command_that_fails_takes_its_record_along(bare: Headquarters) -> None:
    """The record is in the same transaction as what it tells of: both or none, and no hole."""
    note(bare)

    def fails(connection: Connection) -> None:
        bare.core.ledger.append(connection, call="test.fails", principal="t")
        raise RuntimeError("after its record")

    with pytest.raises(RuntimeError):
        bare.core.database.submit(fails).result(10)
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
    bare.core.database.submit(checkpoint).result(10)
    assert records(bare) == [], "there is nothing to sign"
    note(bare, 2)
    bare.core.database.submit(checkpoint).result(10)
    bare.core.database.submit(checkpoint).result(10)
    assert [item.kind for item in records(bare)] == ["event", "event", "checkpoint"]


# proving: the server's own chain --------------------------------------------------------------------------------------


async def test_a_whole_chain_is_told_with_its_end(bare: Headquarters) -> None:
    note(bare, 5)
    bare.core.database.submit(bare.core.ledger.checkpoint).result(10)
    told = await verified(bare)
    assert told == {
        "agent": "server", "agent_id": "server", "records": 6, "head": record_hash(stored(bare)[-1][1]).hex(),
        "checkpoints": 1, "error": None,
    }  # fmt: skip


async def test_an_empty_chain_is_whole(bare: Headquarters) -> None:
    assert await bare.get("/records/verify") == {
        "ok": True,
        "agents": [
            {"agent": "server", "agent_id": "server", "records": 0, "head": None, "checkpoints": 0, "error": None}
        ],
    }


def touched(blob: bytes, **changes: Any) -> bytes:
    """Return a record with other content, well-formed, as a forger who knows the form would make it."""
    record = decode_record(blob)
    chain = Chain(record.sequence, record.previous)
    fields = {
        name: getattr(record, name) for name in Record.__slots__ if name not in ("version", "sequence", "previous")
    }
    return chain.append(**(fields | changes))[1]


def write(server: Headquarters, agent: str, sequence: int, blob: bytes) -> None:
    record = decode_record(blob)
    server.tamper(
        "UPDATE records SET blob = :blob, hash = :hash, call = :call WHERE agent = :agent AND sequence = :sequence",
        blob=blob, hash=record_hash(blob), agent=agent, sequence=sequence, call=record.call,
    )  # fmt: skip


def change(server: Headquarters, agent: str) -> str:
    blob = dict(stored(server, agent))[3]
    write(server, agent, 3, touched(blob, principal="innocent"))
    return "record 4 does not continue the chain"


def change_a_byte(server: Headquarters, agent: str) -> str:
    blob = bytearray(dict(stored(server, agent))[3])
    blob[-40] ^= 1
    server.tamper("UPDATE records SET blob = :blob WHERE agent = :a AND sequence = 3", blob=bytes(blob), a=agent)
    return "record 3"


def change_the_last(server: Headquarters, agent: str) -> str:
    sequence, blob = stored(server, agent)[-1]
    write(server, agent, sequence, touched(blob, principal="innocent"))
    return str(sequence)


def remove(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 3", a=agent)
    return "record 3 does not continue the chain"


def remove_and_move_up(server: Headquarters, agent: str) -> str:
    rows = stored(server, agent)
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 3", a=agent)
    for sequence, _ in rows[3:]:
        server.tamper(
            "UPDATE records SET sequence = :n WHERE agent = :a AND sequence = :s", n=sequence - 1, s=sequence, a=agent
        )
    return "record 3 does not continue the chain"


def remove_the_first(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 1", a=agent)
    return "record 1 does not continue the chain"


def remove_the_last(server: Headquarters, agent: str) -> str:
    last = stored(server, agent)[-1][0]
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = :s", a=agent, s=last)
    return f"the ledger ends at {last - 1}"


def remove_all(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a", a=agent)
    return "the ledger ends at 0"


def swap(server: Headquarters, agent: str) -> str:
    rows = dict(stored(server, agent))
    write(server, agent, 3, rows[4])
    write(server, agent, 4, rows[3])
    return "record 3 does not continue the chain"


def insert_one(server: Headquarters, agent: str) -> str:
    """Between the second and the third; all that follow are numbered anew, but their bytes are what they were."""
    rows = stored(server, agent)
    for sequence, _ in reversed(rows[2:]):
        server.tamper(
            "UPDATE records SET sequence = :n WHERE agent = :a AND sequence = :s", n=sequence + 1, s=sequence, a=agent
        )
    add_row(server, agent, 3, Chain(3, record_hash(rows[1][1])).append(kind="event", time_us=1, mono_us=1)[1])
    return "record 4 does not continue the chain"


def insert_before_all(server: Headquarters, agent: str) -> str:
    """A sequence below the first is shown in lists as well."""
    add_row(server, agent, 0, Chain(1).append(kind="event", time_us=1, mono_us=1)[1])
    return "record 2 does not continue the chain"


def add_at_the_end(server: Headquarters, agent: str) -> str:
    sequence, blob = stored(server, agent)[-1]
    more = Chain(sequence + 1, record_hash(blob)).append(kind="event", time_us=1, mono_us=1)[1]
    add_row(server, agent, sequence + 1, more)
    return f"the ledger ends at {sequence + 1}"


def copy_one(server: Headquarters, agent: str) -> str:
    rows = stored(server, agent)
    write(server, agent, 4, rows[2][1])
    return "record 4 does not continue the chain"


def write_garbage(server: Headquarters, agent: str) -> str:
    server.tamper("UPDATE records SET blob = x'c0ff' WHERE agent = :a AND sequence = 3", a=agent)
    return "record 3 cannot be read"


def write_text(server: Headquarters, agent: str) -> str:
    server.tamper("UPDATE records SET blob = 'text' WHERE agent = :a AND sequence = 3", a=agent)
    return "in the place of record 3"


def write_a_number(server: Headquarters, agent: str) -> str:
    server.tamper("UPDATE records SET blob = 7 WHERE agent = :a AND sequence = 3", a=agent)
    return "in the place of record 3"


def write_the_hash_as_text(server: Headquarters, agent: str) -> str:
    server.tamper("UPDATE records SET hash = hex(hash) WHERE agent = :a AND sequence = 3", a=agent)
    return "the stored hash of record 3"


def change_the_hash(server: Headquarters, agent: str) -> str:
    server.tamper("UPDATE records SET hash = zeroblob(32) WHERE agent = :a AND sequence = 3", a=agent)
    return "the stored hash of record 3"


def hide(column: str, value: Any) -> Callable[[Headquarters, str], str]:
    """What a record is searched by is no part of the chain; changed, the record is not found any more."""

    def tamper(server: Headquarters, agent: str) -> str:
        server.tamper(f"UPDATE records SET {column} = :v WHERE agent = :a AND sequence = 3", v=value, a=agent)
        return f"the stored {column} of record 3"

    tamper.__name__ = f"hide_by_{column}"
    return tamper


def add_row(server: Headquarters, agent: str, sequence: int, blob: bytes) -> None:
    record = decode_record(blob)
    server.tamper(
        "INSERT INTO records (agent, sequence, blob, hash, time_us, kind, call, run)"
        " VALUES (:agent, :sequence, :blob, :hash, :time, :kind, :call, :run)",
        agent=agent, sequence=sequence, blob=blob, hash=record_hash(blob), time=record.time_us, kind=record.kind,
        call=record.call, run=record.run,
    )  # fmt: skip


TAMPERING = [
    change, change_a_byte, change_the_last, remove, remove_and_move_up, remove_the_first, remove_the_last, remove_all,
    swap, insert_one, insert_before_all, add_at_the_end, copy_one, write_garbage, write_text,
    write_a_number, write_the_hash_as_text, change_the_hash,
    hide("kind", "refusal"), hide("kind", b"event"), hide("call", "x"), hide("run", "x"), hide("time_us", 7),
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
async def test_tampering_with_the_servers_ledger_is_found_with_its_place(
    bare: Headquarters, tamper: Callable[[Headquarters, str], str]
) -> None:
    note(bare, 6)
    assert (await verified(bare))["error"] is None
    await broken(bare, SERVER, tamper(bare, SERVER))


# proving: the chains of agents ----------------------------------------------------------------------------------------


def take_in(server: Headquarters, agent: str, blobs: list[bytes], first: int = 1) -> None:
    server.core.database.submit(lambda c: ingest(c, agent, first, blobs)).result(10)


def chain_of(count: int, chain: Chain | None = None) -> list[bytes]:
    made = chain or Chain()
    return [made.append(kind="event", time_us=n + 1, mono_us=n, call=f"c{n}")[1] for n in range(count)]


async def agent_with(server: Headquarters, count: int = 6) -> tuple[str, PrivateKey, Chain]:
    """Return an agent whose ledger has ``count`` records here, its key, and its chain."""
    key, chain = PrivateKey.generate(), Chain()
    agent = await server.add_agent("web-1", key)
    take_in(server, agent, chain_of(count, chain))
    return agent, key, chain


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
    monkeypatch.setattr("server.services.records._VERIFY_PAGE", 2)
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


def checkpoint(chain: Chain, agent: str, key: PrivateKey, **changes: Any) -> bytes:
    at = {"sequence": chain.next_sequence - 1, "hash": chain.previous} | changes
    envelope = make_checkpoint(agent=agent, issued=NOW, key=key, **at)
    return chain.append(kind="checkpoint", time_us=1, mono_us=1, data={"envelope": envelope.to_json()})[1]


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
    for module in ("server.limits", "server.services.records"):
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


async def test_a_changed_key_of_an_agent_shows_as_its_broken_ledger(bare: Headquarters) -> None:
    """And does not keep the ledgers of the others from being proved."""
    agent, key, chain = await agent_with(bare)
    take_in(bare, agent, [checkpoint(chain, agent, key)], 7)
    bare.tamper("UPDATE agents SET public_key = 'ed25519:x' WHERE id = :a", a=agent)
    await broken(bare, agent, "the agent's key")
    bare.tamper("UPDATE agents SET public_key = :k WHERE id = :a", a=agent, k=PrivateKey.generate().public.to_text())
    await broken(bare, agent, "the checkpoint in record 7")


# taking in ------------------------------------------------------------------------------------------------------------


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


# runs that records tell of --------------------------------------------------------------------------------------------


async def test_a_run_is_what_its_agents_records_say(bare: Headquarters) -> None:
    agent, chain = await bare.add_agent("web-1"), Chain()
    began = {"script": "checks/disk", "version": "1.2.0", "digest": "sha256:x", "schedule": "s1", "fire_us": 60_000_000}
    take_in(
        bare,
        agent,
        [chain.append(kind="run.start", time_us=61_000_000, mono_us=1, run="r1", principal="s", data=began)[1]],
    )
    run = await bare.get("/runs/r1")
    assert (run["status"], run["script"], run["schedule"]) == ("running", "checks/disk", "s1")
    assert (run["fire_time"], run["started"]) == ("1970-01-01T00:01:00.000000Z", "1970-01-01T00:01:01.000000Z")
    ended = {"status": "error", "reason": "main.lua:1: x", "result": [1], "output": "out", "usage": {"wall_ms": 1.5}}
    take_in(
        bare,
        agent,
        [chain.append(kind="run.end", time_us=62_000_000, mono_us=2, run="r1", outcome="error", data=ended)[1]],
        2,
    )
    run = await bare.get("/runs/r1")
    assert (run["status"], run["reason"], run["result"], run["output"]) == ("error", "main.lua:1: x", [1], "out")
    assert run["finished"] == "1970-01-01T00:01:02.000000Z"


async def test_an_agent_tells_nothing_about_the_runs_of_another(bare: Headquarters) -> None:
    """Its records are kept, but what it claims about a foreign run is no truth about that run."""
    mine, other = await bare.add_agent("web-1"), await bare.add_agent("web-2")
    take_in(bare, mine, [Chain().append(kind="run.start", time_us=5, mono_us=1, run="r1", data={"script": "a/b"})[1]])
    before = await bare.get("/runs/r1")
    forged = Chain()
    claims = [("run.start", {"script": "x/y"}), ("run.end", {"status": "ok", "result": "forged"})]
    take_in(
        bare, other, [forged.append(kind=kind, time_us=9, mono_us=1, run="r1", data=data)[1] for kind, data in claims]
    )
    assert await bare.get("/runs/r1") == before
    assert len(await bare.records("web-2")) == 2


async def test_odd_claims_about_a_run_are_kept_as_far_as_they_can_be(bare: Headquarters) -> None:
    agent, chain = await bare.add_agent("web-1"), Chain()
    odd = {
        "script": 7,
        "version": None,
        "schedule": ["x"],
        "fire_us": 1 << 62,
        "status": {"a": 1},
        "reason": "r" * 9_999,
    }
    blobs = [
        chain.append(kind=kind, time_us=5, mono_us=1, run="r1", outcome="ok", data=odd)[1]
        for kind in ("run.start", "run.end")
    ]
    take_in(bare, agent, blobs)
    run = await bare.get("/runs/r1")
    assert (run["script"], run["schedule"], run["fire_time"], run["status"]) == ("", None, None, "ok")
    assert len(run["reason"]) == limits.MAX_RESULT_TEXT
    assert (await bare.get("/runs"))["items"] == [run]


# looking: both ways ---------------------------------------------------------------------------------------------------


async def test_records_are_listed_in_both_orders_page_by_page(bare: Headquarters) -> None:
    agent, _, _ = await agent_with(bare, 7)
    oldest = await bare.pages("/records", agent=agent, limit=3)
    newest = await bare.pages("/records", agent=agent, limit=3, order="newest")
    assert [record["sequence"] for record in oldest] == list(range(1, 8))
    assert newest == oldest[::-1]


async def test_a_cursor_goes_back_in_the_other_order(bare: Headquarters) -> None:
    agent, _, _ = await agent_with(bare, 7)
    first = await bare.get("/records", agent=agent, limit=3, order="newest")
    back = await bare.get("/records", agent=agent, limit=3, order="oldest", cursor=first["next"])
    assert [record["sequence"] for record in first["items"]] == [7, 6, 5]
    assert [record["sequence"] for record in back["items"]] == [6, 7]


async def test_records_that_arrive_do_not_move_a_page_of_the_newest(bare: Headquarters) -> None:
    agent, _, chain = await agent_with(bare, 7)
    first = await bare.get("/records", agent=agent, limit=3, order="newest")
    take_in(bare, agent, chain_of(2, chain), 8)
    second = await bare.get("/records", agent=agent, limit=3, order="newest", cursor=first["next"])
    assert [record["sequence"] for record in second["items"]] == [4, 3, 2]


async def test_an_order_that_there_is_not(bare: Headquarters) -> None:
    refused(await bare.ask("GET", "/records", order="biggest"), 422, "invalid_argument", parameter="order")
